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
	a.Transfer()("")
	a.Transfer()("status-603")
	b.Stuck()
	a.Stage("close")()
	s.SDPParsed()
	s.Offered(Inbound, "", []string{"PCMU"})
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text, _ := io.ReadAll(w.Body)
	for _, want := range []string{
		`livekit_sip_available 1`,
		`livekit_sip_transfers_total{dir="inbound"} 2`,
		`livekit_sip_transfers_succeeded_total{dir="inbound"} 1`,
		`livekit_sip_transfers_failed_total{dir="inbound",reason="status-603"} 1`,
		`livekit_sip_transfers_active{dir="inbound"} 0`,
		`livekit_sip_calls_terminated{dir="outbound",reason="busy",result="upstream_error",to="h"} 1`,
		`livekit_sip_sdp_parsed_total 1`,
		`livekit_sip_codec_offered_total{codec="PCMU",dir="inbound",provider=""} 1`,
		`livekit_sip_calls_termination_failures{dir="outbound"} 1`,
		`livekit_sip_stage_dur_sec_count{stage="close"} 1`,
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
	for _, want := range []string{`livekit_node_cpu_load{node_type="SIP"} `, "go_goroutines ", "process_open_fds "} {
		if !strings.Contains(string(text), want) {
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
	c.Transfer()("x")
	c.End("x")
	c.Stuck()
	c.Stage("x")()
	(*Call)(nil).End("x")
	(*Call)(nil).Stage("x")()
	s.SDPParsed()
	s.Offered(Inbound, "", []string{"x"})
}

func TestCPULoad(t *testing.T) {
	reads := [][2]uint64{{100, 300}, {130, 310}, {130, 310}, {1, 1}}
	c := cpuLoad{read: func() (uint64, uint64, bool) {
		r := reads[0]
		reads = reads[1:]
		return r[0], r[1], true
	}}
	for _, want := range []float64{0.25, 0.75, 0.75, 0.75} {
		if got := c.value(); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if _, _, ok := procStat(); !ok {
		t.Skip("no /proc/stat here")
	}
}
