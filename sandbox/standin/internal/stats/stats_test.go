package stats

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

func scrape(s *Stats) string {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text, _ := io.ReadAll(w.Body)
	return strings.NewReplacer(`node_id="NE_x",`, "", `,node_id="NE_x"`, "", `{node_id="NE_x"}`, "").Replace(string(text))
}

func TestCalls(t *testing.T) {
	s := New("NE_x")
	s.Available(true)
	s.InviteRaw()
	a, b, c := s.StartIn(), s.StartOut("h:5060"), s.StartIn()
	a.LetIn("1.2.3.4", true)
	a.Offered([]string{"PCMU/8000", "other"})
	a.Checked()
	a.Joining()
	a.End("hangup")
	e := s.StartIn()
	e.LetIn("1.2.3.4", true)
	e.End("wrong-pin")
	a.End("again")
	b.Failed(StatusLabel(486))
	b.End(Refused(486))
	c.End("unauthorized")
	d := s.StartOut("h")
	d.Answered()
	d.End("bye-q.850-17")
	a.Transfer()("")
	a.Transfer()(StatusWord(603))
	b.Stuck()
	a.Stage("sip-accept")()
	b.Stage("sip-accept")()
	text := scrape(s)
	for _, want := range []string{
		`livekit_sip_available 1`,
		`livekit_sip_invite_requests_raw 1`,
		`livekit_sip_invite_requests{dir="in"} 3`,
		`livekit_sip_invite_accepted{dir="in",to="1.2.3.4"} 2`,
		`livekit_sip_invite_accepted{dir="out",to="h"} 1`,
		`livekit_sip_invite_error{dir="in",reason="unauthorized",to="unknown"} 1`,
		`livekit_sip_invite_error{dir="out",reason="486-BusyHere",to="h"} 1`,
		`livekit_sip_calls_active{dir="in",to="1.2.3.4"} 0`,
		`livekit_sip_calls_active{dir="out",to="h"} 0`,
		`livekit_sip_calls_terminated{dir="in",reason="hangup",result="success",to="1.2.3.4"} 1`,
		`livekit_sip_calls_terminated{dir="in",reason="unauthorized",result="client_error",to="unknown"} 1`,
		`livekit_sip_calls_terminated{dir="out",reason="busy",result="client_error",to="h"} 1`,
		`livekit_sip_calls_terminated{dir="out",reason="bye-q.850-17",result="success",to="h"} 1`,
		`livekit_sip_calls_termination_failures{dir="out"} 1`,
		`livekit_sip_sdp_parsed_total{dir="in",provider="external"} 1`,
		`livekit_sip_codec_offered_total{codec="PCMU/8000",dir="in",provider="external"} 1`,
		`livekit_sip_codec_offered_total{codec="other",dir="in",provider="external"} 1`,
		`livekit_sip_dur_check_sec_count{dir="in"} 1`,
		`livekit_sip_dur_call_sec_count{dir="in"} 1`,
		`livekit_sip_transfers_total{dir="in"} 2`,
		`livekit_sip_transfers_succeeded_total{dir="in"} 1`,
		`livekit_sip_transfers_failed_total{dir="in",reason="global_decline"} 1`,
		`livekit_sip_transfers_active{dir="in"} 0`,
		`livekit_sip_stage_dur_sec_count{dir="in",stage="sip-accept"} 1`,
		`livekit_sip_stage_dur_sec_count{dir="in",stage="session"} 3`,
		`livekit_sip_stage_dur_sec_count{dir="in",stage="close"} 0`,
		`livekit_sip_stage_dur_sec_count{dir="in",stage="call"} 1`,
		`livekit_sip_dur_join_sec_count{dir="out"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("missing %s", want)
		}
	}
	for _, want := range []string{`livekit_node_cpu_load{node_type="SIP"} `, "go_goroutines ", "process_open_fds "} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %s", want)
		}
	}
	for _, not := range []string{"again", `stage_dur_sec_count{dir="out",stage="sip-accept"}`, `to="unknown"} 0`} {
		if strings.Contains(text, not) {
			t.Errorf("%s should not be there", not)
		}
	}
}

func TestReasons(t *testing.T) {
	for status, want := range map[int][4]string{
		202: {"invite-failed", "server_error", "202-Accepted", "accepted"},
		302: {"invite-failed", "server_error", "302-MovedTemporarily", "moved_temporarily"},
		400: {"client-error-400", "client_error", "400-BadRequest", "bad_request"},
		407: {"auth-failed", "client_error", "status-407", "proxy_auth_required"},
		404: {"not-found", "client_error", "404-NotFound", "notfound"},
		480: {"unavailable", "client_error", "480-TemporarilyUnavailable", "temporarily_unavailable"},
		486: {"busy", "client_error", "486-BusyHere", "busy_here"},
		503: {"upstream-server-error-503", "upstream_error", "503-ServiceUnavailable", "service_unavailable"},
		603: {"global-decline-603", "client_error", "603-GlobalDecline", "global_decline"},
		414: {"client-error-414", "client_error", "414-RequestURITooLong", "request_uri_too_long"},
		607: {"global-decline-607", "client_error", "status-607", "global_unwanted"},
		699: {"global-decline-699", "client_error", "status-699", "699"},
	} {
		reason := Refused(status)
		if got := [4]string{reason, result(reason), StatusLabel(status), StatusWord(status)}; got != want {
			t.Errorf("%d: %v, want %v", status, got, want)
		}
	}
}

func TestNil(t *testing.T) {
	var s *Stats
	s.InviteRaw()
	s.Available(true)
	s.SDP("offer", 1)
	for _, c := range []*Call{nil, s.StartIn(), s.StartOut("x")} {
		c.LetIn("x", true)
		c.Checked()
		c.Joining()
		c.Offered([]string{"x"})
		c.Answered()
		c.Failed("x")
		c.Stage("x")()
		c.Transfer()("x")
		c.Packets("recv", "x", 1)
		c.Stuck()
		c.End("x")
	}
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
