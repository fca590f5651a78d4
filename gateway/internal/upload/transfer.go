package upload

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-dev/tidemark/engine/runtime"

	tus "github.com/tus/tusd/v2/pkg/handler"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/internal/pace"
)

// A transfer is a request about an upload. While one brings bytes, begin's goroutine
// reports how far they have come, and ends the request when the job has ended, the
// gateway stops, the credentials end, or another request for the upload waits. The bytes never wait for
// Redis: what cannot be reported is not.
type transfer struct {
	u      *Server
	upload *upload
	spec   *engine.Spec // of an upload that is to be made
	cancel context.CancelCauseFunc

	reader  bool // it changes nothing
	created bool
	err     error // why the request fails, for its answer

	// What became of the request's body. It is read by the goroutine of the request alone.
	arrived int64 // bytes
	whole   bool  // read to its end
	torn    bool  // it cannot be read to its end

	// reception is the fence to report with, if it is known.
	reception runtime.Reception
	known     bool
	last      int64 // the offset that was reported last, -1: none

	offset atomic.Int64 // what is stored
}

const (
	// receiveTick is the least time between two reports.
	receiveTick = 200 * time.Millisecond
	// lookInterval is the time between two looks for the fence while Redis is away.
	lookInterval = time.Second
)

// begin reports until the function that it returns is called, by the goroutine that
// calls begin. Then everything that it started has ended.
func (t *transfer) begin(ctx context.Context, offset int64) (end func()) {
	t.offset.Store(offset)
	t.last = -1
	t.u.metrics.running.Inc()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var ended sync.WaitGroup
	ended.Go(func() { t.report(ctx, &ended) })
	return func() {
		cancel()
		ended.Wait()
		t.u.metrics.running.Dec()
		if at := t.offset.Load(); at < t.upload.Size && at != t.last {
			t.u.late.add(t.upload)
		}
	}
}

// stop ends the request. as is what tusd knows to end a body for.
func (t *transfer) stop(why *problem.Refusal, as tus.Error) {
	if t.err == nil {
		t.err = why
	}
	t.cancel(as)
}

// What Redis answered to the one question that is under way.
type answered struct {
	reception *runtime.Reception
	acks      []runtime.Ack
	err       error
}

func (t *transfer) report(ctx context.Context, asking *sync.WaitGroup) {
	ticker := time.NewTicker(receiveTick)
	defer ticker.Stop()
	hold := t.u.locks.of(t.upload.Job)
	asking.Go(func() { hold.claim.watch(ctx, hold.want) })
	answers := make(chan answered, 1)
	ended := access.Ended(ctx)
	busy, looked := false, time.Time{}
	var speed pace.Pace
	speed.Observe(time.Now(), t.offset.Load())
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.u.opts.Stopping:
			t.stop(errStopping, tus.ErrServerShutdown)
			return
		case <-hold.wanted:
			t.stop(errInterrupted, tus.ErrUploadInterrupted)
			return
		case <-hold.over:
			t.stop(errGone, tus.ErrUploadInterrupted)
			return
		case why := <-ended:
			t.u.opts.Logger.Debug("an upload ends", "job", t.upload.Job, "error", why)
			t.stop(errOver, tus.ErrUploadInterrupted)
			return
		case a := <-answers:
			busy = false
			if a.err != nil {
				t.last = -1 // to be reported again
			}
			if err := t.take(a); err != nil {
				// The job has ended, or has more bytes: no one needs these.
				t.stop(errGone, tus.ErrUploadInterrupted)
				return
			}
		case now := <-ticker.C:
			offset := t.offset.Load()
			speed.Observe(now, offset)
			switch {
			case busy || offset == t.last:
			case t.known:
				busy = t.u.tick(t.upload, t.reception.Fence, offset, speed.Left(t.upload.Size-offset), func(acks []runtime.Ack, err error) {
					answers <- answered{acks: acks, err: err}
				})
				t.last = offset
			case now.Sub(looked) >= lookInterval:
				busy, looked = true, now
				asking.Go(func() {
					ctx, cancel := context.WithTimeout(ctx, lookTimeout)
					defer cancel()
					r, err := t.u.runtime.Receiver(ctx, t.upload.Job)
					answers <- answered{reception: &r, err: err}
				})
			}
		}
	}
}

// tick submits an upload's offset, as the report that follows fence. done must not
// block; it is not called when tick returns false.
func (u *Server) tick(up *upload, fence runtime.Fence, offset int64, eta time.Duration, done func([]runtime.Ack, error)) bool {
	now := shown(up, offset, eta)
	fence.Seq++
	err := u.runtime.Submit([]runtime.Report{{
		Type: engine.JobProgress, Job: up.Job, Fence: fence, Tenths: received(up, offset), Shown: &now,
	}}, done)
	return err == nil
}

// received is the bar in tenths, floored: at most 900 times 5 TiB, which fits.
func received(up *upload, offset int64) int {
	return int(int64(up.Share) * 10 * min(offset, up.Size) / up.Size)
}

// take minds an answer of Redis. Its error says that the reception is over.
func (t *transfer) take(a answered) error {
	err := a.err
	if a.acks != nil { // they stand, replicated or not
		err = a.acks[0].Err
	}
	gap := (*runtime.GapError)(nil)
	switch {
	case errors.Is(err, engine.ErrEnded), errors.Is(err, runtime.ErrSuperseded), errors.Is(err, engine.ErrNotFound), errors.Is(err, engine.ErrState):
		return err
	case errors.As(err, &gap):
		t.reception.Fence.Seq = gap.Have
	case err != nil:
		return nil //nolint:nilerr // Redis is away: with the next tick
	case a.reception != nil:
		t.reception, t.known = *a.reception, true
	case a.acks[0].Duplicate:
		// The number was used, by a late report or by ours whose answer was lost: where
		// does it stand?
		t.known, t.last = false, -1
	default:
		t.reception.Fence.Seq++
	}
	return nil
}

// counted counts what is written.
type counted struct {
	to io.Writer
	t  *transfer
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	c.t.offset.Add(int64(n))
	return n, err
}
