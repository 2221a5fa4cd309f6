// Package roomtest has a room without a server, for tests of calls.
package roomtest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"

	"livekit-sip-sandbox/standin/internal/room"
)

// Room is a participant that writes down what is done with it.
type Room struct {
	Params room.Params

	mu       sync.Mutex
	attrs    map[string]string
	statuses []string
	frames   int
	methods  map[string]func(caller, payload string) (string, error)
	left     livekit.DisconnectReason
	peer     chan struct{}
	closed   chan struct{}
	once     sync.Once
	peerOnce sync.Once
}

// New makes the room that p would join.
func New(p room.Params) *Room {
	r := &Room{Params: p, attrs: map[string]string{}, methods: map[string]func(string, string) (string, error){},
		peer: make(chan struct{}), closed: make(chan struct{})}
	r.SetAttributes(p.Attributes)
	return r
}

// Joiner gives every call a Room of its own through rooms.
func Joiner[R any](rooms chan<- *Room, as func(*Room) R) func(context.Context, room.Params) (R, error) {
	return func(_ context.Context, p room.Params) (R, error) {
		r := New(p)
		rooms <- r
		return as(r), nil
	}
}

// The participant.
func (r *Room) SID() string             { return "PA_test" }
func (r *Room) Identity() string        { return r.Params.Identity }
func (r *Room) Closed() <-chan struct{} { return r.closed }
func (r *Room) Peer() <-chan struct{}   { return r.peer }
func (r *Room) Publish() error          { return nil }
func (r *Room) Subscribe()              {}

// CloseReason is why the room is closed.
func (r *Room) CloseReason() livekit.DisconnectReason {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left
}

// WriteOpus counts a frame.
func (r *Room) WriteOpus([]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames++
	return nil
}

// SendDTMF does nothing.
func (r *Room) SendDTMF(byte, string) error { return nil }

// SetAttributes notes the attributes and each sip.callStatus once.
func (r *Room) SetAttributes(a map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, v := range a {
		r.attrs[k] = v
		if k == "sip.callStatus" && (len(r.statuses) == 0 || r.statuses[len(r.statuses)-1] != v) {
			r.statuses = append(r.statuses, v)
		}
	}
}

// Attributes are the present ones.
func (r *Room) Attributes() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]string{}
	for k, v := range r.attrs {
		out[k] = v
	}
	return out
}

// Statuses is the way that sip.callStatus went.
func (r *Room) Statuses() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.statuses...)
}

// RegisterRPC keeps the method for Call.
func (r *Room) RegisterRPC(method string, f func(caller, payload string) (string, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.methods[method] = f
	return nil
}

// Call is another participant's RPC; it waits for the method a little.
func (r *Room) Call(method, payload string) (string, error) {
	for range 300 {
		r.mu.Lock()
		f := r.methods[method]
		r.mu.Unlock()
		if f != nil {
			return f("peer", payload)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "", errors.New("no method " + method)
}

// Leave is the call's own end.
func (r *Room) Leave(reason livekit.DisconnectReason) { r.Close(reason) }

// Close is the server's end: the room is deleted, or the participant removed.
func (r *Room) Close(reason livekit.DisconnectReason) {
	r.once.Do(func() {
		r.mu.Lock()
		r.left = reason
		r.mu.Unlock()
		close(r.closed)
	})
}

// Speak lets somebody be there.
func (r *Room) Speak() { r.peerOnce.Do(func() { close(r.peer) }) }
