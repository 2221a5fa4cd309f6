// Package attrs maps SIP headers to participant attributes and back, and names
// the attributes that the service itself sets.
package attrs

import (
	"maps"
	"sort"
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/livekit/protocol/livekit"

	"livekit-sip-sandbox/standin/internal/sipnet"
)

// Attributes of the service.
const (
	CallID       = "sip.callID"
	CallIDFull   = "sip.callIDFull"
	CallTag      = "sip.callTag"
	CallStatus   = "sip.callStatus"
	TrunkID      = "sip.trunkID"
	PhoneNumber  = "sip.phoneNumber"
	TrunkNumber  = "sip.trunkPhoneNumber"
	Hostname     = "sip.hostname"
	headerPrefix = "sip.h."
)

// Values of sip.callStatus.
const (
	Dialing    = "dialing"
	Ringing    = "ringing"
	Automation = "automation"
	Active     = "active"
	Hangup     = "hangup"
)

// providers are headers that are mapped without being asked for. Keys are
// lower case: providers and gateways change the case.
var providers = map[string]string{
	"x-twilio-accountsid":            "sip.twilio.accountSid",
	"x-twilio-callsid":               "sip.twilio.callSid",
	"x-call_leg_id":                  "sip.telnyx.callLegID",
	"x-call_session_id":              "sip.telnyx.callSessionID",
	"x-amzn-connectcontactid":        "sip.amazon.contactId",
	"x-amzn-connectinitialcontactid": "sip.amazon.initialContactId",
	"x-amzn-sourceaccount":           "sip.amazon.sourceAccount",
	"x-amzn-sourcearn":               "sip.amazon.sourceArn",
	"x-amzn-targetarn":               "sip.amazon.targetArn",
	"x-lk-test-id":                   "lktest.id",
}

// value is the header as the API can carry it: trimmed, valid UTF-8.
func value(h sip.Header) string { return text(strings.TrimSpace(h.Value())) }

// text is s as protobuf can carry it.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Provider gives the attributes of the provider headers alone, "" for an empty
// one; they are read from every provisional response of an outbound call.
func Provider(headers []sip.Header) map[string]string {
	out := map[string]string{}
	for _, h := range headers {
		if name, ok := providers[strings.ToLower(h.Name())]; ok {
			if _, have := out[name]; !have {
				out[name] = value(h)
			}
		}
	}
	return out
}

// FromHeaders adds to attributes what the headers of a message say: first the
// included headers (of a repeated header the last counts), then the explicit
// mapping (of a repeated header the first counts; compact names are not
// expanded), then the headers of known carriers. Later ones win. An empty
// header makes an empty attribute, which is none: it takes the others' away.
func FromHeaders(attributes map[string]string, headers []sip.Header, include livekit.SIPHeaderOptions, mapping map[string]string) {
	switch include {
	case livekit.SIPHeaderOptions_SIP_X_HEADERS, livekit.SIPHeaderOptions_SIP_ALL_HEADERS:
		for _, h := range headers {
			name := strings.ToLower(h.Name())
			if include == livekit.SIPHeaderOptions_SIP_X_HEADERS && !strings.HasPrefix(name, "x-") {
				continue
			}
			attributes[headerPrefix+text(name)] = value(h)
		}
	}
	for name, attr := range mapping {
		for _, h := range headers {
			if strings.EqualFold(h.Name(), name) {
				attributes[attr] = value(h)
				break
			}
		}
	}
	maps.Copy(attributes, Provider(headers))
}

// ToHeaders renders attributes as headers by the mapping attribute to header,
// sorted by header name. Attributes that are not there give no header.
func ToHeaders(attributes, mapping map[string]string) []sipnet.Header {
	var out []sipnet.Header
	for attr, name := range mapping {
		if v, ok := attributes[attr]; ok && v != "" {
			out = append(out, sipnet.Header{Name: name, Value: v})
		}
	}
	return sorted(out)
}

// Headers renders a header map, sorted by name.
func Headers(m map[string]string) []sipnet.Header {
	var out []sipnet.Header
	for k, v := range m {
		out = append(out, sipnet.Header{Name: k, Value: v})
	}
	return sorted(out)
}

func sorted(h []sipnet.Header) []sipnet.Header {
	sort.Slice(h, func(i, j int) bool { return h[i].Name < h[j].Name })
	return h
}

// hiddenFromRPC are the headers that lk.sip.GetRemoteHeaders keeps back.
var hiddenFromRPC = map[string]bool{
	"route": true, "record-route": true, "via": true, "supported": true, "accept": true, "allow": true,
	"allow-events": true, "cseq": true, "event": true, "expires": true, "session-expires": true,
	"min-se": true, "max-forwards": true,
}

// Remote is the answer of lk.sip.GetRemoteHeaders: all headers but the
// protocol's own, narrowed by include and exclude (names without case).
func Remote(headers []sip.Header, include, exclude []string) map[string]string {
	has := func(list []string, name string) bool {
		for _, l := range list {
			if strings.EqualFold(l, name) {
				return true
			}
		}
		return false
	}
	out := map[string]string{}
	for _, h := range headers {
		name := h.Name()
		low := strings.ToLower(name)
		if hiddenFromRPC[low] || strings.HasPrefix(low, "content-") {
			continue
		}
		if len(include) > 0 && !has(include, name) || has(exclude, name) {
			continue
		}
		out[text(name)] = value(h)
	}
	return out
}
