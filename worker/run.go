package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/gate"
	"github.com/tidemark-dev/tidemark/worker/internal/report"
	"github.com/tidemark-dev/tidemark/worker/internal/rig"
)

// A Run is a handler's hold on the attempt that it is executing. Its methods may be
// called concurrently, also after the handler has returned: they do nothing then.
// Except for Checkpoint, FanOut and those of artifacts, none of them waits for Redis.
type Run struct {
	job     engine.JobID
	topic   engine.Topic
	jobType string
	queue   string
	started *runtime.Started

	jobs   rig.Jobs
	fence  runtime.Fence // of the attempt's start
	logger *slog.Logger  // with job, attempt and type
	began  time.Time
	logged atomic.Bool // logEnd was called
	// metrics are the supervisor's.
	metrics *metrics
	out     *report.Reporter
	files   files

	mu     sync.Mutex
	result json.RawMessage
	awaits bool // FanOut has returned ErrAwaiting
	// fanning is held by a call of FanOut.
	fanning sync.Mutex

	state  keeper
	ending ending
	seat   *gate.Seat

	adopted  bool // its job has no task of its own, and so no next attempt that it could ask for
	detached bool // of no job: RunFrom found none
}

// newRun makes the run of an attempt whose start was committed with fence.
func (c *supervisor) newRun(jobs rig.Jobs, job engine.JobID, fence runtime.Fence, started *runtime.Started, cancel context.CancelCauseFunc) *Run {
	r := &Run{job: job, topic: started.Topic, jobType: started.Type, queue: started.Queue, started: started, jobs: jobs, fence: fence, began: time.Now(), metrics: c.metrics}
	r.logger = c.opts.Logger.With(slog.String("job", string(job)), slog.Int("attempt", fence.Attempt), slog.String("type", started.Type))
	r.ending = ending{cancel: cancel, urged: make(chan struct{})}
	r.out = report.New(report.Options{
		Submit: jobs.Submit, Refused: r.end, Logger: r.logger, Wheel: c.wheel, LogLines: c.opts.LogLines, Eager: c.eager,
		Job: job, Fence: fence, Started: started,
	})
	r.files.open(r, c.opts.Blobs)
	r.state.always = c.eager
	r.state.due.Store(c.eager)
	r.state.interval = c.opts.CheckpointInterval
	return r
}

// ID returns the job's ID.
func (r *Run) ID() engine.JobID { return r.job }

// Topic returns whom the job's records are for.
func (r *Run) Topic() engine.Topic { return r.topic }

// Attempt returns the number of this attempt, from 1. Retries, rescues and
// hand-backs all begin a new one.
func (r *Run) Attempt() int { return r.fence.Attempt }

// Type returns the job's type.
func (r *Run) Type() string { return r.jobType }

// Title returns the job's title; "" for none.
func (r *Run) Title() string { return r.started.Title }

// Labels returns the job's labels; nil for none. The caller may change the map.
func (r *Run) Labels() map[string]string { return maps.Clone(r.started.Labels) }

// A Stage is a part of a job: its name, at most 64 bytes, and its weight in the bar
// against the other stages'.
type Stage struct {
	Name   string
	Weight float64
}

// Stages declares the parts of the job, in order, and their weights in the bar;
// weights are normalised, so their unit does not matter. A stage counts whole once a
// later one is entered, skipped or not. Without stages the bar is Progress alone. Of a
// job whose input was uploaded they share what the upload has left of the bar, and it
// shows as a stage before them.
func (r *Run) Stages(stages ...Stage) {
	all := make([]report.Stage, len(stages))
	for i, s := range stages {
		all[i] = report.Stage(s)
	}
	r.out.Stages(all)
}

// Stage enters a stage, which a job.stage record tells at once; entering the one
// that the run is in does nothing. Going back to an earlier stage does not lower the
// bar, and a name that was not declared does not move it. The first 1,000 changes of
// an attempt get a record of their own, later ones appear with the next tick.
func (r *Run) Stage(name string) { r.out.Stage(name) }

// Unit says what Progress counts, such as "rows": at most 32 bytes.
func (r *Run) Unit(unit string) { r.out.Unit(unit) }

// Progress says how far the run has come in its present stage: done of total, in
// units of its own; total 0 or less is unknown. Call it as often as it changes:
// the latest counts, and is reported once a TickInterval. done is taken as 0 to
// total. The bar shows the highest point that any attempt reached, so a total that
// grows holds it.
func (r *Run) Progress(done, total int64) { r.out.Progress(done, total) }

// Message shows a line of text with the job, in place of the last one: at most 1
// KiB, cut there. It is reported with the next tick, so of many in a row the last is
// seen; what must not be missed belongs into Log. It goes with its stage: entering another one
// clears it, and so does awaiting children.
func (r *Run) Message(text string) { r.out.Message(text) }

// Log writes a line into the job's log, which everybody sees who may see the job: at
// most 1 KiB, cut there. level is "info", "warn" or "error"; any other is taken as
// "info". At most LogLines lines of an attempt are written; the last of them comes
// when it ends, and counts those that were suppressed before it.
func (r *Run) Log(level, text string) {
	switch level {
	case "info", "warn", "error":
	default:
		level = "info"
	}
	r.out.Log(level, text)
}

// Result sets the job's result, which its last record shows when the handler
// returns nil: anything that encodes to at most 16 KiB of JSON. The last call counts.
// Its error wraps engine.ErrInvalid.
func (r *Run) Result(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w result of job %s: %w", engine.ErrInvalid, r.job, err)
	}
	if len(b) > engine.MaxResultBytes {
		return fmt.Errorf("%w result of job %s of %d bytes: at most %d; write it with Run.Artifact and name that", engine.ErrInvalid, r.job, len(b), engine.MaxResultBytes)
	}
	r.mu.Lock()
	r.result = b
	r.mu.Unlock()
	return nil
}

// close ends whatever the run has going, once its end is known.
func (r *Run) close(cause error) {
	r.out.Stop(cause)
	r.state.stop()
	r.files.stop()
}

// outcome is the result that the run has set, and whether it awaits its children.
func (r *Run) outcome() (result json.RawMessage, awaits bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.result, r.awaits
}

type runKey struct{}

// RunFrom returns the Run of an adopted task's job, for the task's handler. It never returns nil. Where
// there is no job, as in a test that calls the handler itself or for a task that AdoptOptions.Topic
// leaves to asynq, the Run drops what is reported to it: Checkpoint checks its state and returns nil,
// Resume returns false, and ID returns "".
func RunFrom(ctx context.Context) *Run {
	if r, ok := ctx.Value(runKey{}).(*Run); ok {
		return r
	}
	r := &Run{started: &runtime.Started{}, detached: true, out: report.Stopped(errOver)}
	r.state.stopped = true
	return r
}
