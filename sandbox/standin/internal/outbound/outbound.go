// Package outbound places calls into the phone network.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/protocol/utils"
	"github.com/livekit/psrpc"

	"livekit-sip-sandbox/standin/internal/attrs"
	"livekit-sip-sandbox/standin/internal/call"
	"livekit-sip-sandbox/standin/internal/media"
	"livekit-sip-sandbox/standin/internal/room"
	"livekit-sip-sandbox/standin/internal/sipnet"
	"livekit-sip-sandbox/standin/internal/stats"
)

const (
	defaultRingingTimeout = 3 * time.Minute
	maxCallDuration       = 24 * time.Hour
	// maxAttempts counts the INVITEs of one call, challenges included.
	maxAttempts = 5
	// cancelWait is how long a canceled INVITE is watched for a racing 200.
	cancelWait = 5 * time.Second
	// twilioFraud is the code of X-Twilio-Error for calls blocked as fraud.
	twilioFraud = "32203"
	// noStatus and badChallenge are words of the metrics: an INVITE that failed
	// without a refusal, and a call whose challenge could not be read.
	noStatus     = "other"
	badChallenge = "invite-failed"
	// graceNoRTP: see the inbound package, the watch is the same.
	graceNoRTP = 2300 * time.Millisecond
)

// errTimedOut is the API error of a call that nobody answered in time, that
// was canceled, or whose participant or room went away while it rang.
var errTimedOut = psrpc.NewErrorf(psrpc.Canceled, "sip request timed out")

// Client places calls.
type Client struct{ env *call.Env }

// NewClient makes a Client.
func NewClient(env *call.Env) *Client { return &Client{env} }

type outboundCall struct {
	env     *call.Env
	req     *rpc.InternalCreateSIPParticipantRequest
	addr    *addresses
	leg     *call.Leg
	log     *slog.Logger
	started time.Time
	ringing bool
}

// failure is an error with what the room sees of it.
type failure struct {
	err    error
	reason livekit.DisconnectReason
	why    string
	invite string // reason of the failed INVITE in the metrics, "" if it was answered
	bye    bool
}

// Create joins the room and dials. It returns after the join, or with
// wait_until_answered after the answer.
func (c *Client) Create(ctx context.Context, req *rpc.InternalCreateSIPParticipantRequest) (*rpc.InternalCreateSIPParticipantResponse, error) {
	if req.CallTo == "" {
		return nil, psrpc.NewErrorf(psrpc.InvalidArgument, "missing sip callee number")
	}
	addr, err := addressesOf(req, c.env.SIP.SignalIP())
	if err != nil {
		return nil, err
	}
	if req.Number == "" && req.SipFromHeader == nil {
		return nil, psrpc.NewErrorf(psrpc.FailedPrecondition, "no numbers on outbound trunk")
	}
	if _, ok := livekit.SIPMediaEncryption_name[int32(encryption(req))]; !ok {
		return nil, psrpc.NewErrorf(psrpc.Unknown, "invalid SIP media encryption type")
	}
	if err := checkCodecs(req.Media); err != nil {
		return nil, err
	}
	log := c.env.Log.With("callID", req.SipCallId, "fromUser", req.Number, "toUser", req.CallTo, "toHost", req.Address,
		"room", req.RoomName, "trunkID", req.SipTrunkId, "identity", req.ParticipantIdentity)
	o := &outboundCall{env: c.env, req: req, addr: addr, log: log, started: time.Now()}
	o.leg = call.New(c.env, req.SipCallId, false, log)
	o.leg.AttrsToHeaders = req.AttributesToHeaders
	o.leg.SetMaxDuration(maxCallDuration)
	if d := req.MaxCallDuration.AsDuration(); d > 0 && d < maxCallDuration {
		o.leg.SetMaxDuration(d)
	}
	if d := req.Media.GetMediaTimeout().AsDuration(); d > 0 {
		o.leg.SetMediaTimeout(d)
	}
	log.Info("outbound call", "transport", req.Transport.String(), "waitUntilAnswered", req.WaitUntilAnswered)
	o.leg.Call = c.env.Metrics.StartOut(req.Address)
	if f := o.join(ctx); f != nil {
		o.fail(f)
		return nil, f.err
	}
	res := &rpc.InternalCreateSIPParticipantResponse{
		ParticipantId: o.leg.Room().SID(), ParticipantIdentity: o.leg.Room().Identity(), SipCallId: req.SipCallId,
	}
	if !req.WaitUntilAnswered {
		go o.dialAndRun(o.leg.Context(), nil)
		return res, nil
	}
	answered := make(chan error, 1)
	go o.dialAndRun(ctx, answered)
	if err := <-answered; err != nil {
		return nil, err
	}
	return res, nil
}

// checkCodecs refuses a list of codecs that can not be made out.
func checkCodecs(m *livekit.SIPMediaConfig) error {
	if m.GetOnlyListedCodecs() && len(m.Codecs) == 0 {
		return psrpc.NewErrorf(psrpc.Unknown, "no codecs specified")
	}
	for _, c := range m.GetCodecs() {
		switch strings.ToUpper(c.Name) {
		case "PCMU", "PCMA", "G722", "AMR-WB":
		default:
			if c.Rate == 0 {
				return psrpc.NewErrorf(psrpc.Unknown, "sample rate not specified for codec: %q", c.Name)
			}
		}
	}
	return nil
}

func encryption(req *rpc.InternalCreateSIPParticipantRequest) livekit.SIPMediaEncryption {
	if req.Media != nil && req.Media.Encryption != nil {
		return *req.Media.Encryption
	}
	return req.MediaEncryption
}

func (o *outboundCall) join(ctx context.Context) *failure {
	req := o.req
	a := map[string]string{}
	for k, v := range req.ParticipantAttributes {
		a[k] = v
	}
	a[attrs.CallID] = req.SipCallId
	a[attrs.CallStatus] = attrs.Dialing
	if err := o.leg.OpenMedia(call.MediaOptions(req.Media, req.MediaEncryption)); err != nil {
		return &failure{err: psrpc.NewError(psrpc.Unavailable, err), why: "media-failed"}
	}
	err := o.leg.Join(ctx, room.Params{
		Room: req.RoomName, Identity: req.ParticipantIdentity, Name: req.ParticipantName, Metadata: req.ParticipantMetadata,
		Attributes: a, Token: req.Token,
	})
	var out *room.ClosedError
	if errors.As(err, &out) {
		return &failure{err: errTimedOut, why: "removed", reason: out.Reason}
	}
	if err != nil {
		return &failure{err: psrpc.NewError(psrpc.Internal, fmt.Errorf("could not join the room: %w", err)), why: "participant-failed"}
	}
	if err := o.leg.Room().Publish(); err != nil {
		// Most likely the room or the participant went away again; if so the
		// dialing finds out.
		o.log.Info("could not publish", "err", err)
	}
	return nil
}

// fail ends a call that never was.
func (o *outboundCall) fail(f *failure) {
	o.log.Info("call failed", "why", f.why, "err", f.err)
	o.leg.Close(call.End{Why: f.why, Reason: f.reason, Remote: !f.bye}, f.bye)
}

// dialAndRun dials, tells answered (if anybody waits) and watches the call.
func (o *outboundCall) dialAndRun(ctx context.Context, answered chan<- error) {
	tell := func(err error) {
		if answered != nil {
			answered <- err
			answered = nil
		}
	}
	stopTone := func() {}
	if o.req.PlayDialtone {
		tctx, cancel := context.WithCancel(o.leg.Context())
		stopTone = cancel
		go o.dialtone(tctx)
	}
	f := o.dial(ctx)
	stopTone()
	if f != nil {
		if f.invite != "" {
			o.leg.Call.Failed(f.invite)
		}
		o.fail(f)
		tell(f.err)
		return
	}
	at := time.Now()
	o.leg.Establish()
	o.leg.Call.Answered()
	o.leg.PhoneToRoom()
	if o.req.Dtmf != "" {
		o.leg.SetStatus(attrs.Automation)
		o.sendDigits(ctx)
	}
	select {
	case <-o.leg.Ending():
	default:
		o.leg.SetStatus(attrs.Active)
		o.leg.Room().Subscribe()
	}
	tell(nil)
	o.leg.Run(o.started, at, func() time.Time {
		return at.Add(min(o.env.Cfg.MediaTimeoutInitial, o.leg.MediaTimeout()+graceNoRTP))
	})
	o.leg.Close(o.leg.Ended(), true)
}

// sendDigits presses the keys of the dtmf option, ended early by the call's
// end.
func (o *outboundCall) sendDigits(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-o.leg.Ending():
			cancel()
		case <-o.leg.Room().Closed():
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := o.leg.Media.SendDTMF(ctx, o.req.Dtmf); err != nil {
		o.log.Info("dtmf not finished", "err", err)
	}
}

// dialtone plays the ringing tone into the room.
func (o *outboundCall) dialtone(ctx context.Context) {
	tone := media.RingbackETSI()
	t := time.NewTicker(room.FrameDuration)
	defer t.Stop()
	o.leg.ToRoom(ctx, func(frame []int16) error {
		select {
		case <-t.C:
			tone.Frame(frame)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// invite builds one INVITE, the headers in the recorded order.
func (o *outboundCall) invite(from *sip.FromHeader, to *sip.ToHeader, seq uint32, offer []byte, auth *sipnet.Header) *sip.Request {
	t := o.addr
	inv := sip.NewRequest(sip.INVITE, *t.request.Clone())
	inv.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: sip.INVITE})
	cid := sip.CallIDHeader(utils.HashedID(o.req.SipCallId))
	inv.AppendHeader(&cid)
	inv.SetBody(offer)
	inv.AppendHeader(sip.HeaderClone(to))
	inv.AppendHeader(sip.HeaderClone(from))
	inv.AppendHeader(o.env.SIP.Contact(transportParam(o.req.Transport)))
	inv.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	inv.AppendHeader(sip.NewHeader("Allow", sipnet.Allow))
	if auth != nil {
		inv.AppendHeader(sip.NewHeader(auth.Name, auth.Value))
	}
	for _, h := range attrs.Headers(o.req.Headers) {
		inv.AppendHeader(sip.NewHeader(h.Name, h.Value))
	}
	mf := sip.MaxForwardsHeader(70)
	inv.AppendHeader(&mf)
	return inv
}

// dial sends INVITEs until the call is answered or has failed.
func (o *outboundCall) dial(ctx context.Context) *failure {
	t := o.addr
	ringing := o.req.RingingTimeout.AsDuration()
	if ringing <= 0 {
		ringing = defaultRingingTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, ringing)
	defer cancel()
	// Whatever ends the call or its participant ends the dialing too.
	limit := time.AfterFunc(time.Until(o.started.Add(o.leg.MaxDuration())), cancel)
	defer limit.Stop()
	go func() {
		select {
		case <-o.leg.Room().Closed():
		case <-o.leg.Ending():
		case <-ctx.Done():
		}
		cancel()
	}()

	addr, err := o.env.SIP.Resolve(t.network, strings.Trim(t.host, "[]"), t.port)
	if err != nil {
		return &failure{err: psrpc.NewError(psrpc.InvalidArgument, err), why: "dns-resolution", invite: noStatus, reason: livekit.DisconnectReason_CLIENT_INITIATED}
	}
	flow, err := o.env.SIP.Dial(t.network, addr)
	if err != nil {
		return &failure{err: psrpc.NewError(psrpc.FailedPrecondition, err), why: "network-error", invite: noStatus, reason: livekit.DisconnectReason_CLIENT_INITIATED}
	}
	offer, err := o.leg.Media.Offer()
	if err != nil {
		return &failure{err: psrpc.NewError(psrpc.Internal, err), why: "media-failed", reason: livekit.DisconnectReason_CLIENT_INITIATED}
	}
	o.env.Metrics.SDP("offer", len(offer))
	from := &sip.FromHeader{DisplayName: t.display, Address: t.from, Params: sip.NewParams()}
	from.Params.Add("tag", o.req.SipCallId)
	to := &sip.ToHeader{Address: t.to, Params: sip.NewParams()}
	var auth *sipnet.Header
	for seq := uint32(1); ; seq++ {
		inv := o.invite(from, to, seq, offer, auth)
		o.log.Info("INVITE", "requestURI", t.request.String(), "to", addr.String(), "sipCallID", string(*inv.CallID()), "seq", seq)
		tx, err := o.env.SIP.Request(inv, flow)
		if err != nil {
			return &failure{err: psrpc.NewError(psrpc.FailedPrecondition, err), why: "network-error", invite: noStatus, reason: livekit.DisconnectReason_CLIENT_INITIATED}
		}
		res, f := o.await(ctx, tx, from, flow)
		if f != nil {
			return f
		}
		o.log.Info("final response", "status", res.StatusCode, "statusText", res.Reason)
		switch {
		case res.StatusCode == 200:
			return o.answered(tx, inv, res, from, flow)
		case res.StatusCode == 401 || res.StatusCode == 407:
			if seq >= maxAttempts {
				return refused(psrpc.NewErrorf(psrpc.FailedPrecondition, "max auth retry attempts reached for SIP invite"), stats.Refused(res.StatusCode))
			}
			var why string
			if auth, why, err = o.authorize(res); err != nil {
				return refused(err, why)
			}
		default:
			return o.refusal(res)
		}
	}
}

func refused(err error, why string) *failure {
	return &failure{err: err, why: why, invite: noStatus, reason: livekit.DisconnectReason_USER_REJECTED}
}

// refusal turns a final response above 200 into the failure of the call. For
// some statuses the body says more than the reason phrase, or else a header of
// Twilio's; and one code of that header, a block for fraud, goes without the
// words around the status.
func (o *outboundCall) refusal(res *sip.Response) *failure {
	f := &failure{why: stats.Refused(res.StatusCode), invite: stats.StatusLabel(res.StatusCode), reason: call.RefusedReason(res.StatusCode)}
	twilio := ""
	if h := res.GetHeader("X-Twilio-Error"); h != nil {
		twilio = h.Value()
	}
	if strings.HasPrefix(twilio, twilioFraud) {
		f.err, f.reason = call.SIPError("", res.StatusCode, res.Reason), livekit.DisconnectReason_USER_REJECTED
		f.why = "carrier-blocked"
		return f
	}
	text := res.Reason
	switch res.StatusCode {
	case 400, 404, 480, 486, 488:
		if len(res.Body()) > 0 {
			text = strings.ToValidUTF8(string(res.Body()), "\uFFFD")
		} else if twilio != "" {
			text = twilio
		}
	}
	f.err = call.InviteError(res.StatusCode, text)
	return f
}

// await follows an INVITE to its final response.
func (o *outboundCall) await(ctx context.Context, tx *sipnet.ClientTx, from *sip.FromHeader, flow sipnet.Flow) (*sip.Response, *failure) {
	for {
		res, err := tx.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				go o.cancel(tx, from, flow)
				return nil, &failure{err: errTimedOut, why: "no-answer", invite: noStatus, reason: livekit.DisconnectReason_USER_UNAVAILABLE}
			}
			var timeout *sipnet.TimeoutError
			if errors.As(err, &timeout) {
				return nil, &failure{err: psrpc.NewError(psrpc.Canceled, err), why: "upstream-no-response", invite: noStatus, reason: livekit.DisconnectReason_USER_UNAVAILABLE}
			}
			return nil, &failure{err: psrpc.NewError(psrpc.Unavailable, err), why: "network-error", invite: noStatus, reason: livekit.DisconnectReason_CLIENT_INITIATED}
		}
		if res.StatusCode >= 200 {
			return res, nil
		}
		o.log.Debug("provisional response", "status", res.StatusCode)
		change := attrs.Provider(res.Headers())
		if res.StatusCode >= 180 && !o.ringing {
			o.ringing = true
			o.log.Info("ringing", "status", res.StatusCode)
			change[attrs.CallStatus] = attrs.Ringing
		}
		o.leg.Room().SetAttributes(change)
	}
}

// cancel takes an INVITE back. A 200 that crosses the CANCEL is acknowledged
// and hung up.
func (o *outboundCall) cancel(tx *sipnet.ClientTx, from *sip.FromHeader, flow sipnet.Flow) {
	o.log.Info("CANCEL")
	tx.Cancel()
	ctx, cancel := context.WithTimeout(context.Background(), cancelWait)
	defer cancel()
	res, err := tx.Final(ctx)
	if err != nil || res.StatusCode != 200 {
		return
	}
	o.log.Info("the answer crossed the CANCEL")
	d := o.dialog(tx.Req, res, from, flow)
	tx.Ack(d.Ack(o.env.SIP, tx.Req.CSeq().SeqNo), o.flow(d, flow))
	o.env.SIP.Request(d.Request(o.env.SIP, sip.BYE, nil), o.flow(d, flow))
}

func (o *outboundCall) flow(d *sipnet.Dialog, invite sipnet.Flow) sipnet.Flow {
	f, err := d.Flow(o.env.SIP)
	if err != nil {
		return invite
	}
	return f
}

// authorize answers a challenge; or it says why not, for the metrics and as an
// error.
func (o *outboundCall) authorize(res *sip.Response) (answered *sipnet.Header, why string, err error) {
	why = stats.Refused(res.StatusCode)
	if o.req.Username == "" || o.req.Password == "" {
		return nil, why, psrpc.NewErrorf(psrpc.FailedPrecondition, "sip server required auth, but no username or password was provided")
	}
	ask, answer := "WWW-Authenticate", "Authorization"
	if res.StatusCode == 407 {
		ask, answer = "Proxy-Authenticate", "Proxy-Authorization"
	}
	h := res.GetHeader(ask)
	if h == nil {
		return nil, why, psrpc.NewErrorf(psrpc.FailedPrecondition, "no auth header in sip invite response")
	}
	chal, err := digest.ParseChallenge(h.Value())
	if err == nil && !strings.HasPrefix(h.Value(), "Digest ") {
		err = errors.New("unknown scheme") // the real one knows one spelling
	}
	if err != nil {
		return nil, badChallenge, psrpc.NewError(psrpc.FailedPrecondition, fmt.Errorf("invalid challenge %q: %w", h.Value(), err))
	}
	cred, err := digest.Digest(chal, digest.Options{
		Method: "INVITE", URI: res.To().Address.String(), Username: o.req.Username, Password: o.req.Password,
	})
	if err != nil {
		return nil, badChallenge, psrpc.NewError(psrpc.FailedPrecondition, err)
	}
	return &sipnet.Header{Name: answer, Value: cred.String()}, "", nil
}

func (o *outboundCall) dialog(inv *sip.Request, res *sip.Response, from *sip.FromHeader, flow sipnet.Flow) *sipnet.Dialog {
	d := &sipnet.Dialog{
		CallID: string(*inv.CallID()), Local: from,
		Remote: &sip.ToHeader{DisplayName: res.To().DisplayName, Address: res.To().Address, Params: res.To().Params.Clone()},
		Target: inv.Recipient, Seq: inv.CSeq().SeqNo, Caller: true, Network: flow.Network(), Transport: transportParam(o.req.Transport), Peer: flow.Remote(),
	}
	if c := res.Contact(); c != nil {
		d.Target = c.Address
	}
	rr := res.GetHeaders("Record-Route")
	for i := len(rr) - 1; i >= 0; i-- { // the caller takes the route set backwards
		if h, ok := rr[i].(*sip.RecordRouteHeader); ok {
			d.Routes = append(d.Routes, &sip.RouteHeader{Address: h.Address})
		}
	}
	return d
}

// answered takes the 200. An answer without usable media is hung up without
// an ACK, as recorded.
func (o *outboundCall) answered(tx *sipnet.ClientTx, inv *sip.Request, res *sip.Response, from *sip.FromHeader, flow sipnet.Flow) *failure {
	d := o.dialog(inv, res, from, flow)
	o.leg.Dialog = d
	o.env.Metrics.SDP("answer", len(res.Body()))
	if err := o.leg.Media.AcceptAnswer(res.Body()); err != nil {
		return &failure{err: psrpc.NewError(psrpc.FailedPrecondition, mediaError(err)), why: call.MediaFailure(err), reason: livekit.DisconnectReason_USER_REJECTED, bye: true}
	}
	o.leg.SetRemoteHeaders(res.Headers())
	if err := tx.Ack(d.Ack(o.env.SIP, inv.CSeq().SeqNo), o.flow(d, flow)); err != nil {
		o.log.Warn("ACK not sent", "err", err)
	}
	o.log.Info("answered", "after", time.Since(o.started))
	change := map[string]string{}
	attrs.FromHeaders(change, res.Headers(), o.req.IncludeHeaders, o.req.HeadersToAttributes)
	change[attrs.CallIDFull] = d.CallID
	change[attrs.CallTag] = sipnet.Tag(res.To())
	delete(change, attrs.CallStatus) // not for headers to say
	o.leg.Room().SetAttributes(change)
	return nil
}

// mediaError has the recorded words for the recorded causes.
func mediaError(err error) error {
	for _, known := range []error{media.ErrNoAudio, media.ErrNoCodec, media.ErrNoCrypto} {
		if errors.Is(err, known) {
			return known
		}
	}
	return err
}
