package cli_test

import (
	"context"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker/export"
	"github.com/tidemark-dev/tidemark/worker/upload"
)

// A worker that is killed twice while it exports shows no half file, and the next one ends with the bytes of
// an undisturbed run.
func TestKilledExportEndsWithTheSameBytes(t *testing.T) {
	dir := t.TempDir()
	bucket, err := datadir.Blobs(t.Context(), filepath.Join(dir, "tidemark-data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Close(); err != nil {
		t.Fatal(err)
	}
	writeTable(t, filepath.Join(dir, "tidemark-data", "blobs", "table.csv"), tableBytes)
	server := redistest.Server(t)
	e, err := engine.Open(t.Context(), engine.Options{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	work := func() *process {
		return spawn(t, dir, append([]string{"worker", "--redis", server.URL()}, brisk...)...)
	}
	enqueue := func(jobType, queue string, payload any) engine.JobID {
		job, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: jobType, Queue: queue, Payload: payload})
		if err != nil {
			t.Fatal(err)
		}
		return job.ID
	}
	end := func(id engine.JobID) engine.Job {
		job, err := e.Wait(ctx, id)
		if err != nil || job.State != engine.Succeeded {
			t.Fatalf("the %s is %s: %+v, %v", job.Type, job.State, job.Error, err)
		}
		return job
	}

	worker := work()
	dataset := enqueue(upload.JobType, upload.Queue, upload.Payload{Blob: "table.csv", Name: "table.csv"})
	end(dataset)
	p := export.Payload{Dataset: dataset, Request: export.Request{Format: "xlsx"}}
	want := end(enqueue(export.JobType, export.Queue, p))
	killed := enqueue(export.JobType, export.Queue, p)
	for _, at := range []float64{20, 60} {
		reach(ctx, t, e, killed, at)
		worker.signal(syscall.SIGKILL)
		worker.wait()
		v, err := e.Job(ctx, killed)
		if err != nil {
			t.Fatal(err)
		}
		if job, err := v.Job(); err != nil || len(job.Artifacts) > 0 {
			t.Errorf("killed at %v%%, the job shows %+v, %v", at, job.Artifacts, err)
		}
		worker = work()
	}
	got := end(killed)
	worker.signal(syscall.SIGTERM)
	if code := worker.wait(); code != 0 {
		t.Errorf("the last worker exits with %d: %s", code, worker.stderr.String())
	}
	if got.Attempt < 3 || len(want.Artifacts) != 1 || len(got.Artifacts) != 1 || got.Artifacts[0].SHA256 != want.Artifacts[0].SHA256 || want.Artifacts[0].Size == 0 {
		t.Errorf("after %d attempts the artifacts are %+v, want those of %+v", got.Attempt, got.Artifacts, want.Artifacts)
	}
	if string(got.Result) != string(want.Result) {
		t.Errorf("the result is %s, want %s", got.Result, want.Result)
	}
}
