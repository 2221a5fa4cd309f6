package service

import (
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/livekit/protocol/rpc"

	"livekit-sip-sandbox/standin/internal/sipnet"
	"livekit-sip-sandbox/standin/internal/sipnet/siptest"
)

func addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// listen finds a port that UDP and TCP can have.
func listen(t testing.TB, log *slog.Logger) (*sipnet.Endpoint, int) {
	t.Helper()
	var err error
	for range 20 {
		var l net.Listener
		if l, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			break
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		var ep *sipnet.Endpoint
		ep, err = sipnet.Listen(sipnet.Config{ListenIP: "127.0.0.1", ListenPort: port, SignalIP: "127.0.0.1", SignalPort: port, UDPMaxPayload: 4000, Log: log})
		if err == nil {
			return ep, port
		}
	}
	t.Fatal(err)
	return nil, 0
}

// FuzzService sends datagrams to a whole service, whose livekit-server has all
// kinds of answers. After each it must still answer an OPTIONS.
func FuzzService(f *testing.F) {
	for _, m := range append(siptest.Recorded(), siptest.Torture...) {
		f.Add([]byte(m))
	}
	b := setUp(f)
	n := 0
	b.server.says(func(r *rpc.EvaluateSIPDispatchRulesRequest) *rpc.EvaluateSIPDispatchRulesResponse {
		n++
		res := accept(r)
		res.Result = []rpc.SIPDispatchResult{rpc.SIPDispatchResult_ACCEPT, rpc.SIPDispatchResult_REJECT,
			rpc.SIPDispatchResult_DROP, rpc.SIPDispatchResult_REQUEST_PIN}[n%4]
		return res
	})
	go func() {
		for r := range b.rooms {
			r.Speak()
			time.AfterFunc(20*time.Millisecond, func() { r.Close(0) })
		}
	}()
	asked := 0
	f.Fuzz(func(t *testing.T, msg []byte) {
		b.phone.For(t)
		if len(msg) > 60000 {
			return
		}
		b.phone.Send(string(msg))
		asked++
		id := fmt.Sprintf("alive%d", asked)
		b.phone.Ask("OPTIONS", id, "", 1, "")
		for deadline := time.Now().Add(2 * time.Second); ; {
			m := b.phone.Next(time.Until(deadline))
			if m == nil {
				t.Fatalf("no answer to OPTIONS any more after %q", msg)
			}
			if res, ok := m.(*sip.Response); ok && res.CallID() != nil && string(*res.CallID()) == id {
				return
			}
		}
	})
}
