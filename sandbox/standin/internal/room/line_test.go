package room

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// busy is a server that writes all the time and comes to read only later; like
// livekit-server it closes the connection when it cannot write.
func busy(t *testing.T, later time.Duration, heard chan<- string, closes bool) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{}
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		failed := make(chan struct{})
		go func() {
			defer close(failed)
			for conn.WriteMessage(websocket.BinaryMessage, []byte("update")) == nil {
				time.Sleep(time.Millisecond)
			}
			conn.Close()
		}()
		select {
		case <-failed:
		case <-time.After(later):
		}
		_, b, err := conn.ReadMessage()
		if err != nil {
			b = []byte("nothing: " + err.Error())
		}
		heard <- string(b)
		if !closes {
			<-r.Context().Done()
			<-failed
		}
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

func dialed(t *testing.T, url string) (*Room, *websocket.Conn) {
	t.Helper()
	r := &Room{}
	conn, _, err := websocket.DefaultDialer.DialContext(withLine(context.Background(), r), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.line == nil {
		t.Fatal("the line is not known")
	}
	return r, conn
}

func TestALeaveIsHeardByAServerThatIsWriting(t *testing.T) {
	heard := make(chan string, 1)
	r, conn := dialed(t, busy(t, 100*time.Millisecond, heard, true))
	r.line.leave()
	if err := conn.WriteMessage(websocket.BinaryMessage, []byte("leave")); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if got := <-heard; got != "leave" {
		t.Errorf("heard %q", got)
	}
	if d := time.Since(start); d > heardWithin {
		t.Errorf("closed only after %v", d)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	Settle(ctx)
	if ctx.Err() != nil {
		t.Error("the leave is still counted")
	}
}

// The end of the connection would have the SDK resume it.
func TestTheEndIsNotSeenBeforeTheClose(t *testing.T) {
	heard := make(chan string, 1)
	r, conn := dialed(t, busy(t, 0, heard, true))
	r.line.leave()
	if err := conn.WriteMessage(websocket.BinaryMessage, []byte("leave")); err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				read <- err
				return
			}
		}
	}()
	if got := <-heard; got != "leave" {
		t.Errorf("heard %q", got)
	}
	select {
	case err := <-read:
		t.Errorf("seen: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	conn.Close()
	<-read
}

func TestALeaveIsNotWaitedForForEver(t *testing.T) {
	defer func(d time.Duration) { heardWithin = d }(heardWithin)
	heardWithin = 50 * time.Millisecond
	heard := make(chan string, 1)
	r, conn := dialed(t, busy(t, 0, heard, false))
	r.line.leave()
	if err := conn.WriteMessage(websocket.BinaryMessage, []byte("leave")); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	conn.Close()
	if d := time.Since(start); d < heardWithin || d > time.Second {
		t.Errorf("closed after %v", d)
	}
}

func TestWithoutALeaveALineClosesAtOnce(t *testing.T) {
	_, conn := dialed(t, busy(t, 0, make(chan string, 1), false))
	start := time.Now()
	conn.Close()
	if d := time.Since(start); d > heardWithin/2 {
		t.Errorf("closed after %v", d)
	}
}
