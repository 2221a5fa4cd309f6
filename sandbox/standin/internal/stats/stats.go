// Package stats keeps the Prometheus metrics under the names of livekit-sip,
// so that dashboards and tests written for it read the stand-in too. Metrics
// of things the stand-in does not have are not there.
package stats

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const namespace = "livekit_sip"

// Directions of calls.
const (
	Inbound  = "in"
	Outbound = "out"
)

// Labels that say little.
const (
	// unknown is the peer and the provider of a call in whose trunk is not known.
	unknown = "unknown"
	// external is the provider of every trunk that LiveKit Cloud did not sell.
	external = "external"
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
	sdpParsed  *prometheus.CounterVec
	codecs     *prometheus.CounterVec
	stuck      *prometheus.CounterVec
	available  prometheus.Gauge
	transfers  *prometheus.CounterVec
	xferOK     *prometheus.CounterVec
	xferFailed *prometheus.CounterVec
	xferActive *prometheus.GaugeVec
}

// New makes the metrics. Each carries node, the id of this service.
func New(node string) *Stats {
	s := &Stats{reg: prometheus.NewRegistry()}
	s.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reg := prometheus.WrapRegistererWith(prometheus.Labels{"node_id": node}, s.reg)
	cpu := &cpuLoad{read: procStat}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "livekit", Subsystem: "node", Name: "cpu_load", Help: "CPU in use, 0 to 1",
		ConstLabels: prometheus.Labels{"node_type": "SIP"},
	}, cpu.value))
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
		reg.MustRegister(g)
		return g
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
		reg.MustRegister(h)
		return h
	}
	short := []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	long := []float64{1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}

	s.raw = counter("invite_requests_raw", "INVITEs received").WithLabelValues()
	s.available = gauge("available", "1 if new calls are taken").WithLabelValues()
	s.requests = counter("invite_requests", "calls started", "dir")
	s.accepted = counter("invite_accepted", "calls in whose trunk let them in, calls out that were answered", "dir", "to")
	s.errors = counter("invite_error", "calls in that the trunk did not let in, calls out that were not answered", "dir", "to", "reason")
	s.active = gauge("calls_active", "calls at the moment", "dir", "to")
	s.terminated = counter("calls_terminated", "calls ended", "dir", "to", "result", "reason")
	s.session = histogram("dur_session_sec", "INVITE to end", long, "dir")
	s.call = histogram("dur_call_sec", "joining the room to end", long, "dir")
	s.check = histogram("dur_check_sec", "INVITE to dispatch", short, "dir")
	s.join = histogram("dur_join_sec", "INVITE to joining the room (in) or answer (out)", short, "dir")
	s.stage = histogram("stage_dur_sec", "stages of a call", short, "dir", "stage")
	s.packets = counter("packets_rtp", "RTP packets", "dir", "to", "op", "payload")
	s.sdpSize = histogram("sdp_size_bytes", "size of session descriptions", []float64{100, 200, 400, 800, 1600}, "type")
	s.sdpParsed = counter("sdp_parsed_total", "offers of callers that could be read", "dir", "provider")
	s.codecs = counter("codec_offered_total", "codecs that callers offer; other is what this service does not speak", "dir", "provider", "codec")
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

// SDP notes the size of a description; what is "offer" or "answer".
func (s *Stats) SDP(what string, size int) {
	if s != nil {
		s.sdpSize.WithLabelValues(what).Observe(float64(size))
	}
}

// Call is the record of one call.
type Call struct {
	s       *Stats
	dir     string
	started time.Time

	mu       sync.Mutex
	to       string // the peer's host
	provider string
	counted  bool // in calls_active
	accepted time.Time
	joining  time.Time
	ended    bool
}

// StartIn counts an INVITE that came in. Its peer is unknown until Accepted.
func (s *Stats) StartIn() *Call { return s.start(Inbound, unknown) }

// StartOut counts a call to a host, with or without a port.
func (s *Stats) StartOut(host string) *Call {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	c := s.start(Outbound, host)
	c.activate()
	return c
}

func (s *Stats) start(dir, to string) *Call {
	if s != nil {
		s.requests.WithLabelValues(dir).Inc()
	}
	return &Call{s: s, dir: dir, to: to, provider: unknown, started: time.Now()}
}

func (c *Call) activate() {
	if c.s != nil {
		c.counted = true
		c.s.active.WithLabelValues(c.dir, c.to).Inc()
	}
}

// LetIn is called when the trunk of a call in is known and lets it in: from
// now on its peer is known. Without a trunk the provider stays unknown.
func (c *Call) LetIn(host string, trunk bool) {
	if c == nil || c.s == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = host
	if trunk {
		c.provider = external
	}
	c.accept()
	c.activate()
}

// Answered is called when a call out is answered.
func (c *Call) Answered() {
	if c == nil || c.s == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accept()
	c.join()
}

func (c *Call) accept() {
	c.accepted = time.Now()
	c.s.accepted.WithLabelValues(c.dir, c.to).Inc()
}

// Failed counts an INVITE that came to nothing: the status of the peer as
// StatusLabel has it, or "other".
func (c *Call) Failed(reason string) {
	if c != nil && c.s != nil {
		c.s.errors.WithLabelValues(c.dir, c.to, reason).Inc()
	}
}

// Checked is called when the rules are evaluated, whatever comes of it.
func (c *Call) Checked() {
	if c == nil || c.s == nil {
		return
	}
	d := time.Since(c.started)
	c.s.check.WithLabelValues(c.dir).Observe(d.Seconds())
	c.observe("auth-check", d)
}

// Joining is called when a call in sets out to join its room.
func (c *Call) Joining() {
	if c == nil || c.s == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joining = time.Now()
	c.join()
}

func (c *Call) join() {
	d := time.Since(c.started)
	c.s.join.WithLabelValues(c.dir).Observe(d.Seconds())
	c.observe("invite-to-dispatch", d)
}

// Offered counts the caller's offer and the codecs in it.
func (c *Call) Offered(codecs []string) {
	if c == nil || c.s == nil {
		return
	}
	c.s.sdpParsed.WithLabelValues(c.dir, c.provider).Inc()
	for _, name := range codecs {
		c.s.codecs.WithLabelValues(c.dir, c.provider, name).Inc()
	}
}

// Stuck counts a call whose BYE could not be sent or was not answered.
func (c *Call) Stuck() {
	if c != nil && c.s != nil {
		c.s.stuck.WithLabelValues(c.dir).Inc()
	}
}

// Stage is the record of a stage of a call in that begins now; the result ends
// it. The stages of calls out are not counted.
func (c *Call) Stage(stage string) func() {
	start := time.Now()
	return func() {
		if c != nil && c.s != nil && c.dir == Inbound {
			c.observe(stage, time.Since(start))
		}
	}
}

func (c *Call) observe(stage string, d time.Duration) {
	c.s.stage.WithLabelValues(c.dir, stage).Observe(d.Seconds())
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
	if c.counted {
		c.s.active.WithLabelValues(c.dir, c.to).Dec()
	}
	if c.dir == Inbound {
		c.endIn(reason)
	}
	c.s.terminated.WithLabelValues(c.dir, c.to, result(reason), reason).Inc()
}

// endIn adds what calls in alone have: durations, of the call itself only if it
// got as far as a room, and the error of a call that its trunk did not let in.
func (c *Call) endIn(reason string) {
	d := time.Since(c.started)
	c.s.session.WithLabelValues(c.dir).Observe(d.Seconds())
	c.observe("session", d)
	c.s.stage.WithLabelValues(c.dir, "close") // livekit-sip has this stage and never measures it
	if c.accepted.IsZero() {
		c.s.errors.WithLabelValues(c.dir, c.to, reason).Inc()
	}
	if c.joining.IsZero() {
		return
	}
	d = time.Since(c.joining)
	c.s.call.WithLabelValues(c.dir).Observe(d.Seconds())
	c.observe("call", d)
}
