package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// try is one of asynq's tries of a task.
type try struct {
	runtime.Adoption
	last bool // asynq archives the task if it fails
}

// Middleware gives the handlers behind it a Run; see asynq's ServeMux.Use. Use it first, so that
// what other middleware does is part of the attempt.
func (a *Adopter) Middleware(next asynq.Handler) asynq.Handler {
	return asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		try, ok := a.tryOf(ctx, t)
		if !ok {
			return next.ProcessTask(ctx, t)
		}
		err := a.process(ctx, t, next, try)
		if back := (*handedBack)(nil); errors.As(err, &back) && try.last {
			a.hold(ctx, try)
		}
		return err
	})
}

// tryOf reports false for a task that the Adopter leaves to asynq.
func (a *Adopter) tryOf(ctx context.Context, t *asynq.Task) (try, bool) {
	id, ok := asynq.GetTaskID(ctx)
	if !ok {
		return try{}, false // not called by asynq
	}
	queue, _ := asynq.GetQueueName(ctx)
	retried, _ := asynq.GetRetryCount(ctx)
	most, _ := asynq.GetMaxRetry(ctx)
	ad, ok := a.adoption(t, queue, id, slog.LevelError)
	ad.Try, ad.MaxRetries = retried+1, most
	return try{ad, retried >= most}, ok
}

// process runs a try from its record's start to its end. It begins another attempt if the first one
// was superseded while asynq still leaves the task to this process, as after a freeze. That costs
// no retry.
func (a *Adopter) process(asynqCtx context.Context, t *asynq.Task, next asynq.Handler, try try) error {
	if !a.enter() {
		return &handedBack{ErrDraining}
	}
	defer a.exit()
	for again := false; ; again = true {
		p, over, err := a.open(asynqCtx, try, again)
		switch {
		case over != nil:
			return ended(over.State)
		case errors.Is(err, errElsewhere):
			return &handedBack{err}
		case err != nil && asynqCtx.Err() == nil && !a.isClosing():
			a.opts.Logger.Error("cannot record the start of a task's attempt; the task runs without a job", "queue", try.Task.Queue, "task", try.Task.ID, "error", err)
			return next.ProcessTask(asynqCtx, t)
		case err != nil:
			return &handedBack{err}
		}
		err, more := a.run(asynqCtx, t, next, try, p)
		if !more {
			return err
		}
		if err == nil {
			next = done(p.result)
		}
	}
}

// done is the handler of an attempt that follows a superseded one whose handler returned nil.
func done(result json.RawMessage) asynq.Handler {
	return asynq.HandlerFunc(func(ctx context.Context, _ *asynq.Task) error {
		if result == nil {
			return nil
		}
		return RunFrom(ctx).Result(result)
	})
}

// ended is asynq's answer about a task whose job has ended, when asynq comes back with it.
func ended(state engine.State) error {
	switch state {
	case engine.Succeeded:
		return nil
	case engine.Canceled:
		return &revoked{ErrCanceled}
	}
	return archive("the job has failed, and its end was committed before this try")
}

// openTurns bounds how often open tries to start an attempt while other processes move its job.
const openTurns = 20

// errElsewhere says that asynq has handed the task to another process and is about to end its
// context here.
var errElsewhere = fmt.Errorf("%w: asynq has handed the task out again", ErrSuperseded)

// open begins an attempt of a try; again says that an attempt of it was superseded. over is the last
// attempt of the try's job if that has ended.
func (a *Adopter) open(asynqCtx context.Context, try try, again bool) (p *pending, over *runtime.Attempt, err error) {
	ctx, cancel := context.WithCancelCause(asynqCtx)
	defer cancel(errOver)
	defer a.atAbandon(func() { cancel(ErrDraining) })()
	for range openTurns {
		err = a.persist(ctx, func() error {
			p, over, err = a.begin(ctx, try, again, p)
			return err
		})
		if err == nil || !runtime.Stale(err) || errors.Is(err, errElsewhere) {
			break
		}
	}
	return p, over, err
}

// pending is an attempt between the commit of its start and the call of its handler.
type pending struct {
	job     engine.JobID
	fence   runtime.Fence
	started *runtime.Started
	result  json.RawMessage
}

// begin finds or makes the task's job and commits the start of its attempt. A stale error says that
// the job has moved on since begin read it. sent is what begin returned before: Redis may have
// committed its start although begin got no answer.
func (a *Adopter) begin(ctx context.Context, try try, again bool, sent *pending) (*pending, *runtime.Attempt, error) {
	e := a.runtime
	stand, err := e.Adopted(ctx, []runtime.Adoption{try.Adoption})
	if err != nil {
		return sent, nil, err
	}
	at := stand[0]
	if sent != nil && sent.job == at.Job && sent.fence.Attempt == at.Attempt && !at.State.Ended() {
		return a.commitStart(ctx, try, sent)
	}
	if at.State != "" && try.Try < at.Try {
		if err := a.behind(ctx, try, at); err != nil {
			return nil, nil, err
		}
	}
	switch {
	case try.Over(at):
		return nil, &at, nil
	case again && at.State != "" && !at.Waiting: // another process runs it, or has done it
		return nil, nil, errElsewhere
	case at.State == "" || at.State.Ended():
		id, err := e.Adopt(ctx, try.Adoption, at)
		if err != nil && !errors.Is(err, engine.ErrUnreplicated) {
			return nil, nil, err
		}
		at, err = e.Current(ctx, id)
		if err != nil {
			return nil, nil, err
		}
	case !at.Waiting: // the try before has ended, otherwise asynq would not have handed the task out
		if at, err = e.TakeOver(ctx, at); err != nil {
			return nil, nil, err
		}
	}
	if !at.Tied {
		if err := e.Tie(ctx, try.Task, at.Job); err != nil {
			return nil, nil, err
		}
	}
	return a.commitStart(ctx, try, &pending{
		job: at.Job, fence: runtime.Fence{Attempt: at.Attempt, Token: runtime.NewToken(), Seq: 1},
	})
}

// behind handles a try with a lower number than the last one of the task's newest job. Either asynq
// has handed the task out again, and has a higher number or no task by now; or this is a new task
// with the name of an old one, and not of that job. If that job lives, its task was deleted, so
// behind ends it.
func (a *Adopter) behind(ctx context.Context, try try, at runtime.Attempt) error {
	info, err := a.runtime.TaskInfo(try.Task)
	switch {
	case errors.Is(err, engine.ErrNotFound), err == nil && info.Retried+1 > try.Try:
		return errElsewhere
	case err != nil || at.State.Ended():
		return err
	}
	err = a.runtime.Withdraw(ctx, at.Job, at.Attempt, engine.JobError{
		Code: engine.CodeTaskDeleted, Message: "its task was deleted from asynq's queue " + try.Task.Queue + ", and another has its name",
	})
	if err == nil {
		return engine.ErrEnded // the task begins a new job
	}
	return err
}

func (a *Adopter) commitStart(ctx context.Context, try try, p *pending) (*pending, *runtime.Attempt, error) {
	acks, err := a.runtime.Commit(ctx, runtime.Report{Type: engine.JobStarted, Job: p.job, Fence: p.fence, Try: try.Try})
	switch {
	case len(acks) == 0:
		return p, nil, err
	case acks[0].Err != nil:
		return nil, nil, acks[0].Err
	case acks[0].Started == nil:
		return nil, nil, runtime.ErrSuperseded
	}
	p.started = acks[0].Started
	return p, nil, nil
}

// run calls the handler, on asynq's goroutine, and commits the attempt's end. It returns asynq's
// answer, and whether another attempt is to follow in this process.
func (a *Adopter) run(asynqCtx context.Context, t *asynq.Task, next asynq.Handler, try try, p *pending) (err error, again bool) {
	ctx, cancel := context.WithCancelCause(asynqCtx)
	defer cancel(errOver)
	r := a.newRun(a.runtime, p.job, p.fence, p.started, cancel)
	r.adopted = true
	a.register(r)
	r.logStart()
	defer r.close(errOver)
	defer a.forget(r)
	defer a.atAbandon(func() { r.close(ErrDraining) })()

	returned, attended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(attended)
		a.attend(asynqCtx, r, try, returned)
	}()
	panicked := true
	seat := a.gate.Join()
	defer func() {
		seat.Leave()
		close(returned)
		<-attended
		if panicked {
			// asynq recovers the panic and logs where it came from.
			_, _ = a.settle(asynqCtx, r, try.failure(engine.CodePanic, errPanicked), errPanicked)
			return
		}
		err, again = a.settle(asynqCtx, r, a.verdict(asynqCtx, r, r.why(ctx), err, t, try), err)
		p.result, _ = r.outcome()
	}()
	err = next.ProcessTask(context.WithValue(ctx, runKey{}, r), t)
	panicked = false
	return err, false
}

// errPanicked is the record's error for a handler that panicked. run does not recover the panic, so
// it does not know its text.
var errPanicked = errors.New("the handler panicked or ended its goroutine; see asynq's task and its server's log")

// attend commits the end of an attempt whose handler has not returned: when asynq's context ends,
// since asynq then continues without the handler, and CancelGrace after a cancel.
func (a *Adopter) attend(asynqCtx context.Context, r *Run, try try, returned <-chan struct{}) {
	var grace <-chan time.Time
	for urged := r.ending.urged; ; {
		select {
		case <-returned:
			return
		case <-asynqCtx.Done():
			report, err := r.conclude(a.dropped(asynqCtx, r, try))
			if err == nil {
				r.tell(report, context.Cause(asynqCtx))
			}
			return
		case <-urged:
			t := time.NewTimer(a.opts.CancelGrace)
			defer t.Stop()
			urged, grace = nil, t.C
		case <-grace:
			r.logger.Warn("the handler has not returned although its context has ended; it keeps asynq's slot until it does", "grace", a.opts.CancelGrace)
			if errors.Is(r.why(asynqCtx), ErrCanceled) {
				report, err := r.conclude(runtime.Report{Type: engine.JobCanceled})
				if err == nil { // an error says that another run has the job
					r.tell(report, nil)
				}
			}
			return
		}
	}
}

// hold waits until asynq's Shutdown puts back a task that its handler handed back on its last try.
// asynq archives such a task if the middleware returns before.
func (a *Adopter) hold(asynqCtx context.Context, try try) {
	t := time.NewTimer(a.opts.DrainGrace)
	defer t.Stop()
	select {
	case <-asynqCtx.Done():
	case <-t.C:
		a.opts.Logger.Warn("a handler handed a task back on its last try, and its asynq server was not shut down; asynq archives the task", "queue", try.Task.Queue, "task", try.Task.ID)
	}
}
