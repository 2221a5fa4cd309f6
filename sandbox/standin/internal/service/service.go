// Package service wires the stand-in together: message bus, SIP port, health
// endpoint, and the order in which it all starts and stops.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/livekit/protocol/redis"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/protocol/utils"
	"github.com/livekit/psrpc"

	"livekit-sip-sandbox/standin/internal/call"
	"livekit-sip-sandbox/standin/internal/config"
	"livekit-sip-sandbox/standin/internal/inbound"
	"livekit-sip-sandbox/standin/internal/media"
	"livekit-sip-sandbox/standin/internal/outbound"
	"livekit-sip-sandbox/standin/internal/room"
	"livekit-sip-sandbox/standin/internal/sipnet"
	"livekit-sip-sandbox/standin/internal/stats"
)

// drainLog is how often a draining service says what it waits for.
const drainLog = 5 * time.Second

// Service is the running stand-in.
type Service struct {
	cfg  *config.Config
	log  *slog.Logger
	env  *call.Env
	in   *inbound.Server
	out  *outbound.Client
	bus  psrpc.MessageBus
	rpc  rpc.SIPInternalServer
	http []*http.Server

	metrics *stats.Stats

	state atomic.Int32 // see states
}

// States of the service; health tells them.
const (
	notStarted int32 = iota
	running
	stopping
)

// Start brings everything up. The returned service answers calls.
func Start(cfg *config.Config, log *slog.Logger) (*Service, error) {
	s := &Service{cfg: cfg, log: log, metrics: stats.New(utils.NewGuid("NE_"))}
	room.SetLogger(log)
	signal, err := cfg.SignalIP()
	if err != nil {
		return nil, err
	}
	mediaIP, err := cfg.MediaIP()
	if err != nil {
		return nil, err
	}
	// Health first: whoever watches sees "not started" and not a refused port.
	if err := s.serveHTTP(); err != nil {
		return nil, err
	}
	rc, err := redis.GetRedisClient(cfg.Redis)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	s.bus = psrpc.NewRedisMessageBus(rc)
	io, err := rpc.NewIOInfoClient(s.bus)
	if err != nil {
		return nil, fmt.Errorf("psrpc: %w", err)
	}
	ep, err := sipnet.Listen(sipnet.Config{
		ListenIP: cfg.ListenIP, ListenPort: cfg.SIPPortListen, SignalIP: signal, SignalPort: cfg.SIPPort,
		UDPMaxPayload: cfg.UDPMaxPayload, Log: log,
	})
	if err != nil {
		return nil, err
	}
	s.env = &call.Env{
		Cfg: cfg, SIP: ep, IO: io, Log: log, Metrics: s.metrics,
		Media: media.Config{
			ListenIP: cfg.ListenIP, AdvertiseIP: mediaIP, PortStart: cfg.RTPPort.Start, PortEnd: cfg.RTPPort.End,
			Codecs: cfg.Codecs, SymmetricRTP: cfg.SymmetricRTP, IgnoreLocalAddr: cfg.IgnoreLocalAddrInSDP, AudioDTMF: cfg.AudioDTMF,
		},
		OfferTransfer: s.offerTransfer,
	}
	s.in, s.out = inbound.NewServer(s.env), outbound.NewClient(s.env)
	if s.rpc, err = rpc.NewSIPInternalServer(s, s.bus); err != nil {
		return nil, fmt.Errorf("psrpc: %w", err)
	}
	if err := s.rpc.RegisterCreateSIPParticipantTopic(cfg.ClusterID); err != nil {
		return nil, fmt.Errorf("psrpc: %w", err)
	}
	ep.Serve(s.handle)
	s.state.Store(running)
	s.metrics.Available(true)
	log.Info("sip service ready (stand-in, not livekit-sip)", "sip", net.JoinHostPort(signal, fmt.Sprint(cfg.SIPPort)),
		"listen", fmt.Sprintf("%s:%d", cfg.ListenIP, cfg.SIPPortListen), "rtp", fmt.Sprintf("%s:%d-%d", mediaIP, cfg.RTPPort.Start, cfg.RTPPort.End),
		"wsURL", cfg.WsURL, "redis", cfg.Redis.Address)
	return s, nil
}

// handle routes a request to its call, or answers it.
func (s *Service) handle(tx *sipnet.ServerTx) {
	reply := func(code int, reason string) {
		tx.Respond(sip.NewResponseFromRequest(tx.Req, code, reason, nil))
	}
	tag := sipnet.Tag(tx.Req.To())
	switch tx.Method {
	case "INVITE":
		s.metrics.InviteRaw()
		if tag == "" {
			s.in.Handle(tx)
			return
		}
		if leg := s.env.Find(tag); leg != nil {
			leg.HandleReinvite(tx)
			return
		}
		reply(481, "Call does not exist")
	case "BYE", "NOTIFY":
		if tag == "" {
			reply(400, "")
			return
		}
		leg := s.env.Find(tag)
		if tx.Method == "BYE" && leg == nil {
			leg = s.env.FindGone(tag) // a second BYE is answered like the first
		}
		switch {
		case leg == nil:
			reply(481, "Call does not exist")
		case tx.Method == "BYE":
			leg.HandleBye(tx)
		default:
			leg.HandleNotify(tx)
		}
	case "OPTIONS":
		reply(200, "OK")
	default:
		s.log.Info("method not allowed", "method", tx.Method, "source", tx.Source.String())
		reply(405, "Method Not Allowed")
	}
}

// CreateSIPParticipant is the RPC of livekit-server for calls out.
func (s *Service) CreateSIPParticipant(ctx context.Context, req *rpc.InternalCreateSIPParticipantRequest) (*rpc.InternalCreateSIPParticipantResponse, error) {
	if s.state.Load() != running {
		return nil, psrpc.NewErrorf(psrpc.Unavailable, "cpu exhausted")
	}
	return s.out.Create(ctx, req)
}

// TransferSIPParticipant is the RPC of livekit-server for transfers; only the
// service that has the call listens on the call's topic.
func (s *Service) TransferSIPParticipant(ctx context.Context, req *rpc.InternalTransferSIPParticipantRequest) (*rpc.InternalTransferSIPParticipantResponse, error) {
	leg := s.env.Find(req.SipCallId)
	if leg == nil {
		return nil, psrpc.NewErrorf(psrpc.NotFound, "unknown call")
	}
	if err := leg.Transfer(ctx, req); err != nil {
		return nil, err
	}
	return &rpc.InternalTransferSIPParticipantResponse{}, nil
}

func (s *Service) offerTransfer(callID string) func() {
	if err := s.rpc.RegisterTransferSIPParticipantTopic(callID); err != nil {
		s.log.Warn("call is not reachable for transfers", "callID", callID, "err", err)
		return nil
	}
	return func() { s.rpc.DeregisterTransferSIPParticipantTopic(callID) }
}

// health tells the state.
func (s *Service) health(w http.ResponseWriter, _ *http.Request) {
	switch s.state.Load() {
	case running:
		fmt.Fprint(w, "OK")
	case stopping:
		http.Error(w, "Stopped", http.StatusServiceUnavailable)
	default:
		http.Error(w, "NotStarted", http.StatusServiceUnavailable)
	}
}

// serveHTTP starts the health endpoint and the metrics.
func (s *Service) serveHTTP() error {
	prof := http.NewServeMux()
	prof.HandleFunc("/debug/pprof/", pprof.Index)
	prof.HandleFunc("/debug/pprof/profile", pprof.Profile)
	prof.HandleFunc("/debug/pprof/trace", pprof.Trace)
	for port, h := range map[int]http.Handler{s.cfg.PprofPort: prof, s.cfg.HealthPort: http.HandlerFunc(s.health), s.cfg.PrometheusPort: s.metrics.Handler()} {
		if port == 0 {
			continue
		}
		// livekit-sip binds these on all addresses; the stand-in keeps to its own.
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", s.cfg.ListenIP, port))
		if err != nil {
			return err
		}
		srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
		s.http = append(s.http, srv)
		go func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				s.log.Error("http server ended", "err", err)
			}
		}()
	}
	return nil
}

// retire takes no more calls out. Health says so last: who has seen it is sure that
// livekit-server does not find this service any more.
func (s *Service) retire() {
	s.rpc.DeregisterCreateSIPParticipantTopic(s.cfg.ClusterID)
	s.metrics.Available(false)
	s.state.Store(stopping)
}

// Drain takes no more calls out and waits until all calls have ended, or ctx.
func (s *Service) Drain(ctx context.Context) {
	s.retire()
	done := s.env.Drained()
	t := time.NewTicker(drainLog)
	defer t.Stop()
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case <-t.C:
			var ids []string
			for _, l := range s.env.Legs() {
				ids = append(ids, l.ID)
			}
			s.log.Info("draining: calls still up", "calls", strings.Join(ids, " "))
		}
	}
}

// Stop hangs up all calls and closes everything.
func (s *Service) Stop() {
	s.retire()
	for _, l := range s.env.Legs() {
		l.Stop(call.EndShutdown)
	}
	select {
	case <-s.env.Drained():
		// The last BYE is out; its answer is not waited for.
	case <-time.After(3 * time.Second):
		s.log.Warn("calls did not end in time", "calls", len(s.env.Legs()))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	room.Settle(ctx) // a leave that is on its way would be lost with us
	cancel()
	s.rpc.Kill()
	s.env.IO.Close()
	s.env.SIP.Close()
	for _, h := range s.http {
		h.Close()
	}
}
