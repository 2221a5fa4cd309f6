package room

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// heardWithin is how long the server may take to act on a leave.
var heardWithin = 2 * time.Second

// leaves counts the lines whose leave is on its way.
var leaves sync.WaitGroup

// line is the connection under the signalling of a room.
//
// The SDK closes it right behind the leave. A server that is just then writing
// to it (a participant becomes active, others are told) fails to, closes its
// side, and may never come to read the leave: the participant stays in the room
// until somebody deletes that. So after a leave it is the server that closes.
//
// And the SDK must not see that before it has begun to close: it would take it
// for a lost connection, and resume.
type line struct {
	net.Conn

	mu      sync.Mutex
	leaving bool
	once    sync.Once
	closing chan struct{}
}

// Read hands nothing on any more once a leave was said, its end only to who closes.
func (l *line) Read(b []byte) (int, error) {
	for {
		n, err := l.Conn.Read(b)
		if !l.isLeaving() {
			return n, err
		}
		if err != nil {
			select {
			case <-l.closing:
			case <-time.After(heardWithin):
			}
			return 0, err
		}
	}
}

// Close waits for the server to close first where a leave was said.
func (l *line) Close() error {
	var err error = net.ErrClosed
	l.once.Do(func() {
		l.mu.Lock()
		close(l.closing)
		leaving := l.leaving
		l.mu.Unlock()
		if leaving {
			defer leaves.Done()
			if l.SetReadDeadline(time.Now().Add(heardWithin)) == nil {
				_, _ = io.Copy(io.Discard, l.Conn)
			}
		}
		err = l.Conn.Close()
	})
	return err
}

func (l *line) isLeaving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leaving
}

// leave is called before the leave is said.
func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closing:
	default:
		if !l.leaving {
			l.leaving = true
			leaves.Add(1)
		}
	}
}

// Settle waits until the server has heard of every leave, or ctx.
func Settle(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		leaves.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

type lineKey struct{}

// withLine has the room r know the connections that are made with the context.
func withLine(ctx context.Context, r *Room) context.Context {
	return context.WithValue(ctx, lineKey{}, r)
}

// The SDK dials with this dialer and has no way to be given another.
func init() {
	d := *websocket.DefaultDialer
	d.NetDialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		r, ours := ctx.Value(lineKey{}).(*Room)
		if err != nil || !ours {
			return conn, err
		}
		l := &line{Conn: conn, closing: make(chan struct{})}
		r.mu.Lock()
		r.line = l
		r.mu.Unlock()
		return l, nil
	}
	websocket.DefaultDialer = &d
}
