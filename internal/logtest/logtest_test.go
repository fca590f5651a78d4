package logtest_test

import (
	"slices"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/logtest"
)

func TestRepeatedKeysAreFound(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		`{"a":1,"b":{"a":2},"c":["a","a",{"a":3}],"d":"a"}`: nil,
		`{"a":1,"b":2,"a":3}`:                               {"a"},
		`{"x":{"a":1,"b":[1,{}],"a":3},"y":{"a":1}}`:        {"a"},
		`{"a":"b","b":"a","level":"INFO","level":"debug"}`:  {"level"},
	} {
		if got, err := logtest.Repeated([]byte(line)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", line, got, err, want)
		}
	}
	if _, err := logtest.Repeated([]byte("level=INFO")); err == nil {
		t.Error("a line that is not JSON passes")
	}
}

func TestQuietPanicsAtARepeatedKey(t *testing.T) {
	t.Parallel()
	for what, log := range map[string]func(){
		"in a line":          func() { logtest.Quiet().Debug("x", "job", 1, "job", 2) },
		"of With and a line": func() { logtest.Quiet().With("job", 1).Info("x", "job", 2) },
		"of With twice":      func() { logtest.Quiet().With("job", 1).With("job", 2) },
		"of slog":            func() { logtest.Quiet().Warn("x", "level", "debug") },
		"":                   func() { logtest.Quiet().With("job", 1).Warn("x", "attempt", 2) },
	} {
		panicked := func() (did bool) {
			defer func() { did = recover() != nil }()
			log()
			return false
		}()
		if panicked != (what != "") {
			t.Errorf("a key twice %q: panicked %t", what, panicked)
		}
	}
}
