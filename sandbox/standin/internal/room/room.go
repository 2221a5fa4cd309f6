// Package room is the LiveKit side of a call: one participant of kind SIP with
// one audio track, hearing the audio tracks of everybody else.
package room

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	lksip "github.com/livekit/protocol/sip"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// FrameDuration is the length of one Opus frame of our track.
const FrameDuration = 20 * time.Millisecond

// Params is who joins what.
type Params struct {
	WsURL, APIKey, APISecret string
	Room                     string
	Identity, Name, Metadata string
	Attributes               map[string]string
	RoomPreset               string
	RoomConfig               *livekit.RoomConfiguration
	Token                    string // replaces everything but WsURL (Cloud)
	// Subscribe to audio from the start; else Subscribe does it later.
	Subscribe bool
	// OnTrack gets every remote audio track. It may block until the track ends.
	OnTrack func(id string, read func() (*rtp.Packet, error))
	// OnDTMF gets the digits that other participants send.
	OnDTMF func(digits string)
	Log    *slog.Logger
}

// Room is a joined room.
type Room struct {
	p     Params
	log   *slog.Logger
	room  *lksdk.Room
	track *webrtc.TrackLocalStaticSample

	mu        sync.Mutex
	attrs     map[string]string // as we know them: set by us and by the server
	subscribe bool
	left      bool
	line      *line

	peerOnce sync.Once
	peer     chan struct{}
	closed   chan struct{}
	once     sync.Once
	reason   livekit.DisconnectReason
}

// Join enters the room. It returns when the server has let the participant in.
func Join(ctx context.Context, p Params) (*Room, error) {
	for k, v := range p.Attributes {
		if v == "" {
			delete(p.Attributes, k) // an empty attribute is none
		}
	}
	token := p.Token
	if token == "" {
		var err error
		token, err = lksip.BuildSIPToken(lksip.SIPTokenParams{
			APIKey: p.APIKey, APISecret: p.APISecret, RoomName: p.Room,
			ParticipantIdentity: p.Identity, ParticipantName: p.Name, ParticipantMetadata: p.Metadata,
			ParticipantAttributes: p.Attributes, RoomPreset: p.RoomPreset, RoomConfig: p.RoomConfig,
		})
		if err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
	}
	r := &Room{p: p, log: p.Log, subscribe: p.Subscribe, attrs: map[string]string{},
		peer: make(chan struct{}), closed: make(chan struct{})}
	for k, v := range p.Attributes {
		r.attrs[k] = v
	}
	cb := lksdk.NewRoomCallback()
	cb.OnTrackPublished = func(pub *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) { r.want(pub) }
	cb.OnTrackSubscribed = func(t *webrtc.TrackRemote, pub *lksdk.RemoteTrackPublication, rp *lksdk.RemoteParticipant) {
		r.onTrack(t, rp)
	}
	cb.OnParticipantConnected = func(rp *lksdk.RemoteParticipant) { r.onParticipant(rp) }
	cb.OnAttributesChanged = func(changed map[string]string, who lksdk.Participant) {
		if who.Identity() == p.Identity {
			r.merge(changed)
		}
	}
	cb.OnDataPacket = func(d lksdk.DataPacket, _ lksdk.DataReceiveParams) {
		if dtmf, ok := d.(*livekit.SipDTMF); ok && p.OnDTMF != nil {
			p.OnDTMF(dtmf.Digit)
		}
	}
	cb.OnDisconnected = func() {
		r.close(r.room.DisconnectReason())
	}
	r.room = lksdk.NewRoom(cb)
	joined := make(chan error, 1)
	go func() {
		joined <- r.room.JoinWithContextAndToken(withLine(ctx, r), p.WsURL, token,
			// Left to the server when wanted at once: its first offer then has the
			// tracks already, and a second one would come 150 ms later.
			lksdk.WithAutoSubscribe(p.Subscribe),
			lksdk.WithDisableRegionDiscovery(),
			lksdk.WithLogger(sdkLogger(p.Log)),
		)
	}()
	select {
	case err := <-joined:
		if err != nil {
			return nil, r.joinError(err)
		}
	case <-r.closed:
		// Thrown out before we were in. The SDK would go on waiting for a
		// connection that does not come.
		go func() {
			<-joined
			r.room.Disconnect()
		}()
		return nil, r.joinError(nil)
	}
	for _, rp := range r.room.GetRemoteParticipants() {
		r.onParticipant(rp)
	}
	if p.Subscribe {
		r.Subscribe() // that is: not to video
	}
	return r, nil
}

// ClosedError is the error of a Join that the server ended.
type ClosedError struct{ Reason livekit.DisconnectReason }

func (e *ClosedError) Error() string { return "thrown out while joining: " + e.Reason.String() }

// joinError is err, unless the room was closed on us meanwhile.
func (r *Room) joinError(err error) error {
	select {
	case <-r.closed:
		return &ClosedError{r.reason}
	default:
		return err
	}
}

func (r *Room) close(reason livekit.DisconnectReason) {
	r.once.Do(func() {
		r.reason = reason
		close(r.closed)
	})
}

// SID is the participant's id, Identity its identity as the server has it.
func (r *Room) SID() string      { return r.room.LocalParticipant.SID() }
func (r *Room) Identity() string { return r.room.LocalParticipant.Identity() }

// Closed is closed when the room is gone or has thrown us out; CloseReason
// says why.
func (r *Room) Closed() <-chan struct{} { return r.closed }

// CloseReason is valid once Closed is closed.
func (r *Room) CloseReason() livekit.DisconnectReason { return r.reason }

// Peer is closed once there is somebody to talk to: a remote audio track is
// subscribed to or another SIP participant is in the room.
func (r *Room) Peer() <-chan struct{} { return r.peer }

func (r *Room) gotPeer(why, who string) {
	r.peerOnce.Do(func() {
		r.log.Info("somebody is there", "why", why, "participant", who)
		close(r.peer)
	})
}

func (r *Room) onParticipant(rp *lksdk.RemoteParticipant) {
	if rp.Kind() == lksdk.ParticipantKind(livekit.ParticipantInfo_SIP) {
		r.gotPeer("sip participant", rp.Identity())
	}
}

// want subscribes to an audio track.
func (r *Room) want(pub *lksdk.RemoteTrackPublication) {
	r.mu.Lock()
	yes := r.subscribe
	r.mu.Unlock()
	audio := pub.Kind() == lksdk.TrackKindAudio
	if yes && audio {
		// Recorded: a call is answered when the track is asked for, about
		// 150 ms before the server has it subscribed.
		r.gotPeer("audio track", pub.Name())
	}
	if r.p.Subscribe == audio || audio && !yes || !r.p.Subscribe && !audio {
		return // is as it should be
	}
	if err := pub.SetSubscribed(audio); err != nil {
		r.log.Warn("could not change the subscription", "track", pub.SID(), "err", err)
	}
}

// Subscribe asks for all audio tracks, those that come later too.
func (r *Room) Subscribe() {
	r.mu.Lock()
	r.subscribe = true
	r.mu.Unlock()
	for _, rp := range r.room.GetRemoteParticipants() {
		for _, pub := range rp.TrackPublications() {
			if remote, ok := pub.(*lksdk.RemoteTrackPublication); ok {
				r.want(remote)
			}
		}
	}
}

func (r *Room) onTrack(t *webrtc.TrackRemote, rp *lksdk.RemoteParticipant) {
	if t.Kind() != webrtc.RTPCodecTypeAudio {
		return
	}
	if r.p.OnTrack == nil {
		return
	}
	r.log.Debug("track subscribed", "participant", rp.Identity(), "codec", t.Codec().MimeType)
	go r.p.OnTrack(t.ID(), func() (*rtp.Packet, error) {
		p, _, err := t.ReadRTP()
		return p, err
	})
}

// Publish announces our audio track, named like the participant.
func (r *Room) Publish() error {
	track, err := webrtc.NewTrackLocalStaticSample(
		webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "audio", "sip")
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.track = track
	r.mu.Unlock()
	_, err = r.room.LocalParticipant.PublishTrack(track, &lksdk.TrackPublicationOptions{
		Name: r.p.Identity, Source: livekit.TrackSource_MICROPHONE,
	})
	r.mu.Lock()
	left := r.left
	r.mu.Unlock()
	if err != nil || left {
		r.stopSenders()
	}
	return err
}

// stopSenders ends what WebRTC's own end may have missed: a sender that came
// just as the connection was closed, and that the SDK reads from for ever.
func (r *Room) stopSenders() {
	pc := r.room.LocalParticipant.GetPublisherPeerConnection()
	if pc == nil {
		return
	}
	for _, s := range pc.GetSenders() {
		if err := s.Stop(); err != nil {
			r.log.Debug("sender not stopped", "err", err)
		}
	}
}

// WriteOpus sends one frame of FrameDuration. Before Publish it does nothing.
func (r *Room) WriteOpus(frame []byte) error {
	r.mu.Lock()
	t := r.track
	r.mu.Unlock()
	if t == nil {
		return nil
	}
	return t.WriteSample(media.Sample{Data: frame, Duration: FrameDuration})
}

// SetAttributes changes attributes of our participant.
func (r *Room) SetAttributes(attrs map[string]string) {
	if len(attrs) == 0 {
		return
	}
	r.merge(attrs)
	r.room.LocalParticipant.SetAttributes(attrs)
}

func (r *Room) merge(attrs map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, v := range attrs {
		if v == "" {
			delete(r.attrs, k)
		} else {
			r.attrs[k] = v
		}
	}
}

// Attributes are the current attributes of our participant, with those that
// others have set through the API; after the room is gone the last known.
func (r *Room) Attributes() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]string, len(r.attrs))
	for k, v := range r.attrs {
		out[k] = v
	}
	return out
}

// SendDTMF tells the room about a key.
func (r *Room) SendDTMF(code byte, digit string) error {
	return r.room.LocalParticipant.PublishDataPacket(
		&livekit.SipDTMF{Code: uint32(code), Digit: digit}, lksdk.WithDataPublishReliable(true))
}

// HandleRPC registers a room RPC. The request is decoded into in (a fresh
// value of T per call) and the result encoded, both JSON.
func HandleRPC[T any](r Registrar, method string, f func(caller string, in T) (any, error)) error {
	return r.RegisterRPC(method, func(caller, payload string) (string, error) {
		var in T
		if payload != "" {
			if err := json.Unmarshal([]byte(payload), &in); err != nil {
				return "", err
			}
		}
		out, err := f(caller, in)
		if err != nil {
			return "", err
		}
		b, err := json.Marshal(out)
		return string(b), err
	})
}

// Registrar takes room RPC methods; a Room is one.
type Registrar interface {
	RegisterRPC(method string, f func(caller, payload string) (string, error)) error
}

// RegisterRPC offers a method to the other participants.
func (r *Room) RegisterRPC(method string, f func(caller, payload string) (string, error)) error {
	return r.room.RegisterRpcMethod(method, func(data lksdk.RpcInvocationData) (string, error) {
		return f(data.CallerIdentity, data.Payload)
	})
}

// Leave ends the participation with a reason that the room sees.
func (r *Room) Leave(reason livekit.DisconnectReason) {
	r.mu.Lock()
	if r.left {
		r.mu.Unlock()
		return
	}
	r.left = true
	l := r.line
	r.mu.Unlock()
	if l != nil {
		l.leave()
	}
	r.room.DisconnectWithReason(reason)
	r.close(reason)
}
