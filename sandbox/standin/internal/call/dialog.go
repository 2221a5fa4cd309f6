package call

import (
	"strings"

	"github.com/emiago/sipgo/sip"

	"livekit-sip-sandbox/standin/internal/sipnet"
)

// OnEarlyBye sets what a BYE does before the call is answered.
func (l *Leg) OnEarlyBye(f func()) {
	l.mu.Lock()
	l.early = f
	l.mu.Unlock()
}

// HandleBye answers the peer's BYE and ends the call.
func (l *Leg) HandleBye(tx *sipnet.ServerTx) {
	tx.Respond(sip.NewResponseFromRequest(tx.Req, 200, "OK", nil))
	l.mu.Lock()
	early, established := l.early, l.established
	x := l.xfer
	l.mu.Unlock()
	reason := ""
	if h := tx.Req.GetHeader("Reason"); h != nil {
		reason = h.Value()
	}
	l.Log.Info("bye from the peer", "early", !established, "reason", reason)
	if !established && early != nil {
		early()
	}
	if x != nil {
		// A peer that was sent elsewhere and hangs up has gone there.
		x.finish(nil)
	}
	e := EndRemoteBye
	e.Why = byeReason(reason, l.Inbound)
	l.Stop(e)
}

// byeReason is the peer's BYE in the metrics. The Reason header (RFC 3326) of a
// caller counts unless it says that all is well: "bye-q.850-17".
func byeReason(header string, inbound bool) string {
	if !inbound {
		return "bye"
	}
	protocol, rest, ok := strings.Cut(strings.ToLower(header), ";")
	if !ok {
		return "hangup"
	}
	cause := "0"
	for _, param := range strings.Split(rest, ";") {
		if k, v, _ := strings.Cut(strings.TrimSpace(param), "="); k == "cause" && v != "" {
			cause = v
		}
	}
	switch why := "bye-" + strings.TrimSpace(protocol) + "-" + cause; why {
	case "bye-q.850-16", "bye-sip-200":
		return "hangup"
	default:
		return why
	}
}

// HandleReinvite answers with the old description whatever is offered; only
// the address for RTP is followed.
func (l *Leg) HandleReinvite(tx *sipnet.ServerTx) {
	if l.Media == nil || l.Media.LocalSDP() == nil {
		tx.Respond(sip.NewResponseFromRequest(tx.Req, 491, "Request Pending", nil))
		return
	}
	if body := tx.Req.Body(); len(body) > 0 {
		l.Media.Reinvite(body)
	}
	res := sip.NewResponseFromRequest(tx.Req, 200, "OK", l.Media.LocalSDP())
	res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	res.AppendHeader(sip.NewHeader("Allow", sipnet.Allow))
	res.AppendHeader(l.Env.SIP.Contact(tx.Flow.Network()))
	tx.Respond(res)
	l.Log.Info("re-INVITE answered with the old description")
}

// HandleNotify takes the progress of a transfer.
func (l *Leg) HandleNotify(tx *sipnet.ServerTx) {
	reply := func(code int, reason string) {
		tx.Respond(sip.NewResponseFromRequest(tx.Req, code, reason, nil))
	}
	event := tx.Req.GetHeader("Event")
	if event == nil {
		reply(400, "no event in NOTIFY request")
		return
	}
	name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(event.Value())), ";")
	if name != "refer" {
		reply(501, "unknown event")
		return
	}
	code, reason, err := sipfrag(tx.Req.Body())
	if err != nil {
		l.Log.Info("transfer progress not understood", "err", err)
		reply(400, err.Error())
		return
	}
	reply(200, "success")
	l.mu.Lock()
	x := l.xfer
	l.mu.Unlock()
	l.Log.Info("transfer progress", "status", code, "reason", reason)
	if x == nil || code < 200 {
		return
	}
	if code == 200 {
		x.finish(nil)
		return
	}
	x.finish(SIPError("call transfer failed", code, reason))
}
