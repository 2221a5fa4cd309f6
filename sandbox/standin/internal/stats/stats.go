// Package stats keeps the Prometheus metrics under the names of livekit-sip,
// so that dashboards and tests written for it read the stand-in too. Metrics
// of things the stand-in does not have are not there.
package stats

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const namespace = "livekit_sip"

// Directions of calls.
const (
	Inbound  = "inbound"
	Outbound = "outbound"
)

// Stats are the metrics of the service. A nil Stats counts nothing.
type Stats struct {
	reg *prometheus.Registry

	raw        prometheus.Counter
	requests   *prometheus.CounterVec
	accepted   *prometheus.CounterVec
	errors     *prometheus.CounterVec
	active     *prometheus.GaugeVec
	terminated *prometheus.CounterVec
	session    *prometheus.HistogramVec
	call       *prometheus.HistogramVec
	check      *prometheus.HistogramVec
	join       *prometheus.HistogramVec
	stage      *prometheus.HistogramVec
	packets    *prometheus.CounterVec
	sdpSize    *prometheus.HistogramVec
	sdpParsed  prometheus.Counter
	codecs     *prometheus.CounterVec
	stuck      *prometheus.CounterVec
	available  prometheus.Gauge
	transfers  *prometheus.CounterVec
	xferOK     *prometheus.CounterVec
	xferFailed *prometheus.CounterVec
	xferActive *prometheus.GaugeVec
}

// New makes the metrics.
func New() *Stats {
	s := &Stats{reg: prometheus.NewRegistry()}
	s.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	cpu := &cpuLoad{read: procStat}
	s.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "livekit", Subsystem: "node", Name: "cpu_load", Help: "CPU in use, 0 to 1",
		ConstLabels: prometheus.Labels{"node_type": "SIP"},
	}, cpu.value))
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
		s.reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
		s.reg.MustRegister(g)
		return g
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
		s.reg.MustRegister(h)
		return h
	}
	short := []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	long := []float64{1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}

	s.raw = prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "invite_requests_raw", Help: "INVITEs received"})
	s.available = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "available", Help: "1 if new calls are taken"})
	s.reg.MustRegister(s.raw, s.available)
	s.requests = counter("invite_requests", "calls started", "dir")
	s.accepted = counter("invite_accepted", "calls answered", "dir", "to")
	s.errors = counter("invite_error", "calls that did not come about", "dir", "to", "reason")
	s.active = gauge("calls_active", "calls at the moment", "dir", "to")
	s.terminated = counter("calls_terminated", "calls ended", "dir", "to", "result", "reason")
	s.session = histogram("dur_session_sec", "INVITE to end", long, "dir")
	s.call = histogram("dur_call_sec", "answer to end", long, "dir")
	s.check = histogram("dur_check_sec", "INVITE to dispatch", short, "dir")
	s.join = histogram("dur_join_sec", "time to join the room", short, "dir")
	s.stage = histogram("stage_dur_sec", "stages of a call", short, "stage")
	s.packets = counter("packets_rtp", "RTP packets", "dir", "to", "op", "payload")
	s.sdpSize = histogram("sdp_size_bytes", "size of session descriptions", []float64{100, 200, 400, 800, 1600}, "type")
	s.sdpParsed = prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "sdp_parsed_total", Help: "session descriptions of peers that could be read"})
	s.reg.MustRegister(s.sdpParsed)
	s.codecs = counter("codec_offered_total", "codecs in offers", "dir", "provider", "codec")
	s.stuck = counter("calls_termination_failures", "calls whose BYE was not sent or not answered", "dir")
	s.transfers = counter("transfers_total", "transfers started", "dir")
	s.xferOK = counter("transfers_succeeded_total", "transfers that succeeded", "dir")
	s.xferFailed = counter("transfers_failed_total", "transfers that failed", "dir", "reason")
	s.xferActive = gauge("transfers_active", "transfers at the moment", "dir")
	return s
}

// Handler serves the metrics.
func (s *Stats) Handler() http.Handler {
	return promhttp.HandlerFor(s.reg, promhttp.HandlerOpts{})
}

// Available tells whether new calls are taken.
func (s *Stats) Available(yes bool) {
	if s == nil {
		return
	}
	v := 0.0
	if yes {
		v = 1
	}
	s.available.Set(v)
}

// InviteRaw counts INVITEs as they come.
func (s *Stats) InviteRaw() {
	if s != nil {
		s.raw.Inc()
	}
}

// Stage notes how long a stage of a call took.
func (s *Stats) Stage(stage string, d time.Duration) {
	if s != nil {
		s.stage.WithLabelValues(stage).Observe(d.Seconds())
	}
}

// SDP notes the size of a description; what is "offer" or "answer".
func (s *Stats) SDP(what string, size int) {
	if s != nil {
		s.sdpSize.WithLabelValues(what).Observe(float64(size))
	}
}

// SDPParsed counts a description of a peer that could be read.
func (s *Stats) SDPParsed() {
	if s != nil {
		s.sdpParsed.Inc()
	}
}

// Offered counts the codecs of an offer. provider is the name that
// livekit-server has for the trunk's provider; self-hosted it has none.
func (s *Stats) Offered(dir, provider string, codecs []string) {
	if s == nil {
		return
	}
	for _, c := range codecs {
		s.codecs.WithLabelValues(dir, provider, c).Inc()
	}
}

// Call is the record of one call.
type Call struct {
	s       *Stats
	dir, to string
	started time.Time

	mu       sync.Mutex
	answered time.Time
	trunk    bool
	ended    bool
}

// Start counts a new call. to is the peer's host, the "to" label.
func (s *Stats) Start(dir, to string) *Call {
	c := &Call{s: s, dir: dir, to: to, started: time.Now()}
	if s != nil {
		s.requests.WithLabelValues(dir).Inc()
		s.active.WithLabelValues(dir, to).Inc()
	}
	return c
}

// Trunk is called when the trunk of a call in is known.
func (c *Call) Trunk() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trunk = true
}

// Checked is called when the call is dispatched.
func (c *Call) Checked() {
	if c != nil && c.s != nil {
		c.s.check.WithLabelValues(c.dir).Observe(time.Since(c.started).Seconds())
	}
}

// Joined notes the time it took to join the room.
func (c *Call) Joined(d time.Duration) {
	if c != nil && c.s != nil {
		c.s.join.WithLabelValues(c.dir).Observe(d.Seconds())
	}
}

// Answered counts the answer.
func (c *Call) Answered() {
	if c == nil || c.s == nil {
		return
	}
	c.mu.Lock()
	c.answered = time.Now()
	c.mu.Unlock()
	c.s.accepted.WithLabelValues(c.dir, c.to).Inc()
}

// Stuck counts a call whose BYE could not be sent or was not answered.
func (c *Call) Stuck() {
	if c != nil && c.s != nil {
		c.s.stuck.WithLabelValues(c.dir).Inc()
	}
}

// Stage is the record of a stage that begins now; the result ends it.
func (c *Call) Stage(stage string) func() {
	start := time.Now()
	return func() {
		if c != nil {
			c.s.Stage(stage, time.Since(start))
		}
	}
}

// Transfer counts a transfer that begins. The result is called once with the
// reason of its failure, or "" for a success.
func (c *Call) Transfer() func(failed string) {
	if c == nil || c.s == nil {
		return func(string) {}
	}
	c.s.transfers.WithLabelValues(c.dir).Inc()
	c.s.xferActive.WithLabelValues(c.dir).Inc()
	return func(failed string) {
		if failed == "" {
			c.s.xferOK.WithLabelValues(c.dir).Inc()
		} else {
			c.s.xferFailed.WithLabelValues(c.dir, failed).Inc()
		}
		c.s.xferActive.WithLabelValues(c.dir).Dec()
	}
}

// Packets adds the RTP packets of the call; op is "recv" or "send".
func (c *Call) Packets(op, payload string, n uint64) {
	if c != nil && c.s != nil && n > 0 {
		c.s.packets.WithLabelValues(c.dir, c.to, op, payload).Add(float64(n))
	}
}

// End counts the end of the call. It is safe to call it twice.
func (c *Call) End(reason string) {
	if c == nil || c.s == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	c.s.active.WithLabelValues(c.dir, c.to).Dec()
	c.s.session.WithLabelValues(c.dir).Observe(time.Since(c.started).Seconds())
	if !c.answered.IsZero() {
		c.s.call.WithLabelValues(c.dir).Observe(time.Since(c.answered).Seconds())
	} else if c.dir == Outbound || !c.trunk {
		c.s.errors.WithLabelValues(c.dir, c.to, reason).Inc()
	}
	c.s.terminated.WithLabelValues(c.dir, c.to, result(reason), reason).Inc()
}

// result groups the reasons.
func result(reason string) string {
	switch reason {
	case "hangup", "cancelled", "rpc", "call transferred", "max-call-duration", "shutdown":
		return "success"
	case "media-timeout", "no-ack":
		return "indeterminate"
	case "flood", "no-rule", "no-trunk", "unauthorized", "no-common-codec", "no-common-crypto", "sdp-error", "wrong-pin", "challenged":
		return "client_error"
	case "cannot-subscribe", "dispatch-error", "auth-error", "join-failed", "media-failed", "publish-failed":
		return "server_error"
	}
	if strings.HasPrefix(reason, "room ") { // deleted, or the participant removed
		return "success"
	}
	return "upstream_error"
}
