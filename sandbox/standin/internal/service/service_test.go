package service

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/psrpc"

	"livekit-sip-sandbox/standin/internal/call"
	"livekit-sip-sandbox/standin/internal/config"
	"livekit-sip-sandbox/standin/internal/inbound"
	"livekit-sip-sandbox/standin/internal/media"
	"livekit-sip-sandbox/standin/internal/outbound"
	"livekit-sip-sandbox/standin/internal/room/roomtest"
	"livekit-sip-sandbox/standin/internal/sipnet"
	"livekit-sip-sandbox/standin/internal/sipnet/siptest"
	"livekit-sip-sandbox/standin/internal/stats"
)

// server is livekit-server as far as calls ask it.
type server struct {
	rpc.IOInfoClient
	mu   sync.Mutex
	auth *rpc.GetSIPTrunkAuthenticationResponse
	// rule decides; nil is a livekit-server that does not answer.
	rule func(*rpc.EvaluateSIPDispatchRulesRequest) *rpc.EvaluateSIPDispatchRulesResponse
}

func (s *server) GetSIPTrunkAuthentication(context.Context, *rpc.GetSIPTrunkAuthenticationRequest, ...psrpc.RequestOption) (*rpc.GetSIPTrunkAuthenticationResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.auth, nil
}

func (s *server) EvaluateSIPDispatchRules(_ context.Context, r *rpc.EvaluateSIPDispatchRulesRequest, _ ...psrpc.RequestOption) (*rpc.EvaluateSIPDispatchRulesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.rule(r); found != nil {
		return found, nil
	}
	return nil, psrpc.ErrNoResponse
}

// says is how livekit-server decides from now on.
func (s *server) says(rule func(*rpc.EvaluateSIPDispatchRulesRequest) *rpc.EvaluateSIPDispatchRulesResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rule = rule
}

func (s *server) Close() {}

// bus is the service's side of psrpc.
type bus struct {
	rpc.SIPInternalServer
	mu     sync.Mutex
	topics []string
}

func (b *bus) RegisterTransferSIPParticipantTopic(t string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.topics = append(b.topics, "+"+t)
	return nil
}

func (b *bus) DeregisterTransferSIPParticipantTopic(t string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.topics = append(b.topics, "-"+t)
}

func (b *bus) DeregisterCreateSIPParticipantTopic(string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.topics = append(b.topics, "-create")
}

func (b *bus) Kill() {}

type bench struct {
	s      *Service
	server *server
	bus    *bus
	rooms  chan *roomtest.Room
	phone  *siptest.Phone
}

func accept(*rpc.EvaluateSIPDispatchRulesRequest) *rpc.EvaluateSIPDispatchRulesResponse {
	return &rpc.EvaluateSIPDispatchRulesResponse{
		Result: rpc.SIPDispatchResult_ACCEPT, RoomName: "r", ParticipantIdentity: "sip_+2",
		ParticipantAttributes: map[string]string{"tier": "gold"}, AttributesToHeaders: map[string]string{"tier": "X-Tier"},
	}
}

func setUp(t testing.TB) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ep, port := listen(t, log)
	b := &bench{bus: &bus{}, rooms: make(chan *roomtest.Room, 8),
		server: &server{auth: &rpc.GetSIPTrunkAuthenticationResponse{SipTrunkId: "ST_1"}, rule: accept}}
	cfg := &config.Config{MediaTimeout: time.Minute, MediaTimeoutInitial: time.Minute, SIPRingingInterval: time.Second}
	b.s = &Service{cfg: cfg, log: log, metrics: stats.New("NE_test"), rpc: b.bus}
	b.s.env = &call.Env{
		Cfg: cfg, SIP: ep, IO: b.server, Log: log, Metrics: b.s.metrics, OfferTransfer: b.s.offerTransfer,
		Media:    media.Config{ListenIP: "127.0.0.1", AdvertiseIP: "127.0.0.1"},
		JoinRoom: roomtest.Joiner(b.rooms, func(r *roomtest.Room) call.Room { return r }),
	}
	b.s.in, b.s.out = inbound.NewServer(b.s.env), outbound.NewClient(b.s.env)
	b.s.state.Store(running)
	ep.Serve(b.s.handle)
	b.phone = siptest.NewPhone(t, addr(port))
	t.Cleanup(b.s.Stop)
	return b
}

func (b *bench) wait(t *testing.T) *roomtest.Room {
	t.Helper()
	select {
	case r := <-b.rooms:
		return r
	case <-time.After(3 * time.Second):
		t.Fatal("nobody joined a room")
		return nil
	}
}

func TestWhatBelongsToNoCall(t *testing.T) {
	b := setUp(t)
	for n, c := range []struct {
		method, totag string
		status        int
		reason        string
	}{
		{"OPTIONS", "", 200, "OK"},
		{"REGISTER", "", 405, "Method Not Allowed"},
		{"REFER", "SCL_x", 405, "Method Not Allowed"},
		{"BYE", "", 400, ""},
		{"BYE", "SCL_x", 481, "Call does not exist"},
		{"NOTIFY", "SCL_x", 481, "Call does not exist"},
		{"INVITE", "SCL_x", 481, "Call does not exist"},
	} {
		b.phone.Ask(c.method, "none", c.totag, n+1, "")
		if res := b.phone.Response(c.status); res.Reason != c.reason {
			t.Errorf("%s: %q", c.method, res.Reason)
		}
		if c.method == "INVITE" {
			b.phone.Ask("ACK", "none", c.totag, n+1, "")
		}
	}
}

func TestACallIn(t *testing.T) {
	b := setUp(t)
	b.phone.Ask("INVITE", "in", "", 1, siptest.SDP)
	b.phone.Response(100)
	tag := sipnet.Tag(b.phone.Response(180).To())
	r := b.wait(t)
	r.Speak()
	ok := b.phone.Response(200)
	if h := ok.GetHeader("X-Tier"); h == nil || h.Value() != "gold" || !strings.Contains(string(ok.Body()), "m=audio") {
		t.Error(ok.String())
	}
	b.phone.Ask("ACK", "in", tag, 1, "")
	b.phone.Ask("INVITE", "in", tag, 2, siptest.SDP)
	again := b.phone.Response(200)
	b.phone.Ask("ACK", "in", tag, 2, "")
	if string(again.Body()) != string(ok.Body()) {
		t.Error("a re-INVITE is answered with another description")
	}
	if got, err := r.Call("lk.sip.GetRemoteHeaders", `{"include":["contact"]}`); err != nil || !strings.Contains(got, "sip:+2@") {
		t.Error(got, err)
	}
	for n, c := range []struct {
		event, body string
		status      int
		reason      string
	}{
		{"X-None: 1", "SIP/2.0 200 OK", 400, "no event in NOTIFY request"},
		{"Event: presence", "SIP/2.0 200 OK", 501, "unknown event"},
		{"Event: refer", "", 400, "invalid notify body: not enough tokens"},
		{"Event: refer", "HTTP/1.1 200 OK", 400, "invalid notify body: wrong prefix or SIP version"},
		{"Event: Refer;id=1", "SIP/2.0 100 Trying", 200, "success"},
	} {
		b.phone.Ask("NOTIFY", "in", tag, 10+n, c.body, c.event)
		if res := b.phone.Response(c.status); res.Reason != c.reason {
			t.Errorf("%s %q: %s", c.event, c.body, res.Reason)
		}
	}
	for n := range 2 {
		b.phone.Ask("BYE", "in", tag, 20+n, "")
		b.phone.Response(200)
	}
	<-r.Closed()
	if got := r.Statuses(); got[0] != "ringing" || got[len(got)-1] != "hangup" {
		t.Error(got)
	}
	<-b.s.env.Drained()
	for b.s.env.FindGone(tag) != nil {
		time.Sleep(10 * time.Millisecond)
	}
	b.phone.Ask("BYE", "in", tag, 30, "")
	b.phone.Response(481)
	b.bus.mu.Lock()
	defer b.bus.mu.Unlock()
	if want := []string{"+" + tag, "-" + tag}; !slices.Equal(b.bus.topics, want) {
		t.Errorf("%v, want %v", b.bus.topics, want)
	}
}

func TestTransfer(t *testing.T) {
	b := setUp(t)
	b.phone.Ask("INVITE", "xfer", "", 1, siptest.SDP)
	tag := sipnet.Tag(b.phone.Response(180).To())
	transfer := func() error {
		_, err := b.s.TransferSIPParticipant(context.Background(), &rpc.InternalTransferSIPParticipantRequest{SipCallId: tag, TransferTo: "sip:c@d"})
		return err
	}
	r := b.wait(t)
	if err := transfer(); err == nil || err.Error() != "can't transfer non established call" {
		t.Error(err)
	}
	r.Speak()
	b.phone.Response(200)
	b.phone.Ask("ACK", "xfer", tag, 1, "")
	for !slices.Contains(r.Statuses(), "active") {
		time.Sleep(10 * time.Millisecond)
	}
	for n, c := range []struct{ notify, want string }{
		{"SIP/2.0 603 Decline", "call transfer failed: sip status: 603: Decline"},
		{"SIP/2.0 200 OK", ""},
	} {
		done := make(chan error, 1)
		go func() { done <- transfer() }()
		refer := b.phone.Request("REFER")
		if to := refer.GetHeader("Refer-To"); to == nil || to.Value() != "<sip:c@d>" {
			t.Error(refer.String())
		}
		b.phone.Reply(refer, 202, "Accepted", "")
		b.phone.Ask("NOTIFY", "xfer", tag, 5+n, c.notify, "Event: refer")
		b.phone.Response(200)
		if err := <-done; (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	b.phone.Reply(b.phone.Request("BYE"), 200, "OK", "") // a second later
	if _, err := b.s.TransferSIPParticipant(context.Background(), &rpc.InternalTransferSIPParticipantRequest{SipCallId: "SCL_x"}); err == nil {
		t.Error("an unknown call was transferred")
	}
}

func TestRingingEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(r *roomtest.Room, b *bench)
		status int
		header string
	}{
		"room deleted": {func(r *roomtest.Room, _ *bench) { r.Close(livekit.DisconnectReason_ROOM_DELETED) }, 486, ""},
		"EndCall": {func(r *roomtest.Room, _ *bench) {
			if _, err := r.Call("lk.sip.EndCall", `{"headers":{"X-Why":"closed"}}`); err != nil {
				t.Error(err)
			}
		}, 486, "closed"},
		"CANCEL": {func(_ *roomtest.Room, b *bench) {
			b.phone.Send("CANCEL sip:+1@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP " + b.phone.Addr() + ";branch=z9hG4bKringINVITE1;rport\r\n" +
				"From: <sip:+2@127.0.0.1>;tag=x\r\nTo: <sip:+1@127.0.0.1>\r\nCall-ID: ring\r\nCSeq: 1 CANCEL\r\n\r\n")
			b.phone.Response(200)
		}, 487, ""},
	} {
		b := setUp(t)
		b.phone.Ask("INVITE", "ring", "", 1, siptest.SDP)
		b.phone.Response(180)
		c.end(b.wait(t), b)
		res := b.phone.Response(c.status)
		if h := res.GetHeader("X-Why"); c.header != "" && (h == nil || h.Value() != c.header) {
			t.Errorf("%s: %s", name, res.String())
		}
	}
}

func TestRefusals(t *testing.T) {
	none := func(r rpc.SIPDispatchResult) func(*rpc.EvaluateSIPDispatchRulesRequest) *rpc.EvaluateSIPDispatchRulesResponse {
		return func(*rpc.EvaluateSIPDispatchRulesRequest) *rpc.EvaluateSIPDispatchRulesResponse {
			return &rpc.EvaluateSIPDispatchRulesResponse{Result: r}
		}
	}
	b := setUp(t)
	b.server.says(none(rpc.SIPDispatchResult_REJECT))
	b.phone.Ask("INVITE", "a", "", 1, siptest.SDP)
	b.phone.Response(404)
	b.server.says(none(rpc.SIPDispatchResult_DROP))
	b.phone.Ask("INVITE", "a", "", 2, siptest.SDP) // the refusal is repeated
	b.phone.Response(404)
	b.phone.Ask("ACK", "a", "", 2, "")

	b = setUp(t)
	b.server.says(none(rpc.SIPDispatchResult_DROP))
	b.phone.Ask("INVITE", "b", "", 1, siptest.SDP)
	b.phone.Response(180)
	if m := b.phone.Next(300 * time.Millisecond); m != nil {
		t.Errorf("a dropped call got %s", m.String())
	}

	b = setUp(t)
	b.phone.Ask("INVITE", "c", "", 1, "v=0\r\n")
	if res := b.phone.Response(400); res.Reason != "" {
		t.Error(res.Reason)
	}

	b = setUp(t)
	b.server.mu.Lock()
	b.server.auth = &rpc.GetSIPTrunkAuthenticationResponse{Username: "u", Password: "p"}
	b.server.mu.Unlock()
	b.phone.Ask("INVITE", "d", "", 1, siptest.SDP)
	b.phone.Response(407)
	b.phone.Ask("INVITE", "d", "", 2, siptest.SDP, "Proxy-Authorization: garbage")
	if res := b.phone.Response(401); res.Reason != "Bad credentials" {
		t.Error(res.Reason)
	}
}

// press sends a key as telephone-events to the port of an answer.
func press(t *testing.T, answer *sip.Response, key byte, stamp uint32) {
	t.Helper()
	port := regexp.MustCompile(`m=audio (\d+)`).FindSubmatch(answer.Body())
	if port == nil {
		t.Fatal(answer.String())
	}
	conn, err := net.Dial("udp4", "127.0.0.1:"+string(port[1]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	packet := []byte{0x80, 0x80 | 101, 0, byte(stamp), 0, 0, 0, 0, 0, 0, 0, 7, key, 0x8a, 0, 160}
	binary.BigEndian.PutUint32(packet[4:], stamp)
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
}

func TestPIN(t *testing.T) {
	for name, c := range map[string]struct {
		decide *rpc.EvaluateSIPDispatchRulesResponse // of the PIN
		reason string
	}{
		"wrong":                  {&rpc.EvaluateSIPDispatchRulesResponse{Result: rpc.SIPDispatchResult_DROP}, "wrong-pin"},
		"livekit-server is gone": {nil, "dispatch-error"},
	} {
		t.Run(name, func(t *testing.T) {
			b := setUp(t)
			b.server.says(func(r *rpc.EvaluateSIPDispatchRulesRequest) *rpc.EvaluateSIPDispatchRulesResponse {
				if r.Pin == "" {
					return &rpc.EvaluateSIPDispatchRulesResponse{Result: rpc.SIPDispatchResult_REQUEST_PIN}
				}
				if r.Pin != "4" {
					t.Errorf("pin %q", r.Pin)
				}
				return c.decide
			})
			b.phone.Ask("INVITE", "pin", "", 1, strings.TrimSuffix(siptest.SDP, " 0\r\n")+" 0 101\r\na=rtpmap:101 telephone-event/8000\r\n")
			ok := b.phone.Response(200)
			b.phone.Ask("ACK", "pin", sipnet.Tag(ok.To()), 1, "")
			press(t, ok, 4, 1000)
			press(t, ok, 11, 2000)
			b.phone.Reply(b.phone.Request("BYE"), 200, "OK", "")
			<-b.s.env.Drained()
			w := httptest.NewRecorder()
			b.s.metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if !strings.Contains(w.Body.String(), `reason="`+c.reason+`"`) {
				t.Errorf("no %s in %s", c.reason, w.Body)
			}
			if len(b.rooms) > 0 {
				t.Error("a room was joined")
			}
		})
	}
}

func TestDrainWaitsForCalls(t *testing.T) {
	b := setUp(t)
	b.phone.Ask("INVITE", "drain", "", 1, siptest.SDP)
	tag := sipnet.Tag(b.phone.Response(180).To())
	b.wait(t)
	drained := make(chan struct{})
	go func() {
		b.s.Drain(context.Background())
		close(drained)
	}()
	for b.s.state.Load() != stopping {
		time.Sleep(time.Millisecond)
	}
	w := httptest.NewRecorder()
	if b.s.health(w, nil); w.Code != 503 || !strings.Contains(w.Body.String(), "Stopped") {
		t.Error(w.Code, w.Body)
	}
	if _, err := b.s.CreateSIPParticipant(context.Background(), nil); err == nil || err.Error() != "cpu exhausted" {
		t.Error(err)
	}
	select {
	case <-drained:
		t.Error("drained with a call up")
	case <-time.After(50 * time.Millisecond):
	}
	b.phone.Ask("BYE", "drain", tag, 2, "")
	b.phone.Response(200)
	<-drained
}

func TestHealth(t *testing.T) {
	s := &Service{}
	for state, want := range map[int32]string{notStarted: "NotStarted", running: "OK", stopping: "Stopped"} {
		s.state.Store(state)
		w := httptest.NewRecorder()
		if s.health(w, nil); strings.TrimSpace(w.Body.String()) != want {
			t.Error(w.Body)
		}
	}
}
