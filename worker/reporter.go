package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
	"github.com/tidemark-dev/tidemark/worker/internal/wheel"
)

// reporter is the one way from a run to the log. What the run reports goes in
// order, numbered, one batch in flight: milestones at once, ticks when they are
// due, the end last. It has no goroutine of its own; the wheel and the engine's
// answers move it on, and none of them may block.
//
// A batch is sent again until it is answered: its reports carry the attempt's fence
// and their numbers, so Redis recognises what it has.
type reporter struct {
	submit  func([]runtime.Report, func([]runtime.Ack, error)) error
	refused func(error) // called once when the attempt is superseded, without the lock
	logger  *slog.Logger
	wheel   *wheel.Wheel
	lines   int // the cap of job.log records
	// eager reports every change at once: in tests of handlers.
	eager bool

	job   engine.JobID
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

	tend []engine.JobID // that an answer named
}

// item is a report on its way. done, if there is one, has room for one error.
type item struct {
	report runtime.Report
	done   chan error
}

// maxFlight is the most reports that the engine takes in one batch.
const maxFlight = 64

// touch says that the view has changed. The caller holds the lock.
func (r *reporter) touch() {
	if r.dirty {
		return
	}
	r.dirty = true
	if r.armed || r.eager || r.cause != nil {
		return
	}
	r.armed = true
	r.wheel.Add(r, r.last)
}

// unlock gives the lock back after touch.
func (r *reporter) unlock() {
	tick := r.eager && r.dirty && r.cause == nil
	r.mu.Unlock()
	if tick {
		r.Tick()
	}
}

// Tick is called by the wheel.
func (r *reporter) Tick() {
	r.mu.Lock()
	r.armed = false
	r.due = r.dirty
	r.mu.Unlock()
	r.send()
}

// push queues a report with the view as it is now. The caller holds the lock, and
// calls send without it.
func (r *reporter) push(report runtime.Report, done chan error) {
	report.Tenths, report.Shown = r.view.show(time.Now())
	r.dirty, r.due = false, false
	r.queue = append(r.queue, item{report, done})
}

// send puts what waits into flight, if nothing is.
func (r *reporter) send() {
	r.mu.Lock()
	if r.cause != nil || r.flight != nil {
		r.mu.Unlock()
		return
	}
	if len(r.queue) == 0 && r.due && !r.sealed {
		r.push(runtime.Report{Type: engine.JobProgress}, nil)
		r.last = r.wheel.Now()
	}
	n := min(len(r.queue), maxFlight)
	if r.single {
		n = min(n, 1)
	}
	if n == 0 {
		r.single = false
		r.mu.Unlock()
		return
	}
	r.flight = r.queue[:n:n]
	r.queue = r.queue[n:]
	if len(r.queue) == 0 {
		r.queue = nil // the batch owns the array
	}
	reports := r.number()
	r.mu.Unlock()
	r.launch(reports)
}

// number gives the reports in flight their fences. The caller holds the lock.
func (r *reporter) number() []runtime.Report {
	reports := make([]runtime.Report, len(r.flight))
	for i := range r.flight {
		reports[i] = r.flight[i].report
		reports[i].Job, reports[i].Fence = r.job, r.fence
		reports[i].Fence.Seq += uint64(i) + 1
	}
	return reports
}

func (r *reporter) launch(reports []runtime.Report) {
	err := r.submit(reports, r.answered)
	switch {
	case err == nil:
	case errors.Is(err, engine.ErrInvalid):
		r.invalid(err)
	default: // the engine is closed
		r.stop(fmt.Errorf("%w: %w", ErrSuperseded, err))
	}
}

// answered is called by the engine with what became of the batch in flight.
func (r *reporter) answered(acks []runtime.Ack, err error) {
	if acks == nil {
		if errors.Is(err, engine.ErrClosed) {
			r.stop(fmt.Errorf("%w: %w", ErrSuperseded, err))
			return
		}
		r.again(err)
		return
	}
	r.mu.Lock()
	if r.cause != nil {
		r.mu.Unlock()
		return
	}
	if r.failures > 0 {
		r.logger.Debug("the run's reports are committed again", "after_failures", r.failures)
		r.failures = 0
	}
	gap := (*runtime.GapError)(nil)
	for i, a := range acks {
		switch {
		case a.Err == nil:
			r.fence.Seq++
			r.tend = append(r.tend, a.FollowUps...)
			if r.flight[i].done != nil {
				r.flight[i].done <- nil
			}
			continue
		case errors.As(a.Err, &gap):
			r.renumber(r.flight[i:], gap.Have)
		case errors.Is(a.Err, runtime.ErrAppend):
			// An operator's business; the job waits for it.
			r.flight = r.flight[i:]
			r.mu.Unlock()
			r.again(a.Err)
			return
		default:
			r.flight = r.flight[i:]
			r.mu.Unlock()
			r.stop(fmt.Errorf("%w: %w", ErrSuperseded, a.Err))
			return
		}
		break
	}
	r.flight = nil
	r.mu.Unlock()
	r.send()
}

// renumber goes on from what Redis has: it lost reports that it had acknowledged.
// Milestones go again, ticks give way to what the run shows now. The caller holds
// the lock.
func (r *reporter) renumber(lost []item, have uint64) {
	r.logger.Warn("Redis has lost acknowledged reports of the run; going on from what it has", "had", r.fence.Seq, "has", have)
	r.fence.Seq = have
	var rest []item
	for _, it := range lost {
		if it.report.Type != engine.JobProgress {
			rest = append(rest, it)
		}
	}
	r.queue = append(rest, r.queue...)
	r.dirty, r.due = true, true
}

// again sends the batch in flight once more, after a while.
func (r *reporter) again(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cause != nil {
		return
	}
	switch {
	case errors.Is(err, engine.ErrUnreachable):
		// The heartbeat tells the worker's log, once for all runs.
		r.logger.Debug("Redis is unreachable; the run's reports wait", "error", err)
	case r.failures%8 == 0:
		r.logger.Error("the run's reports are not accepted; trying again until they are", "error", err)
	}
	wait := backoff.Resend(r.failures)
	r.failures++
	if r.resend == nil {
		r.resend = time.AfterFunc(wait, r.relaunch)
		return
	}
	r.resend.Reset(wait)
}

func (r *reporter) relaunch() {
	r.mu.Lock()
	if r.cause != nil {
		r.mu.Unlock()
		return
	}
	reports := r.number()
	r.mu.Unlock()
	r.launch(reports)
}

// invalid finds the report that the engine does not take, by sending one at a time,
// and drops it. Everything that has a bound is cut or refused before it comes here,
// so this keeps a mistake of ours from costing a user the job.
func (r *reporter) invalid(err error) {
	r.mu.Lock()
	if len(r.flight) > 1 {
		r.single = true
		r.queue = append(r.flight[:len(r.flight):len(r.flight)], r.queue...)
	} else {
		it := r.flight[0]
		r.logger.Error("a report is dropped", "type", it.report.Type, "error", err)
		if it.done != nil {
			if ends(it.report.Type) {
				r.sealed = false // another end may take its place
			}
			it.done <- err
		}
	}
	r.flight = nil
	r.mu.Unlock()
	r.send()
}

// ends tells, of the reports that are waited for, those that end the attempt.
func ends(kind engine.RecordType) bool { return !kind.Tick() }

// toTend are the jobs that the run's reports have made somebody's business.
func (r *reporter) toTend() []engine.JobID {
	r.mu.Lock()
	defer r.mu.Unlock()
	jobs := r.tend
	r.tend = nil
	return jobs
}

// ask queues a report and waits until it is committed, or never will be. It returns
// the cause of that.
func (r *reporter) ask(report runtime.Report) error {
	done := make(chan error, 1)
	r.mu.Lock()
	switch {
	case r.cause != nil:
		defer r.mu.Unlock()
		return r.cause
	case r.sealed:
		r.mu.Unlock()
		return errOver
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

// supersede is stop for a heartbeat's word. Once the end is on its way, only the
// answer to that can tell whether it was accepted: a job that ended has no
// attempt, and a heartbeat cannot tell who ended it.
func (r *reporter) supersede() {
	r.mu.Lock()
	sealed := r.sealed
	r.mu.Unlock()
	if !sealed {
		r.stop(ErrSuperseded)
	}
}

// stop ends reporting. Whoever waits hears the cause. Only the first stop counts.
func (r *reporter) stop(cause error) {
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
		r.refused(cause)
	}
}
