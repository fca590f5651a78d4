package worker_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/worker"
)

// onEachBucket runs a test with a store of files, and with one in memory.
func onEachBucket(t *testing.T, test func(t *testing.T, bucket *blob.Bucket)) {
	t.Helper()
	t.Run("folder", func(t *testing.T) {
		bucket, err := datadir.Blobs(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		closing(t, bucket)
		test(t, bucket)
	})
	t.Run("memory", func(t *testing.T) { test(t, inMemory(t)) })
}

func inMemory(t *testing.T) *blob.Bucket {
	t.Helper()
	bucket := memblob.OpenBucket(nil)
	closing(t, bucket)
	return bucket
}

// closing closes a bucket at the test's end.
func closing(t *testing.T, bucket *blob.Bucket) {
	t.Helper()
	t.Cleanup(func() {
		if err := bucket.Close(); err != nil {
			t.Error(err)
		}
	})
}

// line is the i-th of a report, and of 1,000 bytes.
func row(i int) []byte { return fmt.Appendf(nil, "%0999d\n", i) }

func rowsOf(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		b.Write(row(i))
	}
	return b.Bytes()
}

// served is what a reader gets of an artifact that a view lists.
func served(t *testing.T, bucket *blob.Bucket, a engine.Artifact) []byte {
	t.Helper()
	job := engine.JobID(strings.TrimSuffix(a.ID, "."+a.Name))
	m, err := artifacts.Find(soon(t), bucket, artifacts.Place{Topic: topic, Job: job, Name: a.Name}, a)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(artifacts.NewReader(soon(t), bucket, m))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// only is the one artifact that a job's view lists. It has the wanted bytes.
func only(t *testing.T, bucket *blob.Bucket, j *engine.Job, name string, want []byte) engine.Artifact {
	t.Helper()
	if len(j.Artifacts) != 1 {
		t.Fatalf("the job's artifacts are %+v, want one", j.Artifacts)
	}
	a, sum := j.Artifacts[0], sha256.Sum256(want)
	if a.ID != string(j.ID)+"."+name || a.Name != name || a.Size != int64(len(want)) || a.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("the view says %+v", a)
	}
	if !bytes.Equal(served(t, bucket, a), want) {
		t.Errorf("%s has other bytes", a.ID)
	}
	return a
}

// report is a handler that writes n lines, with a checkpoint after every hundredth. step is called
// before each line, and its error is the handler's.
func report(n int, step func(run *worker.Run, i int) error) func(context.Context, *worker.Run, struct{}) error {
	return func(ctx context.Context, run *worker.Run, _ struct{}) error {
		next := 0
		if _, err := run.Resume(&next); err != nil {
			return err
		}
		out, err := run.Artifact(ctx, "report.csv", worker.ArtifactOptions{})
		if err != nil {
			return err
		}
		if out.Size() != int64(next)*1000 {
			return worker.Permanent(fmt.Errorf("the artifact has %d bytes at line %d", out.Size(), next))
		}
		for ; next < n; next++ {
			if err := step(run, next); err != nil {
				return err
			}
			if _, err := out.Write(row(next)); err != nil {
				return err
			}
			if next%100 == 99 {
				if err := run.Checkpoint(next + 1); err != nil {
					return err
				}
			}
		}
		if err := out.Close(); err != nil {
			return err
		}
		return step(run, n)
	}
}

// An attempt goes on where the last checkpoint was; what was written after it is written again, and
// nobody sees the artifact before it is closed. An attempt that was lost after Close changes nothing.
func TestAnArtifactGoesOnAtTheCheckpoint(t *testing.T) {
	e := real(t)
	onEachBucket(t, func(t *testing.T, bucket *blob.Bucket) {
		const n = 2150
		o := brief(e)
		o.Blobs = bucket
		w := build(t, o)
		dies := map[int]int{1: 50, 2: 1234, 3: 1299, 4: n}
		worker.Handle(w, "report", report(n, func(run *worker.Run, i int) error {
			if i == dies[run.Attempt()] {
				run.Log("info", "dying")
				return worker.RetryAfter(errors.New("it dies"), 0)
			}
			return nil
		}))
		start(t, w)
		job := enqueue(t, e, "report", func(s *engine.Spec) { s.MaxAttempts = 10 })
		all := history(t, e, job, nil)
		if last(all).State != engine.Succeeded || last(all).Attempt != 5 {
			t.Fatal(tell(all))
		}
		a := only(t, bucket, last(all), "report.csv", rowsOf(n))
		if a.Type != "text/csv" || a.ExpiresAt != nil || count(all, engine.JobArtifact) != 1 {
			t.Errorf("%+v, in %d records", a, count(all, engine.JobArtifact))
		}
		closed := false
		for _, r := range all {
			closed = closed || r.Type == engine.JobArtifact
			if (len(r.Job.Artifacts) == 1) != closed {
				t.Errorf("%s %s shows %+v", r.ID, r.Type, r.Job.Artifacts)
			}
		}
		if got, err := e.Artifacts(soon(t), job); err != nil || !reflect.DeepEqual(got, last(all).Artifacts) {
			t.Errorf("Artifacts: %+v, %v", got, err)
		}
	})
}

// An attempt that another has superseded writes on, and adds nothing.
func TestASupersededAttemptAddsNothing(t *testing.T) {
	e := real(t)
	onEachBucket(t, func(t *testing.T, bucket *blob.Bucket) {
		const n = 1250
		woken, ended := make(chan struct{}), make(chan error, 2)
		frozen := brief(e)
		frozen.Blobs, frozen.HeartbeatInterval, frozen.Lease, frozen.RescuesPerSecond = bucket, time.Minute, 10*time.Minute, 0.001
		w := build(t, frozen)
		next := report(n, func(run *worker.Run, _ int) error {
			if run.Attempt() == 1 {
				return errors.New("the wrong worker has it")
			}
			return nil
		})
		worker.Handle(w, "report", func(ctx context.Context, run *worker.Run, p struct{}) error {
			if run.Attempt() > 1 {
				return next(ctx, run, p)
			}
			out, err := run.Artifact(ctx, "report.csv", worker.ArtifactOptions{})
			if err != nil {
				return err
			}
			for i := range 100 {
				_, _ = out.Write(row(i))
			}
			if err := run.Checkpoint(100); err != nil {
				return err
			}
			_, _ = out.Write(bytes.Repeat([]byte("ghost "), 2<<20)) // a part of its own
			<-woken
			_, _ = out.Write([]byte("ghost"))
			ended <- run.Checkpoint(101)
			ended <- out.Close()
			return nil
		})
		start(t, w)
		job := enqueue(t, e, "report")
		awaitRecord(t, e, job, func(r engine.Record) bool { return r.Type == engine.JobCheckpoint })
		o := brief(e)
		o.Blobs = bucket
		rescuer := build(t, o)
		worker.Handle(rescuer, "report", next)
		start(t, rescuer)
		all := history(t, e, job, nil)
		if last(all).State != engine.Succeeded || last(all).Attempt < 2 {
			t.Fatal(tell(all))
		}
		close(woken)
		for range 2 {
			if err := <-ended; !errors.Is(err, worker.ErrSuperseded) {
				t.Errorf("the frozen attempt: %v", err)
			}
		}
		v, err := e.Job(soon(t), job)
		if err != nil {
			t.Fatal(err)
		}
		j, err := v.Job()
		if err != nil {
			t.Fatal(err)
		}
		only(t, bucket, &j, "report.csv", rowsOf(n))
	})
}

// A retry has what the job had closed by its checkpoint, goes on with what was open, and needs nothing
// of the job in the end.
func TestARetryGoesOnWithTheArtifacts(t *testing.T) {
	e := real(t)
	onEachBucket(t, func(t *testing.T, bucket *blob.Bucket) {
		o := brief(e)
		o.Blobs = bucket
		w := build(t, o)
		var again atomic.Bool
		worker.Handle(w, "report", func(ctx context.Context, run *worker.Run, p struct{}) error {
			if !again.Load() {
				first, err := run.Artifact(ctx, "first.json", worker.ArtifactOptions{Expires: time.Hour})
				if err != nil {
					return err
				}
				if _, err := first.Write([]byte("{}\n")); err != nil {
					return err
				}
				if err := first.Close(); err != nil {
					return err
				}
			} else if got := run.Artifacts(); len(got) != 1 || got[0].ID != string(run.ID())+".first.json" || got[0].ExpiresAt == nil {
				return worker.Permanent(fmt.Errorf("the retry begins with %+v", got))
			}
			return report(1500, func(_ *worker.Run, i int) error {
				if i == 1350 && !again.Load() {
					return worker.Permanent(errors.New("it fails"))
				}
				return nil
			})(ctx, run, p)
		})
		start(t, w)
		job := enqueue(t, e, "report")
		if j := last(history(t, e, job, nil)); j.State != engine.Failed || len(j.Artifacts) != 1 {
			t.Fatalf("the first job: %+v", j)
		}
		again.Store(true)
		got, err := e.Retry(soon(t), job, engine.RetryQuery{})
		if err != nil {
			t.Fatal(err)
		}
		j := last(history(t, e, got.ID, nil))
		if j.State != engine.Succeeded || len(j.Artifacts) != 2 {
			t.Fatalf("the retry: %+v, %+v", j, j.Error)
		}
		if err := artifacts.Delete(soon(t), bucket, "", job, unpinned); err != nil {
			t.Fatal(err)
		}
		if b := served(t, bucket, j.Artifacts[0]); string(b) != "{}\n" {
			t.Errorf("%s: %q", j.Artifacts[0].ID, b)
		}
		if b := served(t, bucket, j.Artifacts[1]); !bytes.Equal(b, rowsOf(1500)) {
			t.Errorf("%s has other bytes", j.Artifacts[1].ID)
		}

		// From the start there is nothing to go on with.
		again.Store(false)
		got, err = e.Retry(soon(t), job, engine.RetryQuery{FromStart: true, Key: "again"})
		if err != nil {
			t.Fatal(err)
		}
		if j := last(history(t, e, got.ID, nil)); j.Error == nil || j.Error.Message != "it fails" {
			t.Errorf("from the start: %+v", j.Error)
		}
	})
}

// Each mistake has an error that names the field, and the run goes on.
func TestArtifactsThatCannotBe(t *testing.T) {
	e := real(t)
	bucket := inMemory(t)
	o := brief(e)
	o.Blobs = bucket
	w := build(t, o)
	worker.Handle(w, "many", func(ctx context.Context, run *worker.Run, _ struct{}) error {
		for _, c := range []struct {
			name string
			o    worker.ArtifactOptions
			want string
		}{
			{"", worker.ArtifactOptions{}, "name: want ["},
			{"../x", worker.ArtifactOptions{}, "name: want ["},
			{".hidden", worker.ArtifactOptions{}, "name: want ["},
			{strings.Repeat("x", 129), worker.ArtifactOptions{}, "name: want ["},
			{"x.attrs", worker.ArtifactOptions{}, ".attrs"},
			{"x", worker.ArtifactOptions{Type: "no type"}, "Type"},
			{"x", worker.ArtifactOptions{Type: "text/csv; a=\"{}\""}, "Type"},
			{"x", worker.ArtifactOptions{Type: "text/" + strings.Repeat("x", engine.MaxArtifactTypeBytes-4)}, "Type"},
			{"x", worker.ArtifactOptions{Expires: time.Second}, "Expires"},
		} {
			if _, err := run.Artifact(ctx, c.name, c.o); !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				return fmt.Errorf("%q with %+v: %w", c.name, c.o, err)
			}
		}
		for i := range engine.MaxArtifacts {
			out, err := run.Artifact(ctx, fmt.Sprintf("%s-%02d", strings.Repeat("n", 125), i), worker.ArtifactOptions{Type: "text/" + strings.Repeat("x", engine.MaxArtifactTypeBytes-5), Expires: time.Hour})
			if err != nil {
				return err
			}
			if i == 0 {
				if _, err := run.Artifact(ctx, out.Name(), worker.ArtifactOptions{}); !errors.Is(err, engine.ErrInvalid) {
					return fmt.Errorf("opened twice: %w", err)
				}
				if _, err := run.Artifact(ctx, strings.ToUpper(out.Name()), worker.ArtifactOptions{}); !errors.Is(err, engine.ErrInvalid) {
					return fmt.Errorf("in capitals: %w", err)
				}
			}
			if err := errors.Join(out.Close(), out.Close()); err != nil {
				return err
			}
			if _, err := out.Write([]byte("x")); err == nil {
				return errors.New("it is written to after Close")
			}
		}
		if _, err := run.Artifact(ctx, "one-more", worker.ArtifactOptions{}); !errors.Is(err, worker.ErrArtifactFull) {
			return fmt.Errorf("one too many: %w", err)
		}
		return nil
	})
	start(t, w)
	all := history(t, e, enqueue(t, e, "many"), nil)
	if j := last(all); j.State != engine.Succeeded || len(j.Artifacts) != engine.MaxArtifacts {
		t.Fatalf("%s with %d artifacts: %+v", j.State, len(j.Artifacts), j.Error)
	}

	none := build(t, brief(e))
	worker.Handle(none, "none", func(ctx context.Context, run *worker.Run, _ struct{}) error {
		_, err := run.Artifact(ctx, "report.csv", worker.ArtifactOptions{})
		return worker.Permanent(err)
	})
	start(t, none)
	if j := last(history(t, e, enqueue(t, e, "none"), nil)); j.Error == nil || !strings.Contains(j.Error.Message, "Options.Blobs") {
		t.Errorf("without a blob store: %+v", j.Error)
	}
	if _, err := worker.RunFrom(soon(t)).Artifact(soon(t), "report.csv", worker.ArtifactOptions{}); !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), "there is no job") {
		t.Errorf("without a job: %v", err)
	}
}

// A handler that begins anew drops what there is.
func TestAnArtifactFromTheStart(t *testing.T) {
	e, bucket := real(t), inMemory(t)
	o := brief(e)
	o.Blobs = bucket
	w := build(t, o)
	worker.Handle(w, "report", func(ctx context.Context, run *worker.Run, _ struct{}) error {
		out, err := run.Artifact(ctx, "report.csv", worker.ArtifactOptions{FromStart: true})
		if err != nil {
			return err
		}
		if out.Size() != 0 {
			return worker.Permanent(fmt.Errorf("it has %d bytes", out.Size()))
		}
		_, _ = fmt.Fprintf(out, "of attempt %d", run.Attempt())
		if err := run.Checkpoint(1); err != nil {
			return err
		}
		if run.Attempt() == 1 {
			return worker.RetryAfter(errors.New("it dies"), 0)
		}
		return out.Close()
	})
	start(t, w)
	only(t, bucket, last(history(t, e, enqueue(t, e, "report"), nil)), "report.csv", []byte("of attempt 2"))
}

// The handler of an adopted task writes artifacts as any other does.
func TestAnAdoptedTaskWritesAnArtifact(t *testing.T) {
	e, bucket := real(t), inMemory(t)
	o := briefAdopt(e)
	o.Blobs = bucket
	a := adopt(t, o)
	serve(t, e, briefServer(), handling(a, "report", func(ctx context.Context, _ *asynq.Task) error {
		run := worker.RunFrom(ctx)
		return report(250, func(_ *worker.Run, i int) error {
			if i == 120 && run.Attempt() == 1 {
				return errors.New("it dies")
			}
			return nil
		})(ctx, run, struct{}{})
	}))
	job := jobOf(t, e, send(t, e, "report"))
	only(t, bucket, last(history(t, e, job, nil)), "report.csv", rowsOf(250))
}

func unpinned(context.Context, engine.JobID) (bool, error) { return false, nil }
