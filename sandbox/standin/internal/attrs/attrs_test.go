package attrs

import (
	"maps"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
	"github.com/livekit/protocol/livekit"
)

// invite is cut down from the recording h2a_basic and inc_headers_all.
const invite = "INVITE sip:+15557115@127.0.0.1:5270 SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 127.0.0.1:57328;branch=z9hG4bKasmr5an2bh68;rport\r\n" +
	"Max-Forwards: 70\r\n" +
	"From: \"Tester\" <sip:+15550001@127.0.0.1>;tag=ela34zfp\r\n" +
	"To: <sip:+15557115@127.0.0.1:5270>\r\n" +
	"Call-ID: g115kye93zce74@miniua\r\n" +
	"CSeq: 1 INVITE\r\n" +
	"Contact: <sip:tester@127.0.0.1:57328>\r\n" +
	"x-customer: cust-42\r\n" +
	"X-Repeat: one\r\nX-Repeat: two\r\n" +
	"X-Utf: Zoë 日本\r\nX-Bad: a\xffb\r\n" +
	"X-Empty: \r\nX-Space:    padded value   \r\n" +
	"P-Asserted-Identity: \"Bob\" <sip:bob@pbx.example>\r\n" +
	"Diversion: <sip:+1888@pbx>;reason=unconditional\r\n" +
	"s: compact subject\r\n" +
	"x-twilio-callsid: CA123\r\n" +
	"X-Same1: overridden\r\n" +
	"X-Folded: a\r\n b\r\n" +
	"Content-Type: application/sdp\r\n" +
	"Content-Length: 0\r\n\r\n"

func headers(t *testing.T) []sip.Header {
	t.Helper()
	m, err := sip.NewParser().ParseSIP([]byte(invite))
	if err != nil {
		t.Fatal(err)
	}
	return m.(*sip.Request).Headers()
}

func TestMapping(t *testing.T) {
	got := map[string]string{PhoneNumber: "+1", "kept": "k", "gone": "rule"}
	FromHeaders(got, headers(t), livekit.SIPHeaderOptions_SIP_NO_HEADERS, map[string]string{
		"X-Customer": "c1", "x-customer": "c2", "X-Repeat": "rep", "X-Utf": "utf", "X-Bad": "bad", "X-Empty": "empty", "x-empty": "gone", "X-Space ": "nothing", "Max-forwards": "sip.twilio.callSid",
		"X-Missing": "missing", "X-Space": "space", "Subject": "subject", "X-Same1": PhoneNumber, "X-Folded": "folded",
		"From": "from", "Via": "via", "Contact": "contact", "CSeq": "cseq", "P-Asserted-Identity": "pai", "Diversion": "div",
		"Max-Forwards": "mf", "Call-ID": "callid", "Content-Type": "ctype",
	})
	want := map[string]string{
		"kept": "k", "c1": "cust-42", "c2": "cust-42", "rep": "one", "utf": "Zoë 日本", "bad": "a\ufffdb", "space": "padded value",
		PhoneNumber: "overridden", "folded": "a b", "from": `"Tester" <sip:+15550001@127.0.0.1>;tag=ela34zfp`,
		"via":     "SIP/2.0/UDP 127.0.0.1:57328;branch=z9hG4bKasmr5an2bh68;rport",
		"contact": "<sip:tester@127.0.0.1:57328>", "cseq": "1 INVITE", "pai": `"Bob" <sip:bob@pbx.example>`,
		"div": "<sip:+1888@pbx>;reason=unconditional", "mf": "70", "callid": "g115kye93zce74@miniua",
		"ctype": "application/sdp", "sip.twilio.callSid": "CA123", "empty": "", "gone": "",
	}
	if !maps.Equal(got, want) {
		for k := range got {
			if got[k] != want[k] {
				t.Errorf("%s = %q, want %q", k, got[k], want[k])
			}
		}
		for k := range want {
			if _, ok := got[k]; !ok {
				t.Errorf("%s is missing", k)
			}
		}
	}
}

func TestInclude(t *testing.T) {
	x, all := map[string]string{}, map[string]string{}
	FromHeaders(x, headers(t), livekit.SIPHeaderOptions_SIP_X_HEADERS, nil)
	FromHeaders(all, headers(t), livekit.SIPHeaderOptions_SIP_ALL_HEADERS, nil)
	if x["sip.h.x-repeat"] != "two" {
		t.Errorf("of a repeated header the last counts, got %q", x["sip.h.x-repeat"])
	}
	for k := range x {
		if strings.HasPrefix(k, "sip.h.") && !strings.HasPrefix(k, "sip.h.x-") {
			t.Errorf("%s included by X", k)
		}
	}
	for _, k := range []string{"sip.h.via", "sip.h.cseq", "sip.h.s", "sip.h.content-length", "sip.h.x-customer"} {
		if all[k] == "" {
			t.Errorf("%s not included by ALL", k)
		}
	}
}

func TestToHeaders(t *testing.T) {
	got := ToHeaders(map[string]string{"tier": "gold", "sip.callID": "SCL_1"},
		map[string]string{"missing": "X-Missing", "tier": "X-Tier", "sip.callID": "X-Lk-Call"})
	if len(got) != 2 || got[0].Name != "X-Lk-Call" || got[1].Value != "gold" {
		t.Errorf("%v", got)
	}
}

func TestRemote(t *testing.T) {
	got := Remote(headers(t), nil, []string{"x-utf"})
	if _, ok := got["Via"]; ok || got["X-Utf"] != "" || got["x-customer"] != "cust-42" {
		t.Errorf("%v", got)
	}
	if got = Remote(headers(t), []string{"x-space"}, nil); len(got) != 1 || got["X-Space"] != "padded value" {
		t.Errorf("%v", got)
	}
}
