package cli

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

func TestExitCodes(t *testing.T) {
	for want, errs := range map[int][]error{
		0:   {nil},
		1:   {errors.New("anything"), engine.ErrSchema, engine.ErrEnded},
		2:   {session.Usage("no"), &config.Error{}, engine.ErrInvalidTopic, engine.ErrInvalid, engine.ErrInvalidJobID, engine.ErrInvalidCursor},
		3:   {engine.ErrNotFound},
		4:   {&session.JobEndedError{}},
		5:   {engine.ErrUnreachable, fmt.Errorf("jobs: %w: %w", session.ErrTransient, redisproc.ErrNotInstalled)},
		130: {session.ErrInterrupted, errors.Join(errors.New("and more"), session.ErrInterrupted)},
	} {
		for _, err := range errs {
			if err != nil {
				err = fmt.Errorf("wrapped: %w", err)
			}
			if got := exitCode(err); got != want {
				t.Errorf("%v exits with %d, want %d", err, got, want)
			}
			if want != 0 && want != 1 && want != 4 && !strings.Contains(about, fmt.Sprintf("\n  %-3d", want)) {
				t.Errorf("the help does not tell of exit code %d", want)
			}
		}
	}
}

func TestMessageIsOneLine(t *testing.T) {
	err := errors.Join(errors.New("first"), fmt.Errorf("job 07: %w", engine.ErrNotFound))
	if got, want := message(err), `first; job 07: no such job; "tidemark jobs" lists those of the topic`; got != want {
		t.Errorf("the message is %q, want %q", got, want)
	}
}

func TestDeadlineIsATimeOrADuration(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Time{"": {}, "90m": now.Add(90 * time.Minute), "2026-02-01T00:00:00Z": time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)} {
		got, err := deadlineAt(text, 0, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	if _, err := deadlineAt("tomorrow", 0, now); exitCode(err) != exitUsage {
		t.Errorf("a word gives %v, want a usage error", err)
	}
}

func TestVersionIsTheLinkersOrTheBuilds(t *testing.T) {
	build := func(version, revision string) func() (*debug.BuildInfo, bool) {
		info := &debug.BuildInfo{Main: debug.Module{Version: version}}
		if revision != "" {
			info.Settings = []debug.BuildSetting{{Key: "vcs.revision", Value: revision}}
		}
		return func() (*debug.BuildInfo, bool) { return info, true }
	}
	for _, tc := range []struct {
		linked string
		build  func() (*debug.BuildInfo, bool)
		want   string
	}{
		{"v1.2.3", build("v0.0.1", ""), "v1.2.3"},
		{"", build("v0.0.1", ""), "v0.0.1"},
		{"", build("(devel)", "0123456789abcdef"), "devel-0123456789ab"},
		{"", build("(devel)", ""), "devel"},
		{"", func() (*debug.BuildInfo, bool) { return nil, false }, "unknown"},
	} {
		if got := versionOf(tc.linked, tc.build); got != tc.want {
			t.Errorf("version %q, want %q", got, tc.want)
		}
	}
}
