package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// A hand writes one job, as a worker would, and enters the answers into the
// ledger. While Redis is away it sends the same reports again.
type hand struct {
	e      *engine.Rig
	ledger *ledger
	r      runtime.Report
	topic  engine.Topic
	tenths int

	rescues      int
	gaps         int // times that Redis had lost commits of the attempt
	unreachable  int
	unreplicated int
}

// again waits before another try; false when ctx has ended.
func again(ctx context.Context) bool {
	t := time.NewTimer(10 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// errLost says that Redis has forgotten that the attempt began, or that a later one
// did.
var errLost = errors.New("the attempt was lost")

// open enqueues the hand's job.
func (h *hand) open(ctx context.Context) error {
	s := engine.Spec{Topic: h.topic, Type: "export", Title: "Orders", Key: runtime.NewToken()}
	for {
		asked := time.Now()
		got, err := h.e.Enqueue(ctx, s)
		if errors.Is(err, engine.ErrUnreachable) && again(ctx) {
			h.unreachable++
			continue
		}
		if err != nil && !errors.Is(err, engine.ErrUnreplicated) {
			return err
		}
		h.r = runtime.Report{Job: got.ID}
		h.ledger.add(fact{topic: h.topic, job: got.ID, kind: engine.JobQueued, asked: asked})
		return nil
	}
}

// begin starts an attempt.
func (h *hand) begin(ctx context.Context, attempt int) error {
	h.r.Fence = runtime.Fence{Attempt: attempt, Token: runtime.NewToken()}
	return h.write(ctx, runtime.Report{Type: engine.JobStarted})
}

// rescue goes on with the job as the next worker would, whatever attempt Redis
// believes in: one that waits is begun, one that runs is claimed first.
func (h *hand) rescue(ctx context.Context) error {
	for {
		h.rescues++
		a, err := h.e.Current(ctx, h.r.Job)
		if err == nil && !a.Waiting {
			var beats map[engine.JobID]string
			if beats, err = beating(ctx, h.e); err == nil {
				a, err = h.e.Stall(ctx, h.r.Job, beats[h.r.Job])
			}
		}
		if err == nil {
			err = h.begin(ctx, a.Attempt)
		}
		if err == nil || (!errors.Is(err, engine.ErrUnreachable) && !errors.Is(err, errLost)) || !again(ctx) {
			return err
		}
	}
}

// write commits the attempt's next reports.
//
// This is how a run recovers when Redis has lost what it had acknowledged (a
// failover, a restart): the *runtime.GapError says up to which report the attempt is
// known, so the run numbers on from there and sends what it shows now. A job
// record carries the job's whole view, so none of the lost ones is needed again.
func (h *hand) write(ctx context.Context, reports ...runtime.Report) error {
	for i := range reports {
		h.r.Fence.Seq++
		reports[i].Job, reports[i].Fence = h.r.Job, h.r.Fence
	}
	for {
		asked := time.Now()
		acks, err := h.e.Commit(ctx, reports...)
		alone := errors.Is(err, engine.ErrUnreplicated)
		switch {
		case errors.Is(err, engine.ErrUnreachable) && again(ctx):
			h.unreachable++
			continue
		case alone:
			h.unreplicated++
		case err != nil:
			return err
		}
		var gap *runtime.GapError
		if errors.As(acks[0].Err, &gap) {
			h.gaps++
			h.r.Fence.Seq = gap.Have
			for i := range reports {
				h.r.Fence.Seq++
				reports[i].Fence = h.r.Fence
			}
			continue
		}
		if errors.Is(acks[0].Err, runtime.ErrSuperseded) {
			return fmt.Errorf("%w: %w", errLost, acks[0].Err)
		}
		for i, a := range acks {
			if a.Err != nil {
				return fmt.Errorf("%s of job %s: %w", reports[i].Type, h.r.Job, a.Err)
			}
			h.ledger.add(fact{topic: h.topic, job: h.r.Job, id: a.ID, kind: reports[i].Type, asked: asked, alone: alone})
		}
		return nil
	}
}

// work writes about n records of the job's life: an attempt that fails, one that
// goes on, and an end. pace is asked before each batch.
func (h *hand) work(ctx context.Context, rng *rand.Rand, n int, pace func() error) error {
	if err := errors.Join(h.open(ctx), h.begin(ctx, 1)); err != nil {
		return err
	}
	for done := 0; done < n; {
		if err := pace(); err != nil {
			return err
		}
		batch := make([]runtime.Report, 1+rng.IntN(12))
		for i := range batch {
			batch[i] = h.something(rng, n)
		}
		if err := h.sure(ctx, batch...); err != nil {
			return err
		}
		if done < n/2 && done+len(batch) >= n/2 {
			err := h.sure(ctx, runtime.Report{
				Type: engine.JobRetrying, Error: &engine.JobError{Code: "error", Message: "the disk is full"},
				Retries: 1, RetryAt: time.Now().Add(time.Second),
			})
			if err == nil {
				err = h.begin(ctx, h.r.Fence.Attempt+1)
			}
			if errors.Is(err, errLost) {
				err = h.rescue(ctx)
			}
			if err != nil {
				return err
			}
		}
		if rng.IntN(8) == 0 {
			if err := h.notify(ctx, done); err != nil {
				return err
			}
		}
		done += len(batch)
	}
	ends := []runtime.Report{
		{Type: engine.JobSucceeded, Result: []byte(`{"rows":10}`)},
		{Type: engine.JobFailed, Error: &engine.JobError{Code: "permanent", Message: "no such table"}},
		{Type: engine.JobCanceled},
	}
	return h.sure(ctx, ends[rng.IntN(len(ends))])
}

// sure is write, with a rescue where Redis has lost the attempt itself.
func (h *hand) sure(ctx context.Context, reports ...runtime.Report) error {
	for {
		err := h.write(ctx, reports...)
		if !errors.Is(err, errLost) {
			return err
		}
		if err := h.rescue(ctx); err != nil {
			return err
		}
	}
}

func (h *hand) something(rng *rand.Rand, n int) runtime.Report {
	h.tenths = min(h.tenths+rng.IntN(1+2*1000/n), 999)
	shown := &runtime.Shown{Progress: engine.Progress{Done: int64(h.tenths), Total: 1000, Unit: "rows"}, Message: "reading"}
	switch rng.IntN(20) {
	case 0:
		shown.Stage = engine.Stage{Name: "write", Index: 1, Count: 3}
		return runtime.Report{Type: engine.JobStage, Tenths: h.tenths, Shown: shown}
	case 1:
		return runtime.Report{Type: engine.JobLog, Tenths: h.tenths, Log: &engine.LogLine{Level: "warn", Text: "row 7: no date"}}
	case 2:
		return runtime.Report{Type: engine.JobCheckpoint, Tenths: h.tenths, Checkpoint: []byte("offset 4096"), Shown: shown}
	}
	return runtime.Report{Type: engine.JobProgress, Tenths: h.tenths, Shown: shown}
}

func (h *hand) notify(ctx context.Context, k int) error {
	key := fmt.Sprintf("%s-%d", h.r.Job, k)
	text := fmt.Sprintf(`{"text":"%s"}`, key)
	for {
		asked := time.Now()
		err := h.e.Notify(ctx, h.topic, key, []byte(text))
		if errors.Is(err, engine.ErrUnreachable) && again(ctx) {
			h.unreachable++
			continue
		}
		if err != nil && !errors.Is(err, engine.ErrUnreplicated) {
			return err
		}
		h.ledger.add(fact{topic: h.topic, kind: engine.NotificationCreated, text: text, asked: asked})
		return nil
	}
}

// beating reads the last heartbeat of every running job.
func beating(ctx context.Context, e *engine.Rig) (map[engine.JobID]string, error) {
	shards, err := e.Silent(ctx, slices.Repeat([]uint64{1 << 53}, e.Shards()))
	all := map[engine.JobID]string{}
	for _, s := range shards {
		maps.Copy(all, s.Silent)
	}
	return all, err
}

// lastBeat is what a claim names a job's last heartbeat by; "" for one that does not run.
func lastBeat(t testing.TB, e *engine.Rig, job engine.JobID) string {
	t.Helper()
	beats, err := beating(soon(t), e)
	must(t, err)
	return beats[job]
}
