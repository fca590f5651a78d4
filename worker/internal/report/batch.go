package report

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
)

// item is a report on its way. done, if there is one, has room for one error.
type item struct {
	report runtime.Report
	done   chan error
}

// maxFlight is the most reports that the engine takes in one batch.
const maxFlight = 64

// push queues a report with the view as it is now. The caller holds the lock, and
// calls send without it.
func (r *Reporter) push(report runtime.Report, done chan error) {
	report.Tenths, report.Shown = r.view.show(time.Now())
	r.dirty, r.due = false, false
	r.queue = append(r.queue, item{report, done})
}

// send puts what waits into flight, if nothing is.
func (r *Reporter) send() {
	r.mu.Lock()
	if r.cause != nil || r.flight != nil {
		r.mu.Unlock()
		return
	}
	if len(r.queue) == 0 && r.due && !r.sealed {
		r.push(runtime.Report{Type: engine.JobProgress}, nil)
		r.last = r.opts.Wheel.Now()
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
func (r *Reporter) number() []runtime.Report {
	reports := make([]runtime.Report, len(r.flight))
	for i := range r.flight {
		reports[i] = r.flight[i].report
		reports[i].Job, reports[i].Fence = r.opts.Job, r.fence
		reports[i].Fence.Seq += uint64(i) + 1
	}
	return reports
}

func (r *Reporter) launch(reports []runtime.Report) {
	err := r.opts.Submit(reports, r.answered)
	switch {
	case err == nil:
	case errors.Is(err, engine.ErrInvalid):
		r.invalid(err)
	default: // the engine is closed
		r.Stop(fmt.Errorf("%w: %w", ErrSuperseded, err))
	}
}

// answered is called by the engine with what became of the batch in flight.
func (r *Reporter) answered(acks []runtime.Ack, err error) {
	if acks == nil {
		if errors.Is(err, engine.ErrClosed) {
			r.Stop(fmt.Errorf("%w: %w", ErrSuperseded, err))
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
		r.opts.Logger.Debug("the run's reports are committed again", "after_failures", r.failures)
		r.failures = 0
	}
	gap := (*runtime.GapError)(nil)
	for i, a := range acks {
		switch {
		case a.Err == nil:
			r.fence.Seq++
			r.followUps = append(r.followUps, a.FollowUps...)
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
			r.Stop(fmt.Errorf("%w: %w", ErrSuperseded, a.Err))
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
func (r *Reporter) renumber(lost []item, have uint64) {
	r.opts.Logger.Warn("Redis has lost acknowledged reports of the run; going on from what it has", "had", r.fence.Seq, "has", have)
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
func (r *Reporter) again(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cause != nil {
		return
	}
	switch {
	case errors.Is(err, engine.ErrUnreachable):
		// The heartbeat tells the worker's log, once for all runs.
		r.opts.Logger.Debug("Redis is unreachable; the run's reports wait", "error", err)
	case r.failures%8 == 0:
		r.opts.Logger.Error("the run's reports are not accepted; trying again until they are", "error", err)
	}
	wait := backoff.Resend(r.failures)
	r.failures++
	if r.resend == nil {
		r.resend = time.AfterFunc(wait, r.relaunch)
		return
	}
	r.resend.Reset(wait)
}

func (r *Reporter) relaunch() {
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
func (r *Reporter) invalid(err error) {
	r.mu.Lock()
	if len(r.flight) > 1 {
		r.single = true
		r.queue = append(r.flight[:len(r.flight):len(r.flight)], r.queue...)
	} else {
		it := r.flight[0]
		r.opts.Logger.Error("a report is dropped", "record", it.report.Type, "error", err)
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
func ends(kind engine.RecordType) bool { return !kind.Tick() && kind != engine.JobArtifact }
