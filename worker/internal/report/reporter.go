// Package report is the way from a run to the log: what a handler reports is kept here, and goes
// to Redis in order.
package report

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/wheel"
)

var (
	// ErrSuperseded is the one of package worker.
	ErrSuperseded = errors.New("the attempt is superseded")
	// ErrOver says that the attempt has ended, and that its handler is still calling.
	ErrOver = errors.New("the attempt has ended")
)

// Options are what a Reporter is made of.
type Options struct {
	// Submit is the engine's: it calls done once with the answer, unless it returns an error.
	Submit func(reports []runtime.Report, done func([]runtime.Ack, error)) error
	// Refused is called once if the attempt is superseded. It may call the Reporter.
	Refused func(cause error)
	Logger  *slog.Logger
	// Wheel is that of all runs of the process.
	Wheel *wheel.Wheel
	// LogLines is the most job.log records of the attempt.
	LogLines int
	// Eager reports every change at once: in tests of handlers.
	Eager bool

	Job engine.JobID
	// Fence is the one with which the attempt's start was committed, and Started the answer.
	Fence   runtime.Fence
	Started *runtime.Started
}

// A Reporter is the one way from a run to the log. What the run reports goes in
// order, numbered, one batch in flight: milestones at once, ticks when they are
// due, the end last. It has no goroutine of its own; the wheel and the engine's
// answers move it on, and none of them may block.
//
// A batch is sent again until it is answered: its reports carry the attempt's fence
// and their numbers, so Redis recognises what it has.
//
// Its methods may be called concurrently, also after Stop. Only Ask waits for Redis.
type Reporter struct {
	opts  Options
	fence runtime.Fence // Seq: the last report that was answered

	mu    sync.Mutex
	view  view
	dirty bool  // the view has changed since a report took it
	armed bool  // the wheel has it
	due   bool  // the wheel has come and the view has not been taken since
	last  int64 // the wheel's slot of the last tick

	queue  []item
	flight []item // sent, not answered; kept to be sent again
	single bool   // the engine refused a batch: one report at a time
	sealed bool   // the end is in the queue, and nothing may follow
	cause  error  // why nothing may be reported any more; nil while it may

	failures int
	resend   *time.Timer

	logs   logBook
	stages int // job.stage records written

	followUps []engine.JobID // that an answer named
}

// New makes the reporter of an attempt. The bar goes on from the attempt's checkpoint: what came
// after it is to be done again.
func New(o Options) *Reporter {
	r := &Reporter{opts: o, fence: o.Fence, last: o.Wheel.Now()}
	r.view.received, r.view.kind = int64(o.Started.Share)*10*partsPerTenth, o.Started.Type
	r.view.mark = max(int64(o.Started.CheckpointTenths)*partsPerTenth, r.view.received)
	return r
}

// Stopped is a reporter to which nothing is reported, for cause.
func Stopped(cause error) *Reporter { return &Reporter{cause: cause, dirty: true} }

// touch says that the view has changed. The caller holds the lock.
func (r *Reporter) touch() {
	if r.dirty {
		return
	}
	r.dirty = true
	if r.armed || r.opts.Eager || r.cause != nil {
		return
	}
	r.armed = true
	r.opts.Wheel.Add(r, r.last)
}

// unlock gives the lock back after touch.
func (r *Reporter) unlock() {
	tick := r.opts.Eager && r.dirty && r.cause == nil
	r.mu.Unlock()
	if tick {
		r.Tick()
	}
}

// Tick is called by the wheel.
func (r *Reporter) Tick() {
	r.mu.Lock()
	r.armed = false
	r.due = r.dirty
	r.mu.Unlock()
	r.send()
}

// Stages declares the stages, whose names it cuts.
func (r *Reporter) Stages(stages []Stage) {
	r.mu.Lock()
	defer r.unlock()
	fitted := make([]Stage, len(stages))
	for i, s := range stages {
		fitted[i] = Stage{r.stageName(s.Name), s.Weight}
	}
	r.view.declare(fitted)
	r.touch()
}

// Stage enters a stage, whose name it cuts.
func (r *Reporter) Stage(name string) {
	r.mu.Lock()
	changed := r.view.enter(r.stageName(name))
	switch {
	case !changed || r.cause != nil || r.sealed:
	case r.stages < maxStageRecords:
		r.stages++
		r.push(runtime.Report{Type: engine.JobStage}, nil)
	default:
		r.touch()
	}
	r.unlock()
	r.send()
}

func (r *Reporter) stageName(name string) string {
	return r.fit("a stage's name", name, maxStageBytes, "use a word")
}

// Unit sets what Progress counts, and cuts it.
func (r *Reporter) Unit(unit string) {
	r.mu.Lock()
	r.view.unit = r.fit("a unit", unit, maxUnitBytes, "use a word")
	r.touch()
	r.unlock()
}

// Progress sets how far the present stage has come.
func (r *Reporter) Progress(done, total int64) {
	r.mu.Lock()
	r.view.done, r.view.total, r.view.counted = done, total, true
	if r.dirty { // as nearly always, in a loop
		r.mu.Unlock()
		return
	}
	r.touch()
	r.unlock()
}

// Message sets the line of text that the next report shows, and cuts it.
func (r *Reporter) Message(text string) {
	r.mu.Lock()
	r.view.message = r.fit("a message", text, engine.MaxMessageBytes, "keep it short, and put the rest into Run.Log or a file")
	r.touch()
	r.unlock()
}

// Log writes a line, cut to its bound, while LogLines allows it.
func (r *Reporter) Log(level, text string) {
	r.mu.Lock()
	r.log(level, r.fit("a log line", text, engine.MaxMessageBytes, "split it, or write long texts to a file"))
	r.mu.Unlock()
	r.send()
}

// Span is the part of the bar, in tenths of a percent, that the present stage has: all of it when
// there are no stages.
func (r *Reporter) Span() (from, to int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view.span()
}

// FollowUps returns, once, the jobs that answers have named: those whose children are to be
// updated, or that are to be dispatched.
func (r *Reporter) FollowUps() []engine.JobID {
	r.mu.Lock()
	defer r.mu.Unlock()
	jobs := r.followUps
	r.followUps = nil
	return jobs
}

// Ask queues a report and waits until it is committed, or never will be. It returns
// the cause of that.
func (r *Reporter) Ask(report runtime.Report) error {
	done := make(chan error, 1)
	r.mu.Lock()
	switch {
	case r.cause != nil:
		defer r.mu.Unlock()
		return r.cause
	case r.sealed:
		r.mu.Unlock()
		return ErrOver
	}
	if report.Type == engine.JobAwaiting {
		r.view.message = "" // what was said of the work before the children
	}
	if ends(report.Type) {
		r.sealed = true
		if line := r.logs.last(); line != nil {
			r.push(runtime.Report{Type: engine.JobLog, Log: line}, nil)
		}
	}
	r.push(report, done)
	r.mu.Unlock()
	r.send()
	return <-done
}

// Supersede is Stop for a heartbeat's word. Once the end is on its way, only the
// answer to that can tell whether it was accepted: a job that ended has no
// attempt, and a heartbeat cannot tell who ended it.
func (r *Reporter) Supersede() {
	r.mu.Lock()
	sealed := r.sealed
	r.mu.Unlock()
	if !sealed {
		r.Stop(ErrSuperseded)
	}
}

// Stop ends reporting. Calls of Ask that wait return the cause. Only the first stop counts.
func (r *Reporter) Stop(cause error) {
	r.mu.Lock()
	if r.cause != nil {
		r.mu.Unlock()
		return
	}
	r.cause = cause
	r.dirty = true // touch has nothing to do any more
	if r.resend != nil {
		r.resend.Stop()
	}
	for _, items := range [][]item{r.flight, r.queue} {
		for _, it := range items {
			if it.done != nil {
				it.done <- cause
			}
		}
	}
	r.flight, r.queue = nil, nil
	r.mu.Unlock()
	if errors.Is(cause, ErrSuperseded) {
		r.opts.Refused(cause)
	}
}
