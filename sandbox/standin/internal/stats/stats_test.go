package stats

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestACall(t *testing.T) {
	s := New()
	s.Available(true)
	s.InviteRaw()
	a, b := s.Start(Inbound, "1.2.3.4"), s.Start(Outbound, "h")
	a.Answered()
	a.End("hangup")
	a.End("again")
	b.End("busy")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text, _ := io.ReadAll(w.Body)
	for _, want := range []string{
		`livekit_sip_available 1`,
		`livekit_sip_invite_requests_raw 1`,
		`livekit_sip_calls_terminated{dir="inbound",reason="hangup",result="success",to="1.2.3.4"} 1`,
		`livekit_sip_calls_active{dir="inbound",to="1.2.3.4"} 0`,
		`livekit_sip_invite_error{dir="outbound",reason="busy",to="h"} 1`,
		`livekit_sip_invite_accepted{dir="inbound",to="1.2.3.4"} 1`,
	} {
		if !strings.Contains(string(text), want+"\n") {
			t.Errorf("missing %s", want)
		}
	}
	if strings.Contains(string(text), "again") {
		t.Error("a second end counts")
	}
}

func TestNil(t *testing.T) {
	var s *Stats
	s.InviteRaw()
	s.Available(true)
	s.Stage("x", 1)
	c := s.Start(Inbound, "x")
	c.Answered()
	c.Transfer(nil)
	c.End("x")
	(*Call)(nil).End("x")
}
