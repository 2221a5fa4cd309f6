package outbound

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/psrpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"livekit-sip-sandbox/standin/internal/call"
	"livekit-sip-sandbox/standin/internal/config"
	"livekit-sip-sandbox/standin/internal/media"
	"livekit-sip-sandbox/standin/internal/room/roomtest"
	"livekit-sip-sandbox/standin/internal/sipnet"
	"livekit-sip-sandbox/standin/internal/sipnet/siptest"
	"livekit-sip-sandbox/standin/internal/stats"
)

type bench struct {
	env   *call.Env
	phone *siptest.Phone
	rooms chan *roomtest.Room
}

func setUp(t *testing.T) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ep, err := sipnet.Listen(sipnet.Config{ListenIP: "127.0.0.1", SignalIP: "127.0.0.1", SignalPort: 5060, UDPMaxPayload: 4000, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	rooms := make(chan *roomtest.Room, 8)
	b := &bench{phone: siptest.NewPhone(t, ""), rooms: rooms, env: &call.Env{
		Cfg: &config.Config{MediaTimeout: time.Minute, MediaTimeoutInitial: time.Minute}, SIP: ep, Log: log, Metrics: stats.New("NE_test"),
		Media:    media.Config{ListenIP: "127.0.0.1", AdvertiseIP: "127.0.0.1"},
		JoinRoom: roomtest.Joiner(rooms, func(r *roomtest.Room) call.Room { return r }),
	}}
	ep.Serve(func(tx *sipnet.ServerTx) {
		if leg := b.env.FindGone(sipnet.Tag(tx.Req.To())); leg != nil && tx.Method == "BYE" {
			leg.HandleBye(tx)
		}
	})
	t.Cleanup(func() {
		for _, l := range b.env.Legs() {
			l.Stop(call.EndShutdown)
		}
		<-b.env.Drained()
		ep.Close()
	})
	return b
}

func (b *bench) request() *rpc.InternalCreateSIPParticipantRequest {
	return &rpc.InternalCreateSIPParticipantRequest{
		SipCallId: "SCL_test", CallTo: "+1555", Number: "+1777", Address: b.phone.Addr(), RoomName: "r",
		ParticipantIdentity: "callee", WaitUntilAnswered: true,
	}
}

type result struct {
	res *rpc.InternalCreateSIPParticipantResponse
	err error
}

// create calls in the background.
func (b *bench) create(ctx context.Context, req *rpc.InternalCreateSIPParticipantRequest) <-chan result {
	out := make(chan result, 1)
	go func() {
		res, err := NewClient(b.env).Create(ctx, req)
		out <- result{res, err}
	}()
	return out
}

func code(err error) psrpc.ErrorCode {
	var e psrpc.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return ""
}

func TestACall(t *testing.T) {
	b := setUp(t)
	req := b.request()
	req.Headers = map[string]string{"X-B": "2", "X-A": "1"}
	req.AttributesToHeaders = map[string]string{"tier": "X-Tier"}
	req.HeadersToAttributes = map[string]string{"X-From-Phone": "phone.said"}
	req.ParticipantAttributes = map[string]string{"tier": "gold"}
	done := b.create(context.Background(), req)
	inv := b.phone.Request("INVITE")
	if got := inv.Recipient.String(); got != "sip:+1555@"+b.phone.Addr() {
		t.Error(got)
	}
	if from := inv.From().Value(); from != `"+1777" <sip:+1777@127.0.0.1>;tag=SCL_test` {
		t.Error(from)
	}
	if inv.GetHeader("X-A").Value() != "1" || inv.GetHeader("X-Tier") != nil {
		t.Error(inv.String())
	}
	b.phone.Reply(inv, 180, "Ringing", "")
	b.phone.Reply(inv, 200, "OK", siptest.SDP, "Content-Type: application/sdp", "X-From-Phone: hello")
	b.phone.Request("ACK")
	r := <-done
	if r.err != nil || r.res.ParticipantIdentity != "callee" || r.res.SipCallId != "SCL_test" {
		t.Fatal(r)
	}
	room := <-b.rooms
	if got := room.Statuses(); !slices.Equal(got, []string{"dialing", "ringing", "active"}) {
		t.Error(got)
	}
	a := room.Attributes()
	if a["phone.said"] != "hello" || a["sip.callTag"] != "phone" || a["sip.callIDFull"] == "" {
		t.Error(a)
	}
	room.Close(livekit.DisconnectReason_ROOM_DELETED)
	bye := b.phone.Request("BYE")
	if h := bye.GetHeader("X-Tier"); h == nil || h.Value() != "gold" || bye.CSeq().SeqNo != 2 {
		t.Error(bye.String())
	}
	b.phone.Reply(bye, 200, "OK", "")
}

func TestThePhoneHangsUp(t *testing.T) {
	b := setUp(t)
	done := b.create(context.Background(), b.request())
	inv := b.phone.Request("INVITE")
	b.phone.Reply(inv, 200, "OK", siptest.SDP)
	b.phone.Request("ACK")
	<-done
	room := <-b.rooms
	cid := string(*inv.CallID())
	for seq := range 2 { // a second BYE at once is answered like the first
		b.phone.Ask("BYE", cid, "SCL_test", seq+1, "")
		b.phone.Response(200)
	}
	<-room.Closed()
	if got := room.Statuses(); got[len(got)-1] != "hangup" || room.CloseReason() != livekit.DisconnectReason_CLIENT_INITIATED {
		t.Error(got, room.CloseReason())
	}
}

func TestRefusals(t *testing.T) {
	type line struct {
		status        int
		reason, body  string
		headers       []string
		want          string
		code          psrpc.ErrorCode
		disconnection livekit.DisconnectReason
	}
	for _, c := range []line{
		{486, "Busy Here", "", nil, "INVITE failed: sip status: 486: Busy Here", psrpc.FailedPrecondition, livekit.DisconnectReason_USER_REJECTED},
		{404, "No", "from the body", []string{"X-Twilio-Error: 1 x"}, "INVITE failed: sip status: 404: from the body", psrpc.NotFound, livekit.DisconnectReason_USER_UNAVAILABLE},
		{404, "No", "", []string{"X-Twilio-Error: 1 x"}, "INVITE failed: sip status: 404: 1 x", psrpc.NotFound, livekit.DisconnectReason_USER_UNAVAILABLE},
		{603, "Decline", "ignored", nil, "unexpected status from INVITE response: sip status: 603: Decline", psrpc.PermissionDenied, livekit.DisconnectReason_USER_REJECTED},
		{500, "Oops", "", []string{"X-Twilio-Error: 32203 fraud"}, "sip status: 500: Oops", psrpc.FailedPrecondition, livekit.DisconnectReason_USER_REJECTED},
		{202, "Accepted", "", nil, "unexpected status from INVITE response: sip status: 202: Accepted", psrpc.Unknown, livekit.DisconnectReason_CLIENT_INITIATED},
		{407, "Auth", "", nil, "sip server required auth, but no username or password was provided", psrpc.FailedPrecondition, livekit.DisconnectReason_USER_REJECTED},
		{200, "OK", "", nil, "no audio in sdp", psrpc.FailedPrecondition, livekit.DisconnectReason_USER_REJECTED},
	} {
		b := setUp(t)
		done := b.create(context.Background(), b.request())
		b.phone.Reply(b.phone.Request("INVITE"), c.status, c.reason, c.body, c.headers...)
		r := <-done
		if r.err == nil || r.err.Error() != c.want || code(r.err) != c.code {
			t.Errorf("%d: %v (%s), want %s (%s)", c.status, r.err, code(r.err), c.want, c.code)
		}
		room := <-b.rooms
		<-room.Closed()
		if got := room.CloseReason(); got != c.disconnection {
			t.Errorf("%d: %v", c.status, got)
		}
	}
}

func TestAuthorization(t *testing.T) {
	const challenge = `WWW-Authenticate: Digest realm="pbx", nonce="n", algorithm=MD5, qop="auth"`
	for _, c := range []struct {
		challenge string
		tries     int
		want      string
	}{
		{challenge, maxAttempts, "max auth retry attempts reached for SIP invite"},
		{"X-None: 1", 1, "no auth header in sip invite response"},
		{strings.Replace(challenge, "Digest", "DIGEST", 1), 1, `invalid challenge "DIGEST`},
		{`WWW-Authenticate: Basic realm="pbx"`, 1, `invalid challenge "Basic`},
	} {
		b := setUp(t)
		req := b.request()
		req.Username, req.Password = "u", "p"
		done := b.create(context.Background(), req)
		for n := range c.tries {
			inv := b.phone.Request("INVITE")
			if h := inv.GetHeader("Authorization"); (h != nil) != (n > 0) || inv.CSeq().SeqNo != uint32(n+1) {
				t.Fatalf("%d: %v", n, inv)
			}
			b.phone.Reply(inv, 401, "Unauthorized", "", c.challenge)
		}
		if r := <-done; r.err == nil || !strings.HasPrefix(r.err.Error(), c.want) || code(r.err) != psrpc.FailedPrecondition {
			t.Errorf("%v, want %s", r.err, c.want)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	for name, end := range map[string]func(r *roomtest.Room){
		"ringing timeout": func(*roomtest.Room) {},
		"room deleted":    func(r *roomtest.Room) { r.Close(livekit.DisconnectReason_ROOM_DELETED) },
	} {
		b := setUp(t)
		req := b.request()
		req.RingingTimeout = durationpb.New(300 * time.Millisecond)
		done := b.create(context.Background(), req)
		inv := b.phone.Request("INVITE")
		b.phone.Reply(inv, 180, "Ringing", "")
		end(<-b.rooms)
		cancel := b.phone.Request("CANCEL")
		b.phone.Reply(cancel, 200, "OK", "")
		b.phone.Reply(inv, 487, "Request Terminated", "")
		b.phone.Request("ACK")
		if r := <-done; r.err == nil || r.err.Error() != "sip request timed out" || code(r.err) != psrpc.Canceled {
			t.Errorf("%s: %v", name, r.err)
		}
	}
}

func TestAnAnswerThatCrossesTheCancelIsHungUp(t *testing.T) {
	b := setUp(t)
	req := b.request()
	req.RingingTimeout = durationpb.New(100 * time.Millisecond)
	done := b.create(context.Background(), req)
	inv := b.phone.Request("INVITE")
	b.phone.Reply(inv, 180, "Ringing", "")
	b.phone.Request("CANCEL")
	b.phone.Reply(inv, 200, "OK", siptest.SDP)
	b.phone.Request("ACK")
	b.phone.Reply(b.phone.Request("BYE"), 200, "OK", "")
	<-done
}

func TestDTMFAfterTheAnswer(t *testing.T) {
	b := setUp(t)
	req := b.request()
	req.Dtmf = "w"
	done := b.create(context.Background(), req)
	b.phone.Reply(b.phone.Request("INVITE"), 200, "OK", siptest.SDP)
	b.phone.Request("ACK")
	<-done
	if got := (<-b.rooms).Statuses(); !slices.Equal(got, []string{"dialing", "automation", "active"}) {
		t.Error(got)
	}
}

func TestImpossibleRequests(t *testing.T) {
	b := setUp(t)
	udp := livekit.SIPTransport_SIP_TRANSPORT_UDP
	tcp := livekit.SIPTransport_SIP_TRANSPORT_TCP
	values := func(v *livekit.SIPUri) *livekit.SIPRequestDest {
		return &livekit.SIPRequestDest{Uri: &livekit.SIPRequestDest_Values{Values: v}}
	}
	for want, change := range map[string]func(r *rpc.InternalCreateSIPParticipantRequest){
		"missing sip callee number":                func(r *rpc.InternalCreateSIPParticipantRequest) { r.CallTo = "" },
		"invalid request URI: address must be set": func(r *rpc.InternalCreateSIPParticipantRequest) { r.Address = "" },
		"no numbers on outbound trunk":             func(r *rpc.InternalCreateSIPParticipantRequest) { r.Number = "" },
		"invalid To header: cannot use both CallTo and SipToHeader": func(r *rpc.InternalCreateSIPParticipantRequest) {
			r.SipToHeader = &livekit.SIPNamedDest{}
		},
		"invalid request URI: invalid request URI type": func(r *rpc.InternalCreateSIPParticipantRequest) {
			r.SipRequestUri = &livekit.SIPRequestDest{}
		},
		"invalid request URI: invalid request URI": func(r *rpc.InternalCreateSIPParticipantRequest) {
			r.SipRequestUri = &livekit.SIPRequestDest{Uri: &livekit.SIPRequestDest_Raw{Raw: "not a uri"}}
		},
		"invalid request URI: username or number must be set": func(r *rpc.InternalCreateSIPParticipantRequest) {
			r.SipRequestUri = values(&livekit.SIPUri{Host: "h"})
		},
		"invalid request URI: host or ip must be set": func(r *rpc.InternalCreateSIPParticipantRequest) {
			r.SipRequestUri = values(&livekit.SIPUri{User: "u"})
		},
		"invalid request URI: host or ip must not contain port": func(r *rpc.InternalCreateSIPParticipantRequest) {
			r.SipRequestUri = values(&livekit.SIPUri{User: "u", Host: "h:1"})
		},
		"invalid request URI: different transports specified: SIP_TRANSPORT_UDP vs SIP_TRANSPORT_TCP": func(r *rpc.InternalCreateSIPParticipantRequest) {
			r.Transport = udp
			r.SipRequestUri = values(&livekit.SIPUri{User: "u", Host: "h", Transport: tcp})
		},
		"TLS is not implemented by the stand-in for livekit-sip": func(r *rpc.InternalCreateSIPParticipantRequest) {
			r.Transport = livekit.SIPTransport_SIP_TRANSPORT_TLS
		},
		"no codecs specified": func(r *rpc.InternalCreateSIPParticipantRequest) {
			r.Media = &livekit.SIPMediaConfig{OnlyListedCodecs: true}
		},
		`sample rate not specified for codec: "G729"`: func(r *rpc.InternalCreateSIPParticipantRequest) {
			r.Media = &livekit.SIPMediaConfig{Codecs: []*livekit.SIPCodec{{Name: "G729"}}}
		},
	} {
		req := b.request()
		change(req)
		if _, err := NewClient(b.env).Create(context.Background(), req); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if len(b.rooms) > 0 {
		t.Error("a refused request joined a room")
	}
}

func TestAddresses(t *testing.T) {
	raw := func(s string) *livekit.SIPRequestDest {
		return &livekit.SIPRequestDest{Uri: &livekit.SIPRequestDest_Raw{Raw: s}}
	}
	empty := ""
	for _, c := range []struct {
		req                    *rpc.InternalCreateSIPParticipantRequest
		request, to, from      string
		display, network, host string
		port                   int
	}{
		{&rpc.InternalCreateSIPParticipantRequest{CallTo: "1", Number: "2", Address: "h:7", Transport: livekit.SIPTransport_SIP_TRANSPORT_TCP},
			"sip:1@h:7;transport=tcp", "sip:1@h:7;transport=tcp", "sip:2@10.0.0.1;transport=tcp", "2", "tcp", "h", 7},
		{&rpc.InternalCreateSIPParticipantRequest{CallTo: "1", Number: "2", Address: "x.pstn.Twilio.com", Hostname: "pbx:9", SipRequestUri: raw("<sip:u@i:8;user=phone>"), ToUserOverride: "z"},
			"sip:u@i:8;user=phone", "sip:z@x.pstn.Twilio.com", "sip:+2@pbx:9", "+2", "udp", "i", 8},
		{&rpc.InternalCreateSIPParticipantRequest{CallTo: "1", Number: "2", Address: "h", DisplayName: &empty,
			SipRequestUri: &livekit.SIPRequestDest{Uri: &livekit.SIPRequestDest_Values{Values: &livekit.SIPUri{User: "u", Host: "a", Ip: "1.2.3.4", Port: 6, Transport: livekit.SIPTransport_SIP_TRANSPORT_TCP}}}},
			"sip:u@a:6;transport=tcp", "sip:1@h", "sip:2@10.0.0.1", "", "tcp", "a", 6},
		{&rpc.InternalCreateSIPParticipantRequest{CallTo: "1", Number: "2", Address: "h", SipFromHeader: &livekit.SIPNamedDest{DisplayName: "A", Uri: &livekit.SIPNamedDest_Raw{Raw: "sip:a@b"}}},
			"sip:1@h", "sip:1@h", "sip:a@b", "A", "udp", "h", 0},
	} {
		a, err := addressesOf(c.req, "10.0.0.1")
		if err != nil {
			t.Error(err)
			continue
		}
		if a.request.String() != c.request || a.to.String() != c.to || a.from.String() != c.from ||
			a.display != c.display || a.network != c.network || a.host != c.host || a.port != c.port {
			t.Errorf("got %s | %s | %s | %q %s %s %d", a.request.String(), a.to.String(), a.from.String(), a.display, a.network, a.host, a.port)
		}
	}
}
