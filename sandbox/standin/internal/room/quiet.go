package room

import (
	"context"
	"log/slog"
)

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
