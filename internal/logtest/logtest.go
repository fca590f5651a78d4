// Package logtest finds lines of logs in which a key is twice. A JSON parser keeps one of the two.
package logtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
)

// Quiet returns a logger that drops its lines. It panics at a line, of whatever level, that has a key
// twice.
func Quiet() *slog.Logger {
	return slog.New(unique{keys: []string{slog.TimeKey, slog.LevelKey, slog.MessageKey, slog.SourceKey}})
}

// unique drops lines after it has looked at their keys.
type unique struct {
	prefix string   // of the groups
	keys   []string // of the line so far
}

// Enabled implements slog.Handler.
func (unique) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (u unique) Handle(_ context.Context, r slog.Record) error {
	keys := slices.Clip(u.keys)
	r.Attrs(func(a slog.Attr) bool {
		keys = u.add(keys, a, r.Message)
		return true
	})
	return nil
}

func (u unique) add(keys []string, a slog.Attr, message string) []string {
	key := u.prefix + a.Key
	if slices.Contains(keys, key) {
		panic(fmt.Sprintf("the key %q is twice in the log line %q", key, message))
	}
	return append(keys, key)
}

// WithAttrs implements slog.Handler.
func (u unique) WithAttrs(attrs []slog.Attr) slog.Handler {
	u.keys = slices.Clip(u.keys)
	for _, a := range attrs {
		u.keys = u.add(u.keys, a, "With")
	}
	return u
}

// WithGroup implements slog.Handler.
func (u unique) WithGroup(name string) slog.Handler {
	u.prefix += name + "."
	return u
}

// Repeated returns the keys that an object of a line of JSON has more than once. Its error says that
// the line is not JSON.
func Repeated(line []byte) (keys []string, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	type level struct {
		object bool
		key    bool // the next token is a key
		seen   map[string]bool
	}
	var levels []level
	for {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			return keys, nil
		case err != nil:
			return nil, err
		}
		top := len(levels) - 1
		if key, ok := token.(string); ok && top >= 0 && levels[top].object && levels[top].key {
			if levels[top].seen[key] {
				keys = append(keys, key)
			}
			levels[top].seen[key], levels[top].key = true, false
			continue
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			levels = append(levels, level{object: token == json.Delim('{'), key: true, seen: map[string]bool{}})
			continue
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:top]
			top--
		}
		if top >= 0 {
			levels[top].key = true
		}
	}
}
