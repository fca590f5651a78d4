package engine_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// A turn is an attempt of a job as its run numbers it.
type turn struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // of the test, as t is
	e   *engine.Rig
	r   runtime.Report
}

// begun enqueues a job and begins its first attempt.
func begun(t *testing.T, ctx context.Context, e *engine.Rig, topic engine.Topic) (*turn, *runtime.Started) {
	t.Helper()
	got, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export", Payload: []byte("rows")})
	must(t, err)
	return (&turn{t: t, ctx: ctx, e: e, r: runtime.Report{Job: got.ID}}).next(1)
}

// next begins an attempt of the turn's job.
func (n *turn) next(attempt int) (*turn, *runtime.Started) {
	n.t.Helper()
	after := *n
	after.r.Fence = runtime.Fence{Attempt: attempt, Token: runtime.NewToken()}
	acks := after.accepted(runtime.Report{Type: engine.JobStarted})
	if acks[0].Started == nil {
		n.t.Fatalf("attempt %d was given nothing", attempt)
	}
	return &after, acks[0].Started
}

// numbered gives reports their fences, from a number on.
func (n *turn) numbered(from uint64, reports ...runtime.Report) []runtime.Report {
	for i := range reports {
		reports[i].Job, reports[i].Fence = n.r.Job, n.r.Fence
		reports[i].Fence.Seq = from + uint64(i)
	}
	return reports
}

// accepted sends the attempt's next reports, all of which must be taken as new.
func (n *turn) accepted(reports ...runtime.Report) []runtime.Ack {
	n.t.Helper()
	acks, err := n.e.Commit(n.ctx, n.numbered(n.r.Fence.Seq+1, reports...)...)
	must(n.t, err)
	for i, a := range acks {
		if a.Err != nil || a.Duplicate || a.ID == "" {
			n.t.Fatalf("%s of attempt %d was answered %+v", reports[i].Type, n.r.Fence.Attempt, a)
		}
	}
	n.r.Fence.Seq += uint64(len(reports))
	return acks
}

// silent claims the attempt after a heartbeat, as a sweep does after the lease.
func (n *turn) silent() {
	n.t.Helper()
	flags, err := n.e.Heartbeat(n.ctx, []runtime.Beat{n.beat()})
	must(n.t, err)
	if flags[0] != runtime.FlagNone {
		n.t.Fatalf("a heartbeat of attempt %d was answered %q", n.r.Fence.Attempt, flags[0])
	}
	beats, err := beating(n.ctx, n.e)
	must(n.t, err)
	a, err := n.e.Stall(n.ctx, n.r.Job, beats[n.r.Job])
	must(n.t, err)
	if a.Attempt != n.r.Fence.Attempt+1 || !a.Waiting {
		n.t.Fatalf("claimed after attempt %d: %+v", n.r.Fence.Attempt, a)
	}
}

func (n *turn) beat() runtime.Beat {
	return runtime.Beat{Job: n.r.Job, Attempt: n.r.Fence.Attempt, Token: n.r.Fence.Token}
}

// testCheckpoint: what an attempt kept is given to the next one, byte for byte, whether
// it failed or fell silent.
func testCheckpoint(t *testing.T, ctx context.Context, e *engine.Rig) {
	var binary []byte // every byte, more than a line of them
	for i := range 1000 {
		binary = append(binary, byte(i))
	}
	retry := runtime.Report{Type: engine.JobRetrying, Error: &engine.JobError{Code: "error", Message: "disk"}, RetryAt: time.Now(), Retries: 1}
	for _, topic := range topicsOf("checkpoint")[:12] {
		run, s := begun(t, ctx, e, topic)
		given := func(checkpoint []byte, tenths, at, retries, crashes int) {
			t.Helper()
			if !bytes.Equal(s.Checkpoint, checkpoint) || (s.Checkpoint == nil) != (checkpoint == nil) || s.Tenths != tenths ||
				s.CheckpointTenths != at || s.Retries != retries || s.Crashes != crashes || s.Topic != topic || string(s.Payload) != "rows" {
				t.Errorf("attempt %d was given %+v; want %d bytes of checkpoint at %d, %d shown, %d retries, %d crashes",
					run.r.Fence.Attempt, s, len(checkpoint), at, tenths, retries, crashes)
			}
			v, err := e.Job(ctx, run.r.Job)
			must(t, err)
			j, err := v.Job()
			must(t, err)
			if attempt := run.r.Fence.Attempt; j.Percent != float64(tenths)/10 || j.Attempt != attempt ||
				(attempt == 1) != (j.ResumedFrom == nil) || (attempt > 1 && *j.ResumedFrom != float64(at)/10) {
				t.Errorf("attempt %d of the job shows %s", attempt, v.JSON)
			}
		}
		given(nil, 0, 0, 0, 0)
		run.silent() // before there is a checkpoint
		run, s = run.next(2)
		given(nil, 0, 0, 0, 1)
		run.accepted(runtime.Report{Type: engine.JobCheckpoint, Tenths: 300, Checkpoint: binary}, runtime.Report{Type: engine.JobProgress, Tenths: 500}, retry)
		run, s = run.next(3)
		given(binary, 500, 300, 1, 0) // a checkpoint forgives the crashes before it
		run.accepted(runtime.Report{Type: engine.JobProgress, Tenths: 350})
		run.silent()
		run, s = run.next(4)
		given(binary, 500, 300, 1, 1)
		run.silent()
		run, s = run.next(5)
		given(binary, 500, 300, 1, 2)
		run.accepted(runtime.Report{Type: engine.JobCheckpoint, Tenths: 614, Checkpoint: []byte{}})
		run.silent()
		run, s = run.next(6)
		given([]byte{}, 614, 614, 1, 1)
		run.accepted(runtime.Report{Type: engine.JobSucceeded})
	}
}

// testHeartbeat: one call over all shards is answered in its own order, and only an
// attempt that may report is noted as alive.
func testHeartbeat(t *testing.T, ctx context.Context, e *engine.Rig) {
	var (
		beats []runtime.Beat
		want  []runtime.Flag
		ends  []func()
	)
	alive, dead := []engine.JobID{}, []engine.JobID{}
	for i, topic := range topicsOf("heartbeat") {
		run, _ := begun(t, ctx, e, topic)
		beat, flag := run.beat(), runtime.FlagSuperseded
		end := func() { run.accepted(runtime.Report{Type: engine.JobSucceeded}) }
		switch i % 8 {
		case 0:
			flag = runtime.FlagNone
		case 1:
			must(t, e.Cancel(ctx, run.r.Job))
			flag = runtime.FlagCanceling
			end = func() { run.accepted(runtime.Report{Type: engine.JobCanceled}) }
		case 2:
			beat.Token = runtime.NewToken() // a twin of the worker
		case 3:
			beat.Attempt = 2 // not begun
		case 4:
			run.silent() // the next attempt waits
			end = func() { must(t, e.Fail(ctx, run.r.Job, 2, engine.JobError{Code: "worker_lost", Message: "twice"})) }
		case 5:
			run.silent()
			run, _ = run.next(2) // the next attempt runs; beat is of the first
		case 6:
			end()
			end = func() {}
		case 7:
			end() // no job of this ID, and one of a shard that there is not
			end = func() {}
			beat.Job = engine.JobID("99" + string(run.r.Job[2:]))
			if i%16 == 7 {
				beat.Job = run.r.Job[:2] + "01JD0000000000000000000000"
			}
		}
		if flag == runtime.FlagSuperseded {
			dead = append(dead, beat.Job)
		} else {
			alive = append(alive, beat.Job)
		}
		beats, want, ends = append(beats, beat), append(want, flag), append(ends, end)
	}
	before, err := beating(ctx, e)
	must(t, err)
	for range 2 { // a heartbeat may be sent again
		flags, err := e.Heartbeat(ctx, beats)
		must(t, err)
		if !slices.Equal(flags, want) {
			t.Errorf("the heartbeats were answered %q, want %q", flags, want)
		}
	}
	seen, err := beating(ctx, e)
	must(t, err)
	for _, job := range alive {
		if seen[job] == "" || seen[job] == before[job] {
			t.Errorf("job %s has beat %q, as before its heartbeat", job, seen[job])
		}
	}
	for i, job := range dead {
		// The current attempt's own, from its start, is all that there may be.
		if seen[job] != before[job] {
			t.Errorf("refused heartbeat %d of job %s was noted: %q, before %q", i, job, seen[job], before[job])
		}
	}
	for _, end := range ends {
		end()
	}
	if flags, err := e.Heartbeat(ctx, nil); err != nil || len(flags) != 0 {
		t.Errorf("no heartbeats were answered %v, %v", flags, err)
	}
}

// testBatch: a batch that is sent again is recognised whole, and nothing is taken
// across a gap.
func testBatch(t *testing.T, ctx context.Context, e *engine.Rig) {
	for _, topic := range topicsOf("batch")[:20] {
		run, _ := begun(t, ctx, e, topic)
		send := func(from uint64, reports ...runtime.Report) []runtime.Ack {
			t.Helper()
			acks, err := e.Commit(ctx, run.numbered(from, reports...)...)
			must(t, err)
			return acks
		}
		last := func() engine.Cursor {
			t.Helper()
			page, err := e.Replay(ctx, topic, engine.Beginning)
			must(t, err)
			return page.Head
		}
		batch := []runtime.Report{
			{Type: engine.JobProgress, Tenths: 100, Shown: &runtime.Shown{Message: "Größe \"1\""}},
			{Type: engine.JobCheckpoint, Tenths: 200, Checkpoint: []byte("offset")},
			{Type: engine.JobStage, Tenths: 200, Shown: &runtime.Shown{Stage: engine.Stage{Name: "write", Index: 1, Count: 2}}},
			{Type: engine.JobLog, Tenths: 200, Log: &engine.LogLine{Level: "warn", Text: "row 7"}},
		}
		for len(batch) < 64 { // as many as a call takes
			batch = append(batch, runtime.Report{Type: engine.JobProgress, Tenths: 200 + len(batch)})
		}
		first := run.accepted(batch...)
		for i := 1; i < len(first); i++ {
			if first[i].ID.N() != first[i-1].ID.N()+1 {
				t.Fatalf("report %d of a batch is %s, after %s", i, first[i].ID, first[i-1].ID)
			}
		}
		head := last()
		if head != first[len(first)-1].ID {
			t.Fatalf("the topic's head is %s after a batch up to %s", head, first[len(first)-1].ID)
		}
		for i, a := range send(2, batch...) {
			if !a.Duplicate || a.ID != first[i].ID || a.Err != nil {
				t.Fatalf("sent twice, report %d was answered %+v, then %+v", i, first[i], a)
			}
		}
		// What skips a number is refused, and so is all behind it.
		for i, a := range send(run.r.Fence.Seq+2, batch[:3]...) {
			if g := (*runtime.GapError)(nil); !errors.As(a.Err, &g) || g.Have != run.r.Fence.Seq {
				t.Fatalf("report %d behind a gap was answered %+v", i, a)
			}
		}
		if got := last(); got != head {
			t.Fatalf("duplicates and gaps moved the topic's head from %s to %s", head, got)
		}
		// The end of the last batch again, and what follows it.
		tail := send(run.r.Fence.Seq-1, slices.Concat(batch[62:], batch[:2])...)
		for i, a := range tail {
			if known := i < 2; a.Err != nil || a.Duplicate != known || (known && a.ID != first[62+i].ID) {
				t.Fatalf("report %d of a batch that overlaps was answered %+v", i, a)
			}
		}
		run.r.Fence.Seq += 2
		if got := last(); got != tail[3].ID || got.N() != head.N()+2 {
			t.Fatalf("the topic's head is %s after two more than %s", got, head)
		}
		// Long ago: known, but not by its ID.
		if a := send(2, batch[0])[0]; !a.Duplicate || a.Err != nil || a.ID != "" {
			t.Fatalf("a report of an earlier batch was answered %+v", a)
		}
		end := run.accepted(runtime.Report{Type: engine.JobSucceeded})[0]
		if a := send(run.r.Fence.Seq, runtime.Report{Type: engine.JobSucceeded})[0]; !a.Duplicate || a.ID != end.ID {
			t.Fatalf("the end, sent twice, was answered %+v, then %+v", end, a)
		}
	}
}
