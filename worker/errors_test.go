package worker_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
)

// unprintable is an error whose method panics.
type unprintable struct{ why *string }

func (u *unprintable) Error() string { return *u.why }

// A handler's error costs what its bounds say, an attempt: in the record, in the log and in
// what asynq keeps.
func TestErrorsOfHandlersAreClipped(t *testing.T) {
	t.Parallel()
	const attempts = 4
	long := strings.Repeat("no\x1b[2Jroom\xff", 262<<10/10)
	var log lines
	e := real(t)
	o := brief(e)
	o.Logger = slog.New(slog.NewJSONHandler(&log, nil))
	w := build(t, o)
	// Their attempts, and what their jobs' errors begin with.
	type end struct {
		attempts int
		message  string
	}
	ends := map[string]end{}
	handle := func(name string, want end, h func() error) {
		ends[name] = want
		worker.Handle(w, name, func(context.Context, *worker.Run, []byte) error { return h() })
	}
	handle("long", end{attempts, "no�[2Jroom�"}, func() error { return errors.New(long) })
	handle("for-good", end{1, "no�[2Jroom�"}, func() error { return worker.Permanent(errors.New(long)) })
	handle("panic", end{1, "panic: no�[2Jroom�"}, func() error { panic(long) })
	handle("nil", end{attempts, "<nil>"}, func() error { return (*unprintable)(nil) })
	handle("unprintable", end{attempts, "&"}, func() error { return &unprintable{} })
	start(t, w)
	failures := 0
	for name, want := range ends {
		all := history(t, e, enqueue(t, e, name, func(s *engine.Spec) { s.MaxAttempts = attempts }), nil)
		failures += want.attempts
		told := 0
		for _, r := range all {
			if r.Job.Error == nil {
				continue
			}
			told++
			m := r.Job.Error.Message
			if len(m) > engine.MaxErrorBytes || !utf8.ValidString(m) || strings.ContainsFunc(m, unicode.IsControl) || (want.message != "&" && !strings.HasPrefix(m, want.message)) {
				t.Errorf("%s: its record says %d bytes, %.100q", name, len(m), m)
			}
		}
		if last(all).State != engine.Failed || told < want.attempts {
			t.Errorf("%s ended as %s, with %d errors; want %d attempts", name, last(all).State, told, want.attempts)
		}
	}
	stop(t, w)
	archived, err := asynq.NewInspectorFromRedisClient(e.Redis()).ListArchivedTasks(e.QueueName(engine.DefaultQueue))
	if err != nil || len(archived) != failures {
		t.Errorf("asynq keeps %d tasks, want %d: %v", len(archived), failures, err)
	}
	for _, task := range archived {
		if len(task.LastErr) > 1<<10 || strings.ContainsFunc(task.LastErr, unicode.IsControl) {
			t.Errorf("asynq keeps an error of %d bytes: %.100q", len(task.LastErr), task.LastErr)
		}
	}
	n := 0
	for s := bufio.NewScanner(&log.Buffer); s.Scan(); n++ {
		if len(s.Bytes()) > 32<<10 {
			t.Errorf("a line of %d bytes: %.100s", len(s.Bytes()), s.Bytes())
		}
	}
	if n < failures || n > 3*failures+10 {
		t.Errorf("%d lines of log for %d failures", n, failures)
	}
}

// lines take what several loggers write.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}
