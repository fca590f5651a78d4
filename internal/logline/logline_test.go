package logline_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/logline"
)

// most is the longest line: its escapes may double a text.
const most = 2*logline.MaxBytes + 1<<10

func TestLinesAreBounded(t *testing.T) {
	long := strings.Repeat("x\"\n", 100_000)
	for name, log := range map[string]func(*slog.Logger){
		"the message":        func(l *slog.Logger) { l.Info(long) },
		"a string":           func(l *slog.Logger) { l.Info("m", "text", long) },
		"an error":           func(l *slog.Logger) { l.Info("m", "error", errors.New(long)) },
		"a list":             func(l *slog.Logger) { l.Info("m", "names", strings.Split(long, "\n")) },
		"bytes":              func(l *slog.Logger) { l.Info("m", "bytes", []byte(long)) },
		"a key":              func(l *slog.Logger) { l.Info("m", long, 1) },
		"a group":            func(l *slog.Logger) { l.Info("m", slog.Group("g", "text", long, "more", long)) },
		"what it has always": func(l *slog.Logger) { l.With("text", long).Info("m", "text", long) },
		"the group it is in": func(l *slog.Logger) { l.WithGroup(long).Info("m", "text", long) },
		"many": func(l *slog.Logger) {
			var all []any
			for i := range 1000 {
				all = append(all, fmt.Sprint("k", i), long)
			}
			l.With(all...).Info("m", all...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asText, asJSON bytes.Buffer
			log(logline.Bounded(slog.New(slog.NewTextHandler(&asText, nil))))
			log(logline.Bounded(slog.New(slog.NewJSONHandler(&asJSON, nil))))
			for _, line := range []*bytes.Buffer{&asText, &asJSON} {
				if n := line.Len(); n == 0 || n > most || bytes.Count(line.Bytes(), []byte("\n")) != 1 {
					t.Errorf("a line of %d bytes", n)
				}
			}
			if !json.Valid(asJSON.Bytes()) {
				t.Errorf("not JSON: %.200s", asJSON.Bytes())
			}
		})
	}
}

func TestShortLinesStayAsTheyAre(t *testing.T) {
	var plain, bounded bytes.Buffer
	for _, l := range []*slog.Logger{
		slog.New(slog.NewJSONHandler(&plain, &slog.HandlerOptions{ReplaceAttr: timeless})),
		logline.Bounded(logline.Bounded(slog.New(slog.NewJSONHandler(&bounded, &slog.HandlerOptions{ReplaceAttr: timeless})))),
	} {
		l.With("job", "07").WithGroup("g").Warn("failed", "error", errors.New("no room"), "n", 7, "names", []string{"a"}, slog.Group("h", "ok", true))
	}
	if plain.String() != bounded.String() {
		t.Errorf("%s\nbecomes\n%s", &plain, &bounded)
	}
}

func timeless(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
