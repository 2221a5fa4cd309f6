package call

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/livekit/protocol/livekit"
	"github.com/pion/rtp"

	"livekit-sip-sandbox/standin/internal/attrs"
	"livekit-sip-sandbox/standin/internal/media"
	"livekit-sip-sandbox/standin/internal/room"
	"livekit-sip-sandbox/standin/internal/sipnet"
	"livekit-sip-sandbox/standin/internal/stats"
)

// End is why a call is over.
type End struct {
	Why string // for the log and the metrics
	// Hangup says whether sip.callStatus becomes "hangup" first.
	Hangup bool
	// Remote says that the peer ended it, so it gets no BYE.
	Remote bool
	// Reason is what the room sees as disconnect reason.
	Reason livekit.DisconnectReason
	// Headers go on the BYE in front of the mapped attributes.
	Headers []sipnet.Header
}

// earlyPoll is how often a call is looked at whose only packets came before
// its answer.
const earlyPoll = 200 * time.Millisecond

// Ends that need no more detail.
var (
	EndRemoteBye   = End{Why: "hangup", Hangup: true, Remote: true, Reason: livekit.DisconnectReason_CLIENT_INITIATED}
	EndMaxDuration = End{Why: "hangup", Hangup: true, Reason: livekit.DisconnectReason_CLIENT_INITIATED}
	EndShutdown    = End{Why: "hangup", Hangup: true, Reason: livekit.DisconnectReason_CLIENT_INITIATED}
	EndTransferred = End{Why: "call transferred", Hangup: true, Reason: livekit.DisconnectReason_CLIENT_INITIATED}
)

// Leg is one call.
type Leg struct {
	Env     *Env
	ID      string // SCL_..., also our dialog tag
	Inbound bool
	Log     *slog.Logger

	// The limits of this call; with a PIN they change while it is watched.
	mediaTimeout, maxDuration atomic.Int64
	// AttrsToHeaders is applied to BYE and REFER.
	AttrsToHeaders map[string]string
	// Call is the metrics' record of the call.
	Call *stats.Call

	// Dialog is set before the leg is established; requests go one at a time.
	dialogMu sync.Mutex
	Dialog   *sipnet.Dialog

	Media *media.Session

	mu            sync.Mutex
	room          Room
	remoteHeaders []sip.Header
	established   bool
	acked         bool
	ended         bool
	end           End
	endC          chan struct{}
	joined        chan struct{} // closed by Join
	up            chan struct{} // closed by Establish
	xfer          *transfer
	early         func() // what a BYE before the answer does
	withdraw      func()
	onKey         func(digit string)
	keysOnce      sync.Once

	dtmfOut chan string
	ctx     context.Context
	cancel  context.CancelFunc
}

// New registers a call.
func New(env *Env, id string, inbound bool, log *slog.Logger) *Leg {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Leg{
		Env: env, ID: id, Inbound: inbound, Log: log,
		endC: make(chan struct{}), joined: make(chan struct{}), up: make(chan struct{}), dtmfOut: make(chan string, 64), ctx: ctx, cancel: cancel,
	}
	l.SetMediaTimeout(env.Cfg.MediaTimeout)
	env.add(l)
	return l
}

// MediaTimeout is how long the phone may be silent.
func (l *Leg) MediaTimeout() time.Duration { return time.Duration(l.mediaTimeout.Load()) }

// SetMediaTimeout changes it.
func (l *Leg) SetMediaTimeout(d time.Duration) { l.mediaTimeout.Store(int64(d)) }

// MaxDuration is how long the call may last, ringing included; 0 is for ever.
func (l *Leg) MaxDuration() time.Duration { return time.Duration(l.maxDuration.Load()) }

// SetMaxDuration changes it.
func (l *Leg) SetMaxDuration(d time.Duration) { l.maxDuration.Store(int64(d)) }

// Context ends with the call.
func (l *Leg) Context() context.Context { return l.ctx }

// Room is the room once it is joined.
func (l *Leg) Room() Room {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room
}

// OpenMedia binds the RTP port.
func (l *Leg) OpenMedia(o media.Options) error {
	cfg := l.Env.Media
	cfg.Log = l.Log
	m, err := media.Open(cfg, o)
	if err != nil {
		return err
	}
	l.Media = m
	return nil
}

// Join enters the room and makes the call reachable for transfer and RPC.
func (l *Leg) Join(ctx context.Context, p room.Params) error {
	start := time.Now()
	if l.Inbound {
		l.Call.Joining()
	}
	defer l.Call.Stage("join-room")()
	p.WsURL, p.APIKey, p.APISecret = l.Env.Cfg.WsURL, l.Env.Cfg.APIKey, l.Env.Cfg.APISecret
	p.Log = l.Log
	p.OnTrack = l.fromRoom
	p.OnDTMF = func(digits string) {
		select {
		case l.dtmfOut <- digits:
		default:
			l.Log.Warn("dtmf to the phone dropped: too many waiting", "digits", digits)
		}
	}
	if l.Env.OfferTransfer != nil {
		// Before the room: whoever sees the participant may transfer it.
		registered := l.Call.Stage("lk-reg-transfer")
		withdraw := l.Env.OfferTransfer(l.ID)
		registered()
		l.mu.Lock()
		l.withdraw = withdraw
		l.mu.Unlock()
	}
	join := l.Env.JoinRoom
	if join == nil {
		join = func(ctx context.Context, p room.Params) (Room, error) { return room.Join(ctx, p) }
	}
	connected := l.Call.Stage("lk-connect")
	r, err := join(ctx, p)
	if err != nil {
		return err
	}
	connected()
	l.Log.Info("joined the room", "room", p.Room, "identity", p.Identity, "participant", r.SID(), "took", time.Since(start))
	// Said again although the token has it: the server tells the others about
	// a participant without tracks only every 3 s, but of a change of
	// attributes at once. So they meet the call in its first status.
	r.SetAttributes(map[string]string{attrs.CallStatus: p.Attributes[attrs.CallStatus]})
	l.mu.Lock()
	l.room = r
	close(l.joined)
	l.mu.Unlock()
	l.registerRPC(r)
	l.listenKeys()
	go l.sendDTMF()
	return nil
}

// OnKey takes the keys of the phone until the room is joined.
func (l *Leg) OnKey(f func(digit string)) {
	l.mu.Lock()
	l.onKey = f
	l.mu.Unlock()
	l.listenKeys()
}

// listenKeys starts the one handler of the session's keys.
func (l *Leg) listenKeys() {
	l.keysOnce.Do(func() {
		l.Media.OnDTMF(func(code byte, digit string) {
			l.mu.Lock()
			r, f := l.room, l.onKey
			l.mu.Unlock()
			l.Log.Info("dtmf from the phone", "digit", digit)
			switch {
			case r != nil:
				if err := r.SendDTMF(code, digit); err != nil {
					l.Log.Warn("dtmf not sent to the room", "digit", digit, "err", err)
				}
			case f != nil:
				f(digit)
			}
		})
	})
}

func (l *Leg) sendDTMF() {
	for {
		select {
		case d := <-l.dtmfOut:
			l.Log.Info("dtmf to the phone", "digits", d)
			if err := l.Media.SendDTMF(l.ctx, d); err != nil {
				return
			}
		case <-l.ctx.Done():
			return
		}
	}
}

// fromRoom feeds one track of the room to the phone.
func (l *Leg) fromRoom(id string, read func() (*rtp.Packet, error)) {
	src := l.Media.Mixer().AddOpusSource(id)
	defer src.Close()
	for {
		p, err := read()
		if err != nil || l.ctx.Err() != nil {
			return
		}
		src.WriteRTP(p)
	}
}

// ToRoom sends frames made by fill to the room until ctx or the call ends.
// fill sets the pace.
func (l *Leg) ToRoom(ctx context.Context, fill func(frame []int16) error) {
	enc, err := media.NewOpusEncoder()
	if err != nil {
		l.Log.Error("no opus encoder", "err", err)
		return
	}
	frame := make([]int16, 960)
	for ctx.Err() == nil && l.ctx.Err() == nil {
		if fill(frame) != nil {
			return
		}
		b, err := enc.Encode(frame)
		if err != nil {
			l.Log.Warn("opus", "err", err)
			continue
		}
		if l.Room().WriteOpus(b) != nil {
			return
		}
	}
}

// Establish is called when the dialog is confirmed: RTP starts both ways and
// transfers are possible.
func (l *Leg) Establish() {
	l.mu.Lock()
	l.established = true
	l.mu.Unlock()
	close(l.up)
	l.Media.Start()
}

// PhoneToRoom starts the phone's audio into the room.
func (l *Leg) PhoneToRoom() {
	go l.ToRoom(l.ctx, func(frame []int16) error {
		_, err := l.Media.ReadPCM(frame)
		return err
	})
}

// Acked notes that the peer acknowledged our 200.
func (l *Leg) Acked() {
	l.mu.Lock()
	l.acked = true
	l.mu.Unlock()
}

// SetStatus changes sip.callStatus.
func (l *Leg) SetStatus(status string) {
	if r := l.Room(); r != nil {
		r.SetAttributes(map[string]string{attrs.CallStatus: status})
	}
	l.Log.Info("call status", "status", status)
}

// SetRemoteHeaders keeps the headers of the peer's INVITE or 200 for the RPC.
func (l *Leg) SetRemoteHeaders(h []sip.Header) {
	l.mu.Lock()
	l.remoteHeaders = h
	l.mu.Unlock()
}

// Stop asks the call to end; the first reason counts.
func (l *Leg) Stop(e End) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended, l.end = true, e
	close(l.endC)
}

// Ending is closed by Stop; Ended gives its reason.
func (l *Leg) Ending() <-chan struct{} { return l.endC }

// Ended is the reason given to Stop.
func (l *Leg) Ended() End {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// RoomEnd is the End for a room that closed on us.
func (l *Leg) RoomEnd() End {
	reason := l.Room().CloseReason()
	why := "removed"
	if reason == livekit.DisconnectReason_DUPLICATE_IDENTITY {
		why = "duplicate-identity"
	}
	return End{Why: why, Reason: reason}
}

// Run watches an established call until it ends. answered is when the 200 went
// out or came in; firstRTP is the time by which RTP must have started.
func (l *Leg) Run(started, answered time.Time, firstRTP func() time.Time) {
	l.watch(started, answered, firstRTP, l.Room().Closed(), nil)
}

// RunWithoutRoom does the same before the room is joined, until it is.
func (l *Leg) RunWithoutRoom(started, answered time.Time, firstRTP func() time.Time) {
	l.mu.Lock()
	joined := l.joined
	l.mu.Unlock()
	l.watch(started, answered, firstRTP, nil, joined)
}

func (l *Leg) watch(started, answered time.Time, firstRTP func() time.Time, closed, until <-chan struct{}) {
	var maxC <-chan time.Time
	if d := l.MaxDuration(); d > 0 {
		t := time.NewTimer(time.Until(started.Add(d)))
		defer t.Stop()
		maxC = t.C
	}
	for {
		// The next moment at which silence would be a timeout.
		last := l.Media.LastPacketTime()
		deadline := last.Add(l.MediaTimeout())
		if last.IsZero() || last.Before(answered) {
			deadline = firstRTP()
		}
		wait := max(time.Until(deadline), 0)
		var first <-chan struct{}
		if last.IsZero() {
			first = l.Media.FirstPacket()
		} else if last.Before(answered) {
			wait = min(wait, earlyPoll)
		}
		t := time.NewTimer(wait)
		select {
		case <-first: // from now on the last packet counts
		case <-l.endC:
		case <-until:
			t.Stop()
			return
		case <-closed:
			l.Stop(l.RoomEnd())
		case <-maxC:
			l.Stop(EndMaxDuration)
		case <-t.C:
			now := l.Media.LastPacketTime()
			if now.After(last) || time.Now().Before(deadline) || firstRTP().After(time.Now()) && (now.IsZero() || now.Before(answered)) {
				continue // there was a packet meanwhile, or the limit moved
			}
			seen := !now.IsZero() && !now.Before(answered)
			l.Log.Info("media timeout", "last", now, "everReceived", seen)
			l.Stop(End{Why: "media-timeout", Hangup: l.Inbound && (seen || l.MediaTimeoutHangup()), Reason: livekit.DisconnectReason_CLIENT_INITIATED})
		}
		t.Stop()
		select {
		case <-l.endC:
			return
		default:
		}
	}
}

// MediaTimeoutHangup tells whether a timeout without any RTP sets the status:
// it does when the call was acknowledged.
func (l *Leg) MediaTimeoutHangup() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

// Close takes the call down: BYE unless the peer ended it, then the room. It
// is the last thing that happens to a leg.
func (l *Leg) Close(e End, bye bool) {
	l.Stop(e)
	e = l.Ended()
	l.mu.Lock()
	x, withdraw := l.xfer, l.withdraw
	l.withdraw = nil
	l.mu.Unlock()
	if withdraw != nil {
		withdraw()
	}
	if x != nil {
		x.callEnded()
	}
	if bye && !e.Remote && l.Dialog != nil {
		l.bye(e.Headers)
	}
	l.cancel()
	if r := l.Room(); r != nil {
		select {
		case <-r.Closed():
		default:
			if e.Hangup {
				r.SetAttributes(map[string]string{attrs.CallStatus: attrs.Hangup})
			}
		}
		r.Leave(e.Reason)
	}
	if l.Media != nil {
		st := l.Media.Stats()
		l.Call.Packets("recv", st.Codec, st.PacketsIn-st.EventsIn)
		l.Call.Packets("send", st.Codec, st.PacketsOut-st.EventsOut)
		l.Call.Packets("recv", media.EventName, st.EventsIn)
		l.Call.Packets("send", media.EventName, st.EventsOut)
		l.Media.Close()
	}
	l.Call.End(e.Why)
	l.Env.remove(l)
	l.Log.Info("call ended", "why", e.Why, "reason", e.Reason.String(), "byRemote", e.Remote)
}

// bye sends the BYE and does not wait for its answer.
func (l *Leg) bye(extra []sipnet.Header) {
	var a map[string]string
	if r := l.Room(); r != nil {
		a = r.Attributes()
	}
	headers := append(extra, attrs.ToHeaders(a, l.AttrsToHeaders)...)
	tx, err := l.request(sip.BYE, headers)
	if err != nil {
		l.Log.Warn("bye not sent", "err", err)
		l.Call.Stuck()
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 33*time.Second)
		defer cancel()
		_, err := tx.Final(ctx)
		if errors.Is(err, sipnet.ErrConnLost) {
			// The peer closed it just before: the BYE goes by a new connection.
			if tx, err = l.request(sip.BYE, headers); err == nil {
				_, err = tx.Final(ctx)
			}
		}
		if err != nil {
			l.Log.Info("bye was not answered", "err", err)
			l.Call.Stuck()
		}
	}()
}

// request sends an in-dialog request.
func (l *Leg) request(method sip.RequestMethod, extra []sipnet.Header) (*sipnet.ClientTx, error) {
	l.dialogMu.Lock()
	defer l.dialogMu.Unlock()
	flow, err := l.Dialog.Flow(l.Env.SIP)
	if err != nil {
		return nil, err
	}
	return l.Env.SIP.Request(l.Dialog.Request(l.Env.SIP, method, extra), flow)
}
