package room

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

// signal is a LiveKit server that can do no more than let somebody in and say
// what it is told to, in place of any media.
func signal(t *testing.T, after time.Duration, say ...*livekit.SignalResponse) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/validate") {
			w.WriteHeader(http.StatusOK)
			return
		}
		up := websocket.Upgrader{}
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		send := func(m *livekit.SignalResponse) {
			b, err := proto.Marshal(m)
			if err == nil {
				conn.WriteMessage(websocket.BinaryMessage, b)
			}
		}
		send(&livekit.SignalResponse{Message: &livekit.SignalResponse_Join{Join: &livekit.JoinResponse{
			Room:              &livekit.Room{Name: "r", Sid: "RM_1"},
			Participant:       &livekit.ParticipantInfo{Sid: "PA_1", Identity: "me"},
			SubscriberPrimary: true, PingInterval: 60, PingTimeout: 60,
		}}})
		time.Sleep(after)
		for _, m := range say {
			send(m)
		}
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

func params(url string) Params {
	return Params{WsURL: url, APIKey: "k", APISecret: strings.Repeat("s", 32), Room: "r", Identity: "me",
		Attributes: map[string]string{"a": "1", "empty": ""}, Log: slog.New(slog.DiscardHandler)}
}

func TestThrownOutWhileJoining(t *testing.T) {
	url := signal(t, 20*time.Millisecond, &livekit.SignalResponse{Message: &livekit.SignalResponse_Leave{Leave: &livekit.LeaveRequest{
		Reason: livekit.DisconnectReason_ROOM_DELETED, Action: livekit.LeaveRequest_DISCONNECT,
	}}})
	start := time.Now()
	_, err := Join(context.Background(), params(url))
	var out *ClosedError
	if !errors.As(err, &out) || out.Reason != livekit.DisconnectReason_ROOM_DELETED {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("only known after %v", d)
	}
}

func TestARefusalIsNoRoom(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	if _, err := Join(context.Background(), params("ws"+strings.TrimPrefix(srv.URL, "http"))); err == nil {
		t.Error("joined nothing")
	}
}

func TestACancelledJoin(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := Join(ctx, params(signal(t, 0))); err == nil {
		t.Error("joined without media")
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestAttributes(t *testing.T) {
	r := &Room{attrs: map[string]string{"a": "1"}}
	r.merge(map[string]string{"b": "2", "a": ""})
	got := r.Attributes()
	if len(got) != 1 || got["b"] != "2" {
		t.Error(got)
	}
	got["b"] = "changed"
	if r.Attributes()["b"] != "2" {
		t.Error("the map is given away")
	}
}

func TestTheFirstReasonCounts(t *testing.T) {
	r := &Room{closed: make(chan struct{})}
	r.close(livekit.DisconnectReason_ROOM_DELETED)
	r.close(livekit.DisconnectReason_CLIENT_INITIATED)
	<-r.Closed()
	if r.CloseReason() != livekit.DisconnectReason_ROOM_DELETED {
		t.Error(r.CloseReason())
	}
}

func TestWritingBeforeThePublicationIsNothing(t *testing.T) {
	if err := (&Room{}).WriteOpus([]byte{1}); err != nil {
		t.Error(err)
	}
}

// methods keeps what is registered.
type methods map[string]func(caller, payload string) (string, error)

func (m methods) RegisterRPC(method string, f func(caller, payload string) (string, error)) error {
	m[method] = f
	return nil
}

func TestRPC(t *testing.T) {
	m := methods{}
	type in struct{ Name string }
	if err := HandleRPC(m, "hello", func(caller string, v in) (any, error) {
		if v.Name == "bad" {
			return nil, errors.New("no")
		}
		return map[string]string{"said": fmt.Sprintf("%s to %q", caller, v.Name)}, nil
	}); err != nil {
		t.Fatal(err)
	}
	for payload, want := range map[string]string{
		`{"name":"x"}`: `{"said":"me to \"x\""}`, "": `{"said":"me to \"\""}`, "{": "", `{"name":"bad"}`: "",
	} {
		got, err := m["hello"]("me", payload)
		if got != want || (want == "") != (err != nil) {
			t.Errorf("%s: %s %v", payload, got, err)
		}
	}
}

func TestQuiet(t *testing.T) {
	var b strings.Builder
	l := slog.New(quiet(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelInfo}))).With("k", "v")
	l.Info("inner workings")
	l.WithGroup("g").Warn("trouble")
	if s := b.String(); strings.Contains(s, "inner") || !strings.Contains(s, "trouble") {
		t.Error(s)
	}
}
