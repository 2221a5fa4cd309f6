package call

import (
	"github.com/livekit/protocol/livekit"

	"livekit-sip-sandbox/standin/internal/attrs"
	"livekit-sip-sandbox/standin/internal/room"
)

// registerRPC offers the participant's room RPCs.
func (l *Leg) registerRPC(r Room) {
	noted := func(err error) {
		if err != nil {
			l.Log.Warn("rpc method not registered", "err", err)
		}
	}
	type getHeaders struct {
		Include []string `json:"include"`
		Exclude []string `json:"exclude"`
	}
	noted(room.HandleRPC(r, "lk.sip.GetRemoteHeaders", func(caller string, in getHeaders) (any, error) {
		l.mu.Lock()
		h := l.remoteHeaders
		l.mu.Unlock()
		return map[string]any{"headers": attrs.Remote(h, in.Include, in.Exclude)}, nil
	}))
	type endCall struct {
		Headers map[string]string `json:"headers"`
	}
	noted(room.HandleRPC(r, "lk.sip.EndCall", func(caller string, in endCall) (any, error) {
		l.Log.Info("end call by rpc", "caller", caller)
		if !l.Inbound {
			select { // a call out that rings goes on ringing
			case <-l.up:
			case <-l.ctx.Done():
			}
		}
		l.Stop(End{Why: "rpc", Hangup: true, Reason: livekit.DisconnectReason_CLIENT_INITIATED, Headers: attrs.Headers(in.Headers)})
		return map[string]any{}, nil
	}))
}
