package call

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// growing is a log handler that learns more about its call: what is said later
// has the attributes added meanwhile. Other goroutines may log all the time.
type growing struct{ h atomic.Pointer[slog.Handler] }

// GrowingLog is l with a function that adds attributes to it.
func GrowingLog(l *slog.Logger) (log *slog.Logger, add func(args ...any)) {
	g := &growing{}
	h := l.Handler()
	g.h.Store(&h)
	return slog.New(g), func(args ...any) {
		h := slog.New(*g.h.Load()).With(args...).Handler()
		g.h.Store(&h)
	}
}

func (g *growing) Enabled(ctx context.Context, l slog.Level) bool {
	return (*g.h.Load()).Enabled(ctx, l)
}

func (g *growing) Handle(ctx context.Context, r slog.Record) error {
	return (*g.h.Load()).Handle(ctx, r)
}

func (g *growing) WithAttrs(a []slog.Attr) slog.Handler { return (*g.h.Load()).WithAttrs(a) }
func (g *growing) WithGroup(n string) slog.Handler      { return (*g.h.Load()).WithGroup(n) }
