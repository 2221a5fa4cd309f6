// Package call is what inbound and outbound calls have in common: the leg that
// joins a SIP dialog, its media and a room participant, how it ends, and its
// transfer.
package call

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"

	"livekit-sip-sandbox/standin/internal/config"
	"livekit-sip-sandbox/standin/internal/media"
	"livekit-sip-sandbox/standin/internal/room"
	"livekit-sip-sandbox/standin/internal/sipnet"
	"livekit-sip-sandbox/standin/internal/stats"
)

// Room is a call's participant in a room. *room.Room is one; tests have their
// own.
type Room interface {
	room.Registrar
	SID() string
	Identity() string
	Closed() <-chan struct{}
	CloseReason() livekit.DisconnectReason
	Peer() <-chan struct{}
	Publish() error
	Subscribe()
	WriteOpus(frame []byte) error
	SetAttributes(map[string]string)
	Attributes() map[string]string
	SendDTMF(code byte, digit string) error
	Leave(livekit.DisconnectReason)
}

// goneFor is how long a call that has ended is still known to a second BYE.
const goneFor = 250 * time.Millisecond

// Env is what calls need of the service.
type Env struct {
	Cfg     *config.Config
	SIP     *sipnet.Endpoint
	IO      rpc.IOInfoClient
	Media   media.Config
	Log     *slog.Logger
	Metrics *stats.Stats
	// OfferTransfer makes the call reachable for TransferSIPParticipant until
	// the returned function is called.
	OfferTransfer func(callID string) (withdraw func())
	// JoinRoom enters a room; nil is room.Join.
	JoinRoom func(context.Context, room.Params) (Room, error)

	mu   sync.Mutex
	legs map[string]*Leg // by our tag, which is the call id
	gone map[string]*Leg // ended a moment ago
	idle chan struct{}   // closed when the last call ends, see Drained
}

// Find gives the call with our tag.
func (e *Env) Find(tag string) *Leg {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.legs[tag]
}

// FindGone gives the call with our tag, also if it has ended just now.
func (e *Env) FindGone(tag string) *Leg {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.legs[tag]; l != nil {
		return l
	}
	return e.gone[tag]
}

// Legs are all calls at the moment.
func (e *Env) Legs() []*Leg {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*Leg, 0, len(e.legs))
	for _, l := range e.legs {
		out = append(out, l)
	}
	return out
}

// Drained gives a channel that closes once there is no call.
func (e *Env) Drained() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := make(chan struct{})
	if len(e.legs) == 0 {
		close(c)
		return c
	}
	if e.idle == nil {
		e.idle = c
	}
	return e.idle
}

func (e *Env) add(l *Leg) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.legs == nil {
		e.legs = map[string]*Leg{}
	}
	e.legs[l.ID] = l
}

func (e *Env) remove(l *Leg) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.legs[l.ID] == l {
		delete(e.legs, l.ID)
		e.linger(l)
	}
	if len(e.legs) == 0 && e.idle != nil {
		close(e.idle)
		e.idle = nil
	}
}

// linger keeps a call that was up for a second BYE; e.mu is held.
func (e *Env) linger(l *Leg) {
	if l.Dialog == nil {
		return
	}
	if e.gone == nil {
		e.gone = map[string]*Leg{}
	}
	e.gone[l.ID] = l
	time.AfterFunc(goneFor, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.gone[l.ID] == l {
			delete(e.gone, l.ID)
		}
	})
}

// MediaOptions turns the media configuration of trunk, rule or request into
// options for the session.
func MediaOptions(m *livekit.SIPMediaConfig, old livekit.SIPMediaEncryption) media.Options {
	enc := old
	if m != nil && m.Encryption != nil {
		enc = *m.Encryption
	}
	var o media.Options
	switch enc {
	case livekit.SIPMediaEncryption_SIP_MEDIA_ENCRYPT_ALLOW:
		o.Encryption = media.EncryptionAllow
	case livekit.SIPMediaEncryption_SIP_MEDIA_ENCRYPT_REQUIRE:
		o.Encryption = media.EncryptionRequire
	}
	if m != nil && m.OnlyListedCodecs {
		o.OnlyCodecs = []media.CodecSpec{}
		for _, c := range m.Codecs {
			o.OnlyCodecs = append(o.OnlyCodecs, media.CodecSpec{Name: c.Name, Rate: int(c.Rate)})
		}
	}
	return o
}
