// Package logline bounds what one line of a log holds, whatever is logged, and how often lines of a
// kind come.
package logline

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// Bounds of a line. Quotes and line breaks take more bytes where a handler escapes them.
const (
	// MaxTextBytes bounds the message, and each attribute.
	MaxTextBytes = 4 << 10
	// MaxBytes bounds message, keys and values together. An attribute beyond it is left out.
	MaxBytes = 16 << 10
)

// Bounded gives a logger whose lines keep the bounds: longer texts end with an ellipsis. A
// logger that was bounded before is returned as it is. Attributes of With count for each
// line.
func Bounded(l *slog.Logger) *slog.Logger {
	if _, done := l.Handler().(*handler); done {
		return l
	}
	return slog.New(&handler{next: l.Handler(), left: MaxBytes})
}

type handler struct {
	next slog.Handler
	left int // of MaxBytes, after With
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	left := h.left
	short := slog.NewRecord(r.Time, r.Level, text(r.Message, &left), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a, ok := bounded(a, &left); ok {
			short.AddAttrs(a)
		}
		return true
	})
	return h.next.Handle(ctx, short)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	left := h.left
	return &handler{h.next.WithAttrs(all(attrs, &left)), left}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	left := h.left
	return &handler{h.next.WithGroup(text(name, &left)), left}
}

func all(attrs []slog.Attr, left *int) []slog.Attr {
	var short []slog.Attr
	for _, a := range attrs {
		if a, ok := bounded(a, left); ok {
			short = append(short, a)
		}
	}
	return short
}

// bounded takes an attribute's bytes from what is left; false when it no longer fits.
func bounded(a slog.Attr, left *int) (slog.Attr, bool) {
	if *left < leastBytes {
		return a, false
	}
	a.Key = text(a.Key, left)
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(text(a.Value.String(), left))
	case slog.KindGroup:
		a.Value = slog.GroupValue(all(a.Value.Group(), left)...)
	case slog.KindAny:
		// As slog writes it. Its type stays where the text is short.
		long := fmt.Sprintf("%+v", a.Value.Any())
		if short := text(long, left); short != long {
			a.Value = slog.StringValue(short)
		}
	default:
		*left -= leastBytes
	}
	return a, true
}

// leastBytes is what a number, a time or a duration may take.
const leastBytes = 64

// text shortens s, and takes its bytes from what is left.
func text(s string, left *int) string {
	s = excerpt.Of(s, max(leastBytes, min(MaxTextBytes, *left)))
	*left -= len(s)
	return s
}
