package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
)

// do runs one job with a handler of its own and returns its history.
func do(t *testing.T, change func(*worker.Options), h func(context.Context, *worker.Run, []byte) error) []engine.Record {
	t.Helper()
	e := real(t)
	o := brief(e)
	if change != nil {
		change(&o)
	}
	w := build(t, o)
	worker.Handle(w, "export", h)
	start(t, w)
	return history(t, e, enqueue(t, e, "export", func(s *engine.Spec) { s.MaxAttempts = 1 }), nil)
}

func TestTextsAreCutAndTheJobIsTold(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", 1000) // 2,000 bytes
	all := do(t, nil, func(_ context.Context, run *worker.Run, _ []byte) error {
		run.Stage(long) // which would end a message
		run.Message("x" + long)
		run.Message("y" + long) // told once
		run.Unit(long)
		run.Log("shout", long)
		run.Progress(1, 2)
		return nil
	})
	end := last(all)
	if end.State != engine.Succeeded {
		t.Fatalf("it ended as %s with %+v", end.State, end.Error)
	}
	for what, c := range map[string]struct {
		text string
		size int
	}{
		"message": {end.Message, 1023}, "unit": {end.Progress.Unit, 32}, "stage": {end.Stage.Name, 64},
	} {
		if len(c.text) != c.size || !utf8.ValidString(c.text) || strings.ContainsRune(c.text, utf8.RuneError) {
			t.Errorf("%s of %d bytes, want %d: %q", what, len(c.text), c.size, c.text)
		}
	}
	var warnings []string
	for _, r := range all {
		switch {
		case r.Log == nil:
		case r.Log.Level == "warn":
			warnings = append(warnings, r.Log.Text)
		case r.Log.Level != "info" || len(r.Log.Text) != 1024:
			t.Errorf("a log line of %d bytes at %q", len(r.Log.Text), r.Log.Level)
		}
	}
	want := []string{"a stage's name of 2000 bytes is cut to 64", "a message of 2001 bytes is cut to 1024", "a unit of 2000 bytes is cut to 32", "a log line of 2000 bytes is cut to 1024"}
	if len(warnings) != len(want) {
		t.Fatalf("warnings %q, want %q", warnings, want)
	}
	for i := range want {
		if !strings.HasPrefix(warnings[i], want[i]) {
			t.Errorf("warning %q, want %q", warnings[i], want[i])
		}
	}
}

func TestLogIsCapped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ most, lines, records, suppressed int }{
		{5, 4, 4, 0}, {5, 5, 5, 0}, {5, 6, 5, 1}, {5, 500, 5, 495}, {1, 3, 1, 2},
	} {
		t.Run(fmt.Sprint(c.lines, " of ", c.most), func(t *testing.T) {
			t.Parallel()
			all := do(t, func(o *worker.Options) { o.LogLines = c.most }, func(_ context.Context, run *worker.Run, _ []byte) error {
				for i := range c.lines {
					run.Log("info", fmt.Sprint(i))
				}
				return errors.New("told also when it fails")
			})
			var lines []*engine.LogLine
			for _, r := range all {
				if r.Log != nil {
					lines = append(lines, r.Log)
				}
			}
			if len(lines) != c.records {
				t.Fatalf("%d records, want %d", len(lines), c.records)
			}
			end := lines[len(lines)-1]
			if end.Suppressed != c.suppressed || end.Text != fmt.Sprint(c.lines-1) {
				t.Errorf("the last line is %+v, want %d suppressed", end, c.suppressed)
			}
		})
	}
}

func TestTicksAreCoalescedAndTheLastComes(t *testing.T) {
	t.Parallel()
	const tick = 100 * time.Millisecond
	e := real(t)
	o := brief(e)
	o.TickInterval = tick
	w := build(t, o)
	const calls = 10_000
	shown := make(chan struct{})
	var seen atomic.Int64 // ticks
	var took time.Duration
	worker.Handle(w, "export", func(ctx context.Context, run *worker.Run, _ []byte) error {
		run.Unit("rows")
		began := time.Now()
		for i := int64(0); i < calls || seen.Load() < 2 && ctx.Err() == nil; i++ {
			run.Progress(i%900, 1000)
		}
		run.Progress(950, 1000)
		run.Message("nearly")
		select { // no further call: the tick comes by itself
		case <-shown:
			took = time.Since(began)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	start(t, w)
	see := sync.OnceFunc(func() { close(shown) })
	all := history(t, e, enqueue(t, e, "export"), func(r engine.Record) {
		if r.Type != engine.JobProgress {
			return
		}
		seen.Add(1)
		if r.Job.Message == "nearly" {
			see()
		}
	})
	var ticks []engine.Record
	for _, r := range all {
		if r.Type == engine.JobProgress {
			ticks = append(ticks, r)
		}
	}
	// Between two of them is an interval, but for a slot of the wheel: a tenth.
	if most := 1 + int(took/(tick*9/10)); len(ticks) < 3 || len(ticks) > most {
		t.Fatalf("%d ticks of more than %d calls in %s, want 3 to %d:\n%s", len(ticks), calls, took, most, tell(all))
	}
	if end := ticks[len(ticks)-1].Job; end.Progress.Done != 950 || end.Message != "nearly" || end.Percent < 95 {
		t.Errorf("the last tick shows %+v", end)
	}
}

func TestWhatCannotBeKeptIsRefused(t *testing.T) {
	t.Parallel()
	all := do(t, nil, func(_ context.Context, run *worker.Run, _ []byte) error {
		for what, err := range map[string]error{
			"a checkpoint over 1 MiB":  run.Checkpoint(strings.Repeat("x", 1<<20)),
			"one that is not JSON":     run.Checkpoint(func() {}),
			"a result over 16 KiB":     run.Result(strings.Repeat("x", 16<<10)),
			"a result that is no JSON": run.Result(make(chan int)),
		} {
			if !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), string(run.ID())) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := run.Checkpoint(strings.Repeat("x", 1<<20-2)); err != nil {
			t.Errorf("a checkpoint of 1 MiB: %v", err)
		}
		return run.Result(strings.Repeat("x", 16<<10-2))
	})
	if end := last(all); end.State != engine.Succeeded || len(end.Result) != 16<<10 || count(all, engine.JobCheckpoint) != 1 {
		t.Errorf("it ended so:\n%s", tell(all))
	}
}

// offset is a state that encodes itself.
type offset uint16

func (o offset) MarshalBinary() ([]byte, error) { return []byte{byte(o >> 8), byte(o)}, nil }
func (o *offset) UnmarshalBinary(b []byte) error {
	if len(b) != 2 {
		return fmt.Errorf("offset of %d bytes", len(b))
	}
	*o = offset(b[0])<<8 | offset(b[1])
	return nil
}

func TestBinaryStateAndOneThatDoesNotFit(t *testing.T) {
	t.Parallel()
	e := real(t)
	w := build(t, brief(e))
	worker.Handle(w, "export", func(_ context.Context, run *worker.Run, _ []byte) error {
		state := offset(7)
		resumed, err := run.Resume(&state)
		if err != nil || resumed != (run.Attempt() > 1) {
			t.Errorf("resume: %t, %v", resumed, err)
		}
		if run.Attempt() == 1 {
			run.Progress(1, 4)
			return errors.Join(run.Checkpoint(offset(513)), errors.New("once more"))
		}
		wrong := struct{ Next int }{}
		if _, err := run.Resume(&wrong); err == nil || !strings.Contains(err.Error(), "2 bytes") {
			t.Errorf("resume into another type: %v", err)
		}
		return run.Result(state)
	})
	start(t, w)
	all := history(t, e, enqueue(t, e, "export"), nil)
	if got := string(last(all).Result); got != "513" {
		t.Errorf("resumed with %s", got)
	}
	for _, r := range all {
		if r.Type == engine.JobResumed && (*r.Job.ResumedFrom != 25 || r.Job.Percent != 25) {
			t.Errorf("resumed from %v at %v%%", *r.Job.ResumedFrom, r.Job.Percent)
		}
	}
}

func TestManyStagesDoNotFloodTheLog(t *testing.T) {
	t.Parallel()
	all := do(t, nil, func(_ context.Context, run *worker.Run, _ []byte) error {
		for i := range 3000 {
			run.Stage(fmt.Sprint("stage ", i))
		}
		return nil
	})
	if n := count(all, engine.JobStage); n != 1000 {
		t.Errorf("%d job.stage, want 1000", n)
	}
	if end := last(all); end.Stage.Name != "stage 2999" {
		t.Errorf("the end shows stage %q", end.Stage.Name)
	}
}
