package config

import (
	"errors"
	"io"
	"log/slog"

	"github.com/tidemark-dev/tidemark/internal/logline"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Log says what a process logs, and how. The zero value works.
type Log struct {
	// Level is the least level that is logged: debug, info, warn or error. Defaults
	// to info.
	Level string
	// Format is text or json. Defaults to text.
	Format string
}

// Defaults returns l with every zero field set to its default.
func (l Log) Defaults() Log {
	if l.Level == "" {
		l.Level = "info"
	}
	if l.Format == "" {
		l.Format = "text"
	}
	return l
}

// Validate checks l as Defaults completes it.
func (l Log) Validate() error {
	l = l.Defaults()
	var level, format error
	switch l.Level {
	case "debug", "info", "warn", "error":
	default:
		level = option.Invalid("Level", l.Level, "want debug, info, warn or error")
	}
	switch l.Format {
	case "text", "json":
	default:
		format = option.Invalid("Format", l.Format, "want text or json")
	}
	return errors.Join(level, format)
}

// durations spells durations as text does, such as "1.5s": JSON has no unit.
func durations(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// Logger makes the logger that l describes; what is below least is not logged
// whatever l says.
func (l Log) Logger(w io.Writer, least slog.Level) *slog.Logger {
	l = l.Defaults()
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: max(level, least)}
	if l.Format == "json" {
		o.ReplaceAttr = durations
		return logline.Bounded(slog.New(slog.NewJSONHandler(w, o)))
	}
	return logline.Bounded(slog.New(slog.NewTextHandler(w, o)))
}
