package outbound

import (
	"errors"
	"fmt"
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/psrpc"
)

// addresses are the URIs of an INVITE and the way it goes.
type addresses struct {
	request, to, from sip.Uri
	display           string // of the From
	network           string
	host              string
	port              int
}

// addressesOf reads the request. Impossible ones are refused before anything
// happens, in the recorded words.
func addressesOf(req *rpc.InternalCreateSIPParticipantRequest, signalIP string) (*addresses, error) {
	refuse := func(what string, err error) (*addresses, error) {
		return nil, psrpc.NewError(psrpc.InvalidArgument, fmt.Errorf("invalid %s: %w", what, err))
	}
	a := &addresses{network: "udp"}
	host, port := splitAddress(req.Address)
	a.to = uri(req.CallTo, host, port, transportParam(req.Transport))
	a.request = *a.to.Clone()
	var err error
	switch d := req.SipRequestUri; {
	case d != nil:
		if a.request, err = given("request URI", d.GetRaw(), d.GetValues(), d.Uri != nil, req.Transport); err != nil {
			return refuse("request URI", err)
		}
	case req.Address == "":
		return refuse("request URI", errors.New("address must be set"))
	}
	if req.SipToHeader != nil {
		return refuse("To header", errors.New("cannot use both CallTo and SipToHeader"))
	}
	if req.ToUserOverride != "" {
		a.to.User = req.ToUserOverride
	}
	if err := a.setFrom(req, host, signalIP); err != nil {
		return refuse("From header", err)
	}
	a.host, a.port = a.request.Host, a.request.Port
	switch t, _ := a.request.UriParams.Get("transport"); strings.ToLower(t) {
	case "tcp":
		a.network = "tcp"
	case "tls":
		return nil, psrpc.NewErrorf(psrpc.Unimplemented, "TLS is not implemented by the stand-in for livekit-sip")
	}
	return a, nil
}

// setFrom is the number at our own address, unless the request has a From of
// its own; that one has its own display name too, or none.
func (a *addresses) setFrom(req *rpc.InternalCreateSIPParticipantRequest, trunkHost, signalIP string) error {
	if d := req.SipFromHeader; d != nil {
		var err error
		a.display = d.DisplayName
		a.from, err = given("From header", d.GetRaw(), d.GetValues(), d.Uri != nil, req.Transport)
		return err
	}
	number := req.Number
	if strings.HasSuffix(strings.ToLower(trunkHost), "twilio.com") && !strings.HasPrefix(number, "+") {
		number = "+" + number
	}
	host := signalIP
	if req.Hostname != "" {
		host = req.Hostname
	}
	h, p := splitAddress(host)
	a.from = uri(number, h, p, transportParam(req.Transport))
	a.display = number
	if req.DisplayName != nil {
		a.display = *req.DisplayName
	}
	return nil
}

// given makes the URI of a raw text or of parts. The transport is the one that
// is named there or else the trunk's.
func given(what, raw string, v *livekit.SIPUri, any bool, trunk livekit.SIPTransport) (sip.Uri, error) {
	switch {
	case v != nil:
		return fromParts(v, trunk)
	case any:
		return fromText(what, raw, trunk)
	}
	return sip.Uri{}, fmt.Errorf("invalid %s type", what)
}

func fromParts(v *livekit.SIPUri, trunk livekit.SIPTransport) (sip.Uri, error) {
	host := v.Host
	if host == "" {
		host = v.Ip
	}
	switch {
	case v.User == "":
		return sip.Uri{}, errors.New("username or number must be set")
	case host == "":
		return sip.Uri{}, errors.New("host or ip must be set")
	case strings.Contains(host, ":") && !strings.HasPrefix(host, "["):
		return sip.Uri{}, errors.New("host or ip must not contain port")
	}
	const auto = livekit.SIPTransport_SIP_TRANSPORT_AUTO
	if v.Transport != auto && trunk != auto && v.Transport != trunk {
		return sip.Uri{}, fmt.Errorf("different transports specified: %s vs %s", trunk, v.Transport)
	}
	t := v.Transport
	if t == auto {
		t = trunk
	}
	return uri(v.User, host, int(v.Port), transportParam(t)), nil
}

func fromText(what, raw string, trunk livekit.SIPTransport) (sip.Uri, error) {
	raw = strings.TrimSpace(raw)
	if strings.HasPrefix(raw, "<") && strings.HasSuffix(raw, ">") {
		raw = raw[1 : len(raw)-1]
	}
	var u sip.Uri
	if sip.ParseUri(raw, &u) != nil || u.Host == "" || strings.ContainsAny(raw, " <>\"") {
		return sip.Uri{}, errors.New("invalid " + what)
	}
	if u.UriParams == nil {
		u.UriParams = sip.NewParams()
	}
	if t := transportParam(trunk); t != "" && !u.UriParams.Has("transport") {
		u.UriParams.Add("transport", t)
	}
	return u, nil
}

// transportParam is the transport parameter of our URIs; none with AUTO.
func transportParam(t livekit.SIPTransport) string {
	switch t {
	case livekit.SIPTransport_SIP_TRANSPORT_UDP:
		return "udp"
	case livekit.SIPTransport_SIP_TRANSPORT_TCP:
		return "tcp"
	case livekit.SIPTransport_SIP_TRANSPORT_TLS:
		return "tls"
	}
	return ""
}

func uri(user, host string, port int, transport string) sip.Uri {
	u := sip.Uri{Scheme: "sip", User: user, Host: host, Port: port, UriParams: sip.NewParams()}
	if transport != "" {
		u.UriParams.Add("transport", transport)
	}
	return u
}

// splitAddress takes a port off an address that has one.
func splitAddress(a string) (string, int) {
	i := strings.LastIndexByte(a, ':')
	if i < 0 || strings.HasSuffix(a, "]") {
		return a, 0
	}
	port := 0
	if _, err := fmt.Sscanf(a[i+1:], "%d", &port); err != nil {
		return a, 0
	}
	return a[:i], port
}
