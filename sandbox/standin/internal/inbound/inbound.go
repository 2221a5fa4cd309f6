// Package inbound answers calls from the phone network: authentication by the
// trunk, dispatch by the rules, and the wait for somebody to talk to.
package inbound

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/protocol/utils"

	"livekit-sip-sandbox/standin/internal/attrs"
	"livekit-sip-sandbox/standin/internal/call"
	"livekit-sip-sandbox/standin/internal/room"
	"livekit-sip-sandbox/standin/internal/sipnet"
)

const (
	defaultRingingTimeout = 3 * time.Minute
	maxCallDuration       = 24 * time.Hour
	// firstRTPWait is how long "active" waits for the phone's first packet.
	firstRTPWait = time.Second
	// graceNoRTP is added to the media timeout when no packet ever came, and
	// noAckNoRTP replaces both when the 200 was not acknowledged either. Both
	// are measured from the 200. The first is fitted to one recording
	// (media_timeout_initial, defaults), the second to a sentence of the
	// recordings' facts.md alone; with other configured timeouts both are a
	// guess.
	graceNoRTP = 2300 * time.Millisecond
	noAckNoRTP = 7950 * time.Millisecond
	noAckAfter = 3 * time.Second
)

// Server takes inbound INVITEs.
type Server struct {
	env        *call.Env
	challenges challenges
	rejected   rejectedCache
}

// NewServer makes a Server.
func NewServer(env *call.Env) *Server { return &Server{env: env} }

// inboundCall is one INVITE on its way.
type inboundCall struct {
	s       *Server
	env     *call.Env
	tx      *sipnet.ServerTx
	leg     *call.Leg
	log     *slog.Logger
	started time.Time
	key     string // Call-ID and From tag

	addToLog func(args ...any)
	ringing  context.Context // while 180s go out
	quiet    func()          // stops them
}

// Handle takes an INVITE without a To tag.
func (s *Server) Handle(tx *sipnet.ServerTx) {
	req := tx.Req
	from, to := req.From(), req.To()
	if req.CallID() == nil || from == nil || sipnet.Tag(from) == "" || to == nil {
		s.env.Log.Info("INVITE without Call-ID, From, From tag or To", "from", tx.Source)
		if s.env.Cfg.HideInboundPort {
			tx.Abandon()
			return
		}
		tx.Respond(sip.NewResponseFromRequest(req, 400, "Bad request", nil))
		return
	}
	key := string(*req.CallID()) + "|" + sipnet.Tag(from)
	if r, ok := s.rejected.get(key); ok && !s.env.Cfg.DisableRejectedInvCache {
		s.env.Log.Info("INVITE of a call just rejected", "sipCallID", string(*req.CallID()), "status", r.code)
		tx.Respond(sipnet.Response(req, r.code, r.reason, r.tag, nil))
		return
	}
	id := utils.NewGuid("SCL_")
	ch, challenged := s.challenges.get(key)
	if challenged {
		id = ch.callID
	}
	log, addToLog := call.GrowingLog(s.env.Log.With("callID", id, "sipCallID", string(*req.CallID()), "fromUser", from.Address.User, "toUser", to.Address.User,
		"fromHost", from.Address.Host, "source", tx.Source.String(), "transport", tx.Flow.Network()))
	// The tag goes on the request: mapped To headers show it, and so does
	// every response made from the request.
	to.Params.Add("tag", id)
	c := &inboundCall{s: s, env: s.env, tx: tx, log: log, addToLog: addToLog, started: time.Now(), key: key}
	c.leg = call.New(s.env, id, true, log)
	c.ringing, c.quiet = context.WithCancel(c.leg.Context())
	c.leg.Call = s.env.Metrics.StartIn()
	c.leg.SetRemoteHeaders(req.Headers())
	log.Info("INVITE", "requestURI", req.Recipient.String())
	c.run(challengeFor(ch, challenged))
}

func challengeFor(ch challenge, ok bool) *challenge {
	if !ok {
		return nil
	}
	return &ch
}

// respond sends a response of the call; provisional ones carry Allow.
func (c *inboundCall) respond(code int, reason string, headers ...sipnet.Header) {
	res := sip.NewResponseFromRequest(c.tx.Req, code, reason, nil)
	for _, h := range headers {
		res.AppendHeader(sip.NewHeader(h.Name, h.Value))
	}
	if code < 200 {
		res.AppendHeader(sip.NewHeader("Allow", sipnet.Allow))
	}
	if err := c.tx.Respond(res); err != nil {
		c.log.Warn("response not sent", "status", code, "err", err)
	}
}

// reject refuses the INVITE and ends the call.
func (c *inboundCall) reject(code int, reason, why string) {
	c.quiet()
	c.log.Info("rejected", "status", code, "statusText", reason, "why", why)
	if code != 401 && code != 486 { // these are looked at anew
		// Before the answer: the caller may try again the moment it has it.
		c.s.rejected.put(c.key, rejection{code: code, reason: reason, tag: c.leg.ID})
	}
	c.respond(code, reason)
	c.leg.Close(call.End{Why: why, Reason: livekit.DisconnectReason_CLIENT_INITIATED}, false)
}

// dropIt ends the call without a final response.
func (c *inboundCall) dropIt(why string) {
	c.quiet()
	c.log.Info("dropped without an answer", "why", why)
	c.tx.Abandon()
	c.leg.Close(call.End{Why: why, Reason: livekit.DisconnectReason_CLIENT_INITIATED}, false)
}

// ring sends 180 now and then again each interval.
func (c *inboundCall) ring() {
	c.respond(180, "Ringing")
	go func() {
		t := time.NewTicker(c.env.Cfg.SIPRingingInterval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				c.respond(180, "Ringing")
			case <-c.ringing.Done():
				return
			}
		}
	}()
}

// describe is the call as livekit-server wants it.
func (c *inboundCall) describe() *rpc.SIPCall {
	req := c.tx.Req
	out := &rpc.SIPCall{
		LkCallId:  c.leg.ID,
		SipCallId: string(*req.CallID()),
		SourceIp:  c.tx.Source.Addr().String(),
		Address:   sipURI(&req.Recipient),
		From:      sipURI(&req.From().Address),
		To:        sipURI(&req.To().Address),
	}
	for _, h := range req.GetHeaders("Via") {
		if v, ok := h.(*sip.ViaHeader); ok {
			out.Via = append(out.Via, &livekit.SIPUri{Host: v.Host, Port: uint32(v.Port)})
		}
	}
	return out
}

func sipURI(u *sip.Uri) *livekit.SIPUri {
	out := &livekit.SIPUri{User: u.User, Host: u.Host}
	if ip, err := netip.ParseAddr(strings.Trim(u.Host, "[]")); err == nil {
		out.Ip = ip.String()
	}
	if u.Port != 0 {
		out.Port = uint32(u.Port)
	}
	return out
}

// run takes the call from the INVITE to its end.
func (c *inboundCall) run(ch *challenge) {
	if !c.env.Cfg.HideInboundPort {
		c.respond(100, "Processing")
	}
	ctx := c.leg.Context()
	desc := c.describe()
	from, to := c.tx.Req.From(), c.tx.Req.To()

	asked := c.leg.Call.Stage("get-auth")
	auth, err := c.env.IO.GetSIPTrunkAuthentication(ctx, &rpc.GetSIPTrunkAuthenticationRequest{
		SipCallId: c.leg.ID, From: from.Address.User, FromHost: from.Address.Host,
		To: to.Address.User, ToHost: to.Address.Host, SrcAddress: desc.SourceIp, Call: desc,
	})
	asked()
	switch {
	case err != nil:
		c.log.Warn("trunk authentication failed", "err", err)
		c.reject(503, "Try again later", "auth-error")
		return
	case auth.ErrorCode == rpc.SIPTrunkAuthenticationError_SIP_TRUNK_AUTH_ERROR_QUOTA_EXCEEDED:
		c.reject(503, "Service temporarily unavailable", "quota-exceeded")
		return
	case auth.ErrorCode == rpc.SIPTrunkAuthenticationError_SIP_TRUNK_AUTH_ERROR_NO_TRUNK_FOUND:
		c.reject(404, "No trunk found", "no-trunk")
		return
	case auth.Drop:
		c.dropIt("flood")
		return
	}
	c.addToLog("trunkID", auth.SipTrunkId)
	if auth.Username != "" && auth.Password != "" && !c.authenticate(ch, auth) {
		return
	}
	c.s.challenges.drop(c.key)
	c.leg.Call.LetIn(to.Address.Host, auth.SipTrunkId != "")

	c.leg.OnEarlyBye(func() {
		// The INVITE stays without a final response, as recorded.
		c.quiet()
		c.tx.Abandon()
	})
	c.tx.OnCancel(func(req *sip.Request) {
		c.quiet()
		c.respond(487, "Request Terminated")
		c.log.Info("canceled by the caller", "reason", headerValue(req, "Reason"))
		c.leg.Stop(call.End{Why: "cancelled", Hangup: true, Remote: true, Reason: livekit.DisconnectReason_CLIENT_INITIATED})
	})
	if c.isEnding() {
		return
	}
	c.ring()

	rule, ok := c.dispatch(ctx, auth.SipTrunkId, desc, "", false)
	if !ok {
		return
	}
	if rule.Result == rpc.SIPDispatchResult_REQUEST_PIN {
		c.withPIN(auth.SipTrunkId, desc, rule)
		return
	}
	c.direct(rule)
}

func headerValue(req *sip.Request, name string) string {
	if req == nil {
		return ""
	}
	if h := req.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}

// isEnding closes the call when the peer ended it meanwhile.
func (c *inboundCall) isEnding() bool {
	select {
	case <-c.leg.Ending():
		e := c.leg.Ended()
		if !e.Remote {
			c.quiet()
			c.respond(486, "Rejected", e.Headers...)
		}
		c.leg.Close(e, false)
		return true
	default:
		return false
	}
}

// authenticate challenges the caller or checks the answer to the challenge.
func (c *inboundCall) authenticate(ch *challenge, auth *rpc.GetSIPTrunkAuthenticationResponse) bool {
	cred := c.tx.Req.GetHeader("Proxy-Authorization")
	if cred == nil {
		realm := auth.Realm
		if realm == "" {
			realm = defaultRealm
		}
		n := challenge{key: c.key, callID: c.leg.ID, realm: realm, nonce: newNonce(time.Now(), string(*c.tx.Req.CallID()))}
		c.s.challenges.put(n)
		res := sip.NewResponseFromRequest(c.tx.Req, 407, "Unauthorized", nil)
		res.AppendHeader(sip.NewHeader("Proxy-Authenticate", n.header()))
		c.log.Info("challenged", "realm", realm)
		c.tx.Respond(res)
		c.leg.Close(call.End{Why: "unauthorized", Reason: livekit.DisconnectReason_CLIENT_INITIATED}, false)
		return false
	}
	if why := ch.refusal(cred.Value(), "INVITE", auth.Username, auth.Password); why != "" {
		c.s.challenges.drop(c.key)
		c.reject(401, why, "unauthorized")
		return false
	}
	return true
}

// evaluate asks livekit-server for the rule of the call.
func (c *inboundCall) evaluate(ctx context.Context, trunk string, desc *rpc.SIPCall, pin string, noPIN bool) (*rpc.EvaluateSIPDispatchRulesResponse, error) {
	req := c.tx.Req
	extra := map[string]string{
		attrs.CallID:     c.leg.ID,
		attrs.CallIDFull: string(*req.CallID()),
		attrs.CallTag:    sipnet.Tag(req.From()),
	}
	for k, v := range attrs.Provider(req.Headers()) {
		extra[k] = v
	}
	return c.env.IO.EvaluateSIPDispatchRules(ctx, &rpc.EvaluateSIPDispatchRulesRequest{
		SipCallId: c.leg.ID, SipTrunkId: trunk,
		CallingNumber: req.From().Address.User, CallingHost: req.From().Address.Host,
		CalledNumber: req.To().Address.User, CalledHost: req.To().Address.Host,
		SrcAddress: desc.SourceIp, Pin: pin, NoPin: noPIN, ExtraAttributes: extra, Call: desc,
	})
}

// adopt takes over the limits that the rule sets.
func (c *inboundCall) adopt(rule *rpc.EvaluateSIPDispatchRulesResponse) {
	c.addToLog("ruleID", rule.SipDispatchRuleId, "room", rule.RoomName)
	c.log.Info("dispatched", "result", rule.Result.String(), "identity", rule.ParticipantIdentity)
	limit := rule.MaxCallDuration.AsDuration()
	if limit <= 0 || limit > maxCallDuration {
		limit = maxCallDuration
	}
	c.leg.SetMaxDuration(limit)
	if m := rule.Media.GetMediaTimeout().AsDuration(); m > 0 {
		c.leg.SetMediaTimeout(m)
	}
}

// dispatch asks for the rule and handles the refusals. ok is false when the
// call is over.
func (c *inboundCall) dispatch(ctx context.Context, trunk string, desc *rpc.SIPCall, pin string, noPIN bool) (*rpc.EvaluateSIPDispatchRulesResponse, bool) {
	evaluated := c.leg.Call.Stage("eval-dispatch")
	rule, err := c.evaluate(ctx, trunk, desc, pin, noPIN)
	evaluated()
	c.leg.Call.Checked()
	if c.isEnding() {
		return nil, false
	}
	if err != nil {
		c.log.Warn("dispatch failed", "err", err)
		c.reject(503, "Try again later", "dispatch-error")
		return nil, false
	}
	switch rule.Result {
	case rpc.SIPDispatchResult_DROP:
		c.dropIt("flood")
		return nil, false
	case rpc.SIPDispatchResult_REJECT:
		c.reject(404, "Does not match Trunks or Dispatch Rules", "no-rule")
		return nil, false
	}
	c.adopt(rule)
	return rule, true
}

// participant is how the rule wants the caller to be seen.
func (c *inboundCall) participant(rule *rpc.EvaluateSIPDispatchRulesResponse, status string) room.Params {
	req := c.tx.Req
	a := map[string]string{}
	for k, v := range rule.ParticipantAttributes {
		a[k] = v
	}
	attrs.FromHeaders(a, req.Headers(), rule.IncludeHeaders, rule.HeadersToAttributes)
	maps.DeleteFunc(a, func(_, value string) bool { return value == "" })
	a[attrs.CallID] = c.leg.ID
	a[attrs.CallTag] = sipnet.Tag(req.From())
	a[attrs.CallIDFull] = string(*req.CallID())
	a[attrs.CallStatus] = status
	return room.Params{
		Room: rule.RoomName, Identity: rule.ParticipantIdentity, Name: rule.ParticipantName, Metadata: rule.ParticipantMetadata,
		Attributes: a, RoomPreset: rule.RoomPreset, RoomConfig: rule.RoomConfig, Token: rule.Token, Subscribe: true,
	}
}

// openMedia binds a port and makes the answer; what the phone can not do is a
// 400 without words.
func (c *inboundCall) openMedia(rule *rpc.EvaluateSIPDispatchRulesResponse) bool {
	defer c.leg.Call.Stage("start-media")()
	if err := c.leg.OpenMedia(call.MediaOptions(rule.Media, rule.MediaEncryption)); err != nil {
		c.log.Error("no media port", "err", err)
		c.reject(503, "Try again later", "media-failed")
		return false
	}
	c.env.Metrics.SDP("offer", len(c.tx.Req.Body()))
	if names, ok := c.leg.Media.Offered(c.tx.Req.Body()); ok {
		c.leg.Call.Offered(names)
	}
	answer, err := c.leg.Media.Answer(c.tx.Req.Body())
	if err != nil {
		c.log.Info("media refused", "err", err)
		c.quiet()
		res := sip.NewResponseFromRequest(c.tx.Req, 400, "", nil)
		res.AppendHeader(sip.NewHeader("Allow", sipnet.Allow))
		res.AppendHeader(c.env.SIP.Contact(c.tx.Flow.Network()))
		c.s.rejected.put(c.key, rejection{code: 400, tag: c.leg.ID})
		c.tx.Respond(res)
		c.leg.Close(call.End{Why: call.MediaFailure(err), Reason: livekit.DisconnectReason_CLIENT_INITIATED}, false)
		return false
	}
	c.env.Metrics.SDP("answer", len(answer))
	return true
}

// direct is a call without PIN: join, ring until somebody is there, answer.
func (c *inboundCall) direct(rule *rpc.EvaluateSIPDispatchRulesResponse) {
	if !c.openMedia(rule) {
		return
	}
	if err := c.leg.Join(c.leg.Context(), c.participant(rule, attrs.Ringing)); err != nil {
		if c.isEnding() {
			return
		}
		var out *room.ClosedError
		if errors.As(err, &out) {
			c.rejectWith(call.End{Why: "hangup", Reason: out.Reason})
			return
		}
		c.log.Warn("could not join the room", "err", err)
		c.reject(486, "Rejected", "participant-failed")
		return
	}
	published := make(chan error, 1)
	go func() { published <- c.publish() }()
	ringing := rule.RingingTimeout.AsDuration()
	if ringing <= 0 {
		ringing = defaultRingingTimeout
	}
	t := time.NewTimer(ringing)
	defer t.Stop()
	limit := time.NewTimer(time.Until(c.started.Add(c.leg.MaxDuration())))
	defer limit.Stop()
	r := c.leg.Room()
	waited := sync.OnceFunc(c.leg.Call.Stage("wait-subscribe"))
	defer waited() // calls that nobody took count, too
wait:
	for {
		select {
		case <-r.Peer():
			waited()
			break wait
		case err := <-published:
			if err != nil && !errors.Is(err, context.Canceled) {
				select {
				case <-r.Closed(): // the room is the reason, not the track
				default:
					c.log.Warn("could not publish", "err", err)
				}
			}
		case <-c.leg.Ending():
			c.isEnding()
			return
		case <-r.Closed():
			c.rejectWith(call.End{Why: "hangup", Reason: c.leg.RoomEnd().Reason})
			return
		case <-t.C:
			c.rejectWith(call.End{Why: "cannot-subscribe", Reason: livekit.DisconnectReason_USER_UNAVAILABLE})
			return
		case <-limit.C:
			c.rejectWith(call.EndMaxDuration)
			return
		}
	}
	accepted := c.leg.Call.Stage("call-accept")
	c.leg.AttrsToHeaders = rule.AttributesToHeaders
	headers := append(attrs.Headers(rule.Headers), attrs.ToHeaders(r.Attributes(), rule.AttributesToHeaders)...)
	answered, ok := c.accept(headers)
	if !ok {
		return
	}
	c.leg.PhoneToRoom()
	accepted()
	c.waitMedia(r.Closed())
	select {
	case <-c.leg.Ending():
	default:
		c.leg.SetStatus(attrs.Active)
	}
	c.inCall(answered)
}

// publish brings the caller's track into the room.
func (c *inboundCall) publish() error {
	published := c.leg.Call.Stage("track-publish")
	if err := c.leg.Room().Publish(); err != nil {
		return err // the call may have ended meanwhile, and its stages been counted
	}
	published()
	// It subscribes by joining: a stage without a length, as in livekit-sip.
	c.leg.Call.Stage("track-subscribe")()
	return nil
}

// waitMedia waits for the phone's first packet, for a while.
func (c *inboundCall) waitMedia(closed <-chan struct{}) {
	defer c.leg.Call.Stage("wait-media")()
	t := time.NewTimer(firstRTPWait)
	defer t.Stop()
	select {
	case <-c.leg.Media.FirstPacket():
	case <-t.C:
	case <-c.leg.Ending():
	case <-closed:
	}
}

// rejectWith refuses a ringing call with 486 and leaves the room for e.
func (c *inboundCall) rejectWith(e call.End) {
	c.quiet()
	c.log.Info("rejected", "status", 486, "why", e.Why)
	c.respond(486, "Rejected", e.Headers...)
	c.leg.Close(e, false)
}

// accept sends the 200 and confirms the dialog.
func (c *inboundCall) accept(headers []sipnet.Header) (time.Time, bool) {
	c.quiet()
	req := c.tx.Req
	res := sip.NewResponseFromRequest(req, 200, "OK", c.leg.Media.LocalSDP())
	res.AppendHeader(c.env.SIP.Contact(c.tx.Flow.Network()))
	res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	for _, h := range headers {
		res.AppendHeader(sip.NewHeader(h.Name, h.Value))
	}
	c.leg.Dialog = dialogOf(c.tx)
	if c.isEnding() {
		return time.Time{}, false
	}
	now := time.Now()
	sent := c.leg.Call.Stage("sip-accept")
	if err := c.tx.Respond(res); err != nil {
		c.log.Warn("200 not sent", "err", err)
	}
	sent()
	c.leg.Establish()
	c.log.Info("answered", "after", now.Sub(c.started))
	go func() {
		select {
		case <-c.tx.Acked():
			c.leg.Acked()
		case <-c.leg.Context().Done():
		}
	}()
	return now, true
}

// dialogOf is our side of the dialog that the INVITE opens.
func dialogOf(tx *sipnet.ServerTx) *sipnet.Dialog {
	req := tx.Req
	d := &sipnet.Dialog{
		CallID:  string(*req.CallID()),
		Local:   &sip.FromHeader{DisplayName: req.To().DisplayName, Address: req.To().Address, Params: req.To().Params.Clone()},
		Remote:  &sip.ToHeader{DisplayName: req.From().DisplayName, Address: req.From().Address, Params: req.From().Params.Clone()},
		Target:  req.From().Address,
		Seq:     req.CSeq().SeqNo,
		Network: tx.Flow.Network(),
		Peer:    tx.Source,
	}
	if c := req.Contact(); c != nil {
		d.Target = c.Address
	} else {
		d.Target = sip.Uri{Scheme: "sip", User: req.From().Address.User, Host: tx.Source.Addr().String(), Port: int(tx.Source.Port())}
	}
	for _, h := range req.GetHeaders("Record-Route") {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			d.Routes = append(d.Routes, &sip.RouteHeader{Address: rr.Address})
		}
	}
	return d
}

// inCall watches the answered call until it ends.
func (c *inboundCall) inCall(answered time.Time) {
	c.leg.Run(c.started, answered, c.noRTP(answered))
	c.leg.Close(c.leg.Ended(), true)
}

// noRTP gives the time by which the first packet of the phone must be here.
func (c *inboundCall) noRTP(answered time.Time) func() time.Time {
	return func() time.Time {
		select {
		case <-c.tx.Acked():
		default:
			if time.Since(answered) >= noAckAfter {
				return answered.Add(noAckNoRTP)
			}
			return answered.Add(noAckAfter) // looked at again then
		}
		return answered.Add(min(c.env.Cfg.MediaTimeoutInitial, c.leg.MediaTimeout()+graceNoRTP))
	}
}
