// Command standin is a stand-in for livekit-sip: it takes the same
// configuration and speaks the same contracts (psrpc over redis, WebRTC into
// the room, SIP and RTP to the phone), for machines on which livekit-sip is
// not to be had. It is not livekit-sip, and says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"livekit-sip-sandbox/standin/internal/config"
	"livekit-sip-sandbox/standin/internal/service"
)

// Version is what --version says.
const Version = "sandbox stand-in for livekit-sip (not livekit-sip), behaviour recorded from livekit-sip v1.11.0"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	fs := flag.NewFlagSet("standin", flag.ContinueOnError)
	file := fs.String("config", os.Getenv("SIP_CONFIG_FILE"), "config `file` (SIP_CONFIG_FILE)")
	body := fs.String("config-body", os.Getenv("SIP_CONFIG_BODY"), "config as YAML (SIP_CONFIG_BODY)")
	version := fs.Bool("version", false, "say what this is")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *version {
		fmt.Println(Version)
		return nil
	}
	text := *body
	if text == "" && *file != "" {
		b, err := os.ReadFile(*file)
		if err != nil {
			return err
		}
		text = string(b)
	}
	cfg, err := config.Parse(text, nil)
	if err != nil {
		return err
	}
	log := newLogger(cfg)
	slog.SetDefault(log)
	for _, w := range cfg.Warnings {
		log.Warn(w)
	}
	if os.Getenv("GOGC") == "" {
		// A call makes garbage by the packet; memory is cheaper than the
		// collector on a small machine.
		debug.SetGCPercent(200)
	}
	s, err := service.Start(cfg, log)
	if err != nil {
		log.Error("could not start", "err", err)
		return err
	}
	return serve(s, log)
}

// serve waits for signals: SIGINT hangs up and ends, SIGTERM and SIGQUIT wait
// for the calls to end first.
func serve(s *service.Service, log *slog.Logger) error {
	kill := make(chan os.Signal, 1)
	drain := make(chan os.Signal, 1)
	signal.Notify(kill, syscall.SIGINT)
	signal.Notify(drain, syscall.SIGTERM, syscall.SIGQUIT)
	select {
	case sig := <-kill:
		log.Info("hanging up and stopping", "signal", sig.String())
	case sig := <-drain:
		log.Info("draining", "signal", sig.String())
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-kill
			cancel()
		}()
		s.Drain(ctx)
		cancel()
	}
	s.Stop()
	log.Info("stopped")
	return nil
}

// newLogger logs on stderr, JSON unless the config says otherwise.
func newLogger(cfg *config.Config) *slog.Logger {
	opts := &slog.HandlerOptions{
		Level: cfg.LogLevel(),
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 {
				return a
			}
			switch a.Key {
			case slog.TimeKey:
				a.Key = "ts"
			case slog.LevelKey:
				return slog.String("level", strings.ToLower(a.Value.String()))
			}
			if a.Value.Kind() == slog.KindDuration {
				return slog.Float64(a.Key, a.Value.Duration().Seconds())
			}
			return a
		},
	}
	if cfg.JSONLogs() {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)).With("logger", "sip")
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}
