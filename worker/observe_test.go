package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/logtest"
	"github.com/tidemark-dev/tidemark/worker"
)

// jsonLog keeps lines of JSON.
func jsonLog(level slog.Level) (*slog.Logger, *logbook) {
	l := &logbook{}
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: level})), l
}

// linesOf returns the lines about a job's attempts whose message is message.
func linesOf(t *testing.T, l *logbook, message string, job engine.JobID) (lines []map[string]any) {
	t.Helper()
	for line := range bytes.Lines([]byte(l.String())) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if fields["msg"] == message && fields["job"] == string(job) {
			lines = append(lines, fields)
		}
	}
	return lines
}

// wantAttempt checks that the log has one start and one end of an attempt, at info or above.
func wantAttempt(t *testing.T, l *logbook, job engine.JobID, attempt int, level, outcome string) {
	t.Helper()
	what := fmt.Sprintf("job %s, attempt %d", job, attempt)
	of := func(message string) (lines []map[string]any) {
		return slices.DeleteFunc(linesOf(t, l, message, job), func(f map[string]any) bool { return f["attempt"] != float64(attempt) })
	}
	eventually(t, "the end of "+what, func() bool { return len(of("attempt ended")) > 0 })
	started, ended := of("attempt started"), of("attempt ended")
	if len(started) != 1 || len(ended) != 1 {
		t.Fatalf("%s has %d starts and %d ends:\n%s", what, len(started), len(ended), l)
	}
	for _, line := range []map[string]any{started[0], ended[0]} {
		if line["type"] != "export" {
			t.Errorf("%s: no type in %v", what, line)
		}
	}
	if _, timed := ended[0]["duration"].(float64); !timed || ended[0]["outcome"] != outcome || ended[0]["level"] != level || started[0]["level"] != "INFO" {
		t.Errorf("%s ended with %v, want %s at %s", what, ended[0], outcome, level)
	}
}

func TestAttemptsAreLoggedAndCounted(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	log, lines := jsonLog(slog.LevelInfo)
	o.Logger, o.Registry = log, prometheus.NewRegistry()
	w := build(t, o)
	began, release := make(chan struct{}, 1), make(chan struct{})
	worker.Handle(w, "export", func(ctx context.Context, run *worker.Run, what string) error {
		switch {
		case what == "fails once" && run.Attempt() == 1:
			return errors.New("no luck")
		case what == "panics":
			panic("no sense")
		case what == "is canceled":
			began <- struct{}{}
			<-ctx.Done()
			return context.Cause(ctx)
		case what == "is counted":
			began <- struct{}{}
			<-release
		}
		return nil
	})
	start(t, w)
	run := func(what string) engine.JobID {
		return enqueue(t, e, "export", func(s *engine.Spec) { s.Payload = what })
	}

	retried := run("fails once")
	wantAttempt(t, lines, retried, 1, "WARN", "retrying")
	wantAttempt(t, lines, retried, 2, "INFO", "succeeded")
	wantAttempt(t, lines, run("panics"), 1, "WARN", "failed")
	canceled := run("is canceled")
	wait(t, "the run", began)
	if err := e.Cancel(soon(t), canceled); err != nil {
		t.Fatal(err)
	}
	wantAttempt(t, lines, canceled, 1, "INFO", "canceled")

	counted := run("is counted")
	wait(t, "the run", began)
	if got := samples(t, o.Registry)["tidemark_worker_attempts_running export"]; got != 1 {
		t.Errorf("%v attempts run, want 1", got)
	}
	close(release)
	wantAttempt(t, lines, counted, 1, "INFO", "succeeded")
	eventually(t, "no attempt to run", func() bool { return samples(t, o.Registry)["tidemark_worker_attempts_running export"] == 0 })
	got := samples(t, o.Registry)
	for name, want := range map[string]float64{
		"export succeeded": 2, "export retrying": 1, "export failed": 1, "export canceled": 1,
	} {
		if got["tidemark_worker_attempts_total "+name] != want {
			t.Errorf("%s: %v attempts, want %v", name, got["tidemark_worker_attempts_total "+name], want)
		}
	}
	if got["tidemark_worker_attempt_seconds export"] != 5 {
		t.Errorf("the histogram has %v attempts, want 5", got["tidemark_worker_attempt_seconds export"])
	}
	if text := lines.String(); !strings.Contains(text, `"code":"panic"`) || !strings.Contains(text, "observe_test.go") {
		t.Errorf("the log has no code or no stack of the panic:\n%s", text)
	}
}

// samples reads a registry's values by their names and labels; of a histogram it reads the count.
func samples(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			name := strings.TrimSpace(f.GetName() + " " + strings.TrimSpace(labels["type"]+" "+labels["outcome"]))
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

// Runs that the drain abandons have an end in the log too, and those that were superseded.
func TestAttemptsThatAnotherWorkerContinuesAreLogged(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	log, lines := jsonLog(slog.LevelInfo)
	o.Logger, o.DrainGrace = log, 50*time.Millisecond
	w := build(t, o)
	began, release := make(chan struct{}, 1), make(chan struct{})
	defer close(release)
	worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error {
		began <- struct{}{}
		<-release
		return nil
	})
	if err := w.Start(soon(t)); err != nil {
		t.Fatal(err)
	}
	job := enqueue(t, e, "export")
	wait(t, "the run", began)
	if err := w.Stop(soon(t)); !errors.Is(err, worker.ErrAbandoned) {
		t.Fatalf("stop: %v", err)
	}
	wantAttempt(t, lines, job, 1, "WARN", "abandoned")
}

func TestAdoptedAttemptsAreLogged(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := briefAdopt(e)
	log, lines := jsonLog(slog.LevelInfo)
	o.Logger, o.Registry = log, prometheus.NewRegistry()
	a := adopt(t, o)
	var tries atomic.Int64
	serve(t, e, briefServer(), handling(a, "export", func(context.Context, *asynq.Task) error {
		if tries.Add(1) == 1 {
			return errors.New("no luck")
		}
		return nil
	}))
	job := jobOf(t, e, send(t, e, "export"))
	wantAttempt(t, lines, job, 1, "WARN", "retrying")
	wantAttempt(t, lines, job, 2, "INFO", "succeeded")
	if got := samples(t, o.Registry); got["tidemark_worker_attempts_total export succeeded"] != 1 {
		t.Errorf("the metrics are %v", got)
	}
}

// A worker at debug says nothing each time that its queues are empty, and has no key twice in a line.
func TestDebugIsLegible(t *testing.T) {
	t.Parallel()
	e := real(t)
	o := brief(e)
	log, lines := jsonLog(slog.LevelDebug)
	o.Logger = log
	w := build(t, o)
	worker.Handle(w, "export", func(context.Context, *worker.Run, []byte) error { return nil })
	start(t, w)
	history(t, e, enqueue(t, e, "export"), nil)
	if err := w.Stop(soon(t)); err != nil {
		t.Fatal(err)
	}
	text := lines.String()
	if strings.Contains(text, "All queues are empty") {
		t.Errorf("debug says that the queues are empty:\n%s", text)
	}
	if !strings.Contains(text, "asynq: ") {
		t.Errorf("debug has no line of asynq:\n%s", text)
	}
	for line := range bytes.Lines([]byte(text)) {
		if keys, err := logtest.Repeated(line); err != nil || len(keys) > 0 {
			t.Errorf("%q are twice in %s: %v", keys, line, err)
		}
	}
}
