package room

import (
	"context"
	"log/slog"

	"github.com/go-logr/logr"
	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
)

// SetLogger directs what the SDK and WebRTC log outside of any room.
func SetLogger(l *slog.Logger) { lksdk.SetLogger(sdkLogger(l)) }

func sdkLogger(l *slog.Logger) logger.Logger {
	return logger.LogRLogger(logr.FromSlogHandler(quiet(l.Handler())))
}

// quietHandler lowers what the SDK logs: its info is about its own workings.
type quietHandler struct{ slog.Handler }

func quiet(h slog.Handler) slog.Handler { return quietHandler{h} }

func (q quietHandler) Enabled(ctx context.Context, l slog.Level) bool {
	if l < slog.LevelWarn {
		return q.Handler.Enabled(ctx, slog.LevelDebug)
	}
	return q.Handler.Enabled(ctx, l)
}

func (q quietHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		r.Level = slog.LevelDebug
	}
	return q.Handler.Handle(ctx, r)
}

func (q quietHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return quietHandler{q.Handler.WithAttrs(a)}
}
func (q quietHandler) WithGroup(n string) slog.Handler { return quietHandler{q.Handler.WithGroup(n)} }
