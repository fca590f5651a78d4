package cli_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/internal/storage"
)

var soak = os.Getenv("TIDEMARK_SOAK") == "1"

// kills is how often what is killed at random moments is killed.
var kills = map[bool]int{false: 2, true: 30}[soak]

// A disturbed is a worker that a test kills, with a Redis and a store that outlive it.
type disturbed struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // of the test, as t is
	engine *engine.Engine
	store  *storage.Store
	dir    string
	args   []string
	worker *process
}

// disturb starts a worker with more arguments, whose blobs are where o says, or in its data folder.
func disturb(t *testing.T, o storage.Options, args ...string) *disturbed {
	t.Helper()
	d := &disturbed{t: t, dir: t.TempDir()}
	var cancel context.CancelFunc
	d.ctx, cancel = context.WithTimeout(t.Context(), time.Duration(kills)*patience)
	server := redistest.Server(t)
	var err error
	if d.store, err = storage.Open(t.Context(), o, d.dir+"/tidemark-data"); err != nil {
		t.Fatal(err)
	}
	if d.engine, err = engine.Open(t.Context(), engine.Options{URL: server.URL()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(d.engine.Close(), d.store.Close()); err != nil {
			t.Error(err)
		}
	})
	d.args = append([]string{"worker", "--redis", server.URL()}, append(brisk, args...)...)
	if o.URL != "" {
		d.args = append(d.args, "--set", "storage.url="+o.URL, "--set", "storage.credentials_file="+o.CredentialsFile)
	}
	d.worker = spawnFor(d.ctx, t, "tidemark", d.dir, d.args...)
	return d
}

// put writes a blob that jobs may name.
func (d *disturbed) put(key string, text []byte) {
	d.t.Helper()
	if err := d.store.WriteAll(d.ctx, key, text, nil); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disturbed) enqueue(jobType, queue string, payload any) engine.JobID {
	d.t.Helper()
	job, err := d.engine.Enqueue(d.ctx, engine.Spec{Topic: "user:42", Type: jobType, Queue: queue, Payload: payload})
	if err != nil {
		d.t.Fatal(err)
	}
	return job.ID
}

// end waits until a job has succeeded.
func (d *disturbed) end(id engine.JobID) engine.Job {
	d.t.Helper()
	job, err := d.engine.Wait(d.ctx, id)
	if err != nil || job.State != engine.Succeeded {
		d.t.Fatalf("the %s is %s after %d attempts: %+v, %v", job.Type, job.State, job.Attempt, job.Error, err)
	}
	return job
}

// kill kills the worker, lets the test look at what it left, and starts another one.
func (d *disturbed) kill(look func()) {
	d.t.Helper()
	d.worker.signal(syscall.SIGKILL)
	if code := d.worker.wait(); code != -1 {
		d.t.Fatalf("the worker ended with %d, not by the signal: %s", code, d.worker.stderr.String())
	}
	look()
	d.worker = spawnFor(d.ctx, d.t, "tidemark", d.dir, d.args...)
}

// stop ends the last worker, which must drain.
func (d *disturbed) stop() {
	d.t.Helper()
	d.worker.signal(syscall.SIGTERM)
	if code := d.worker.wait(); code != 0 {
		d.t.Errorf("the last worker exits with %d: %s", code, d.worker.stderr.String())
	}
}

// reach waits until a job has come as far as that.
func (d *disturbed) reach(id engine.JobID, percent float64) {
	d.t.Helper()
	for r := range d.records(engine.Filter{Job: id}) {
		if r.Job.Percent >= percent {
			return
		}
	}
	d.t.Fatalf("the job has ended before it has come to %v%%", percent)
}

// records are those of the jobs, from the first one on.
func (d *disturbed) records(of engine.Filter) func(yield func(engine.Record) bool) {
	return func(yield func(engine.Record) bool) {
		for u, err := range d.engine.Follow(d.ctx, engine.FollowQuery{Topic: "user:42", Filter: of, After: engine.Beginning}) {
			if err != nil {
				d.t.Fatal(err)
			}
			if u.Kind != engine.UpdateRecord {
				continue
			}
			r, err := u.Entry.Record()
			if err != nil {
				d.t.Fatal(err)
			}
			if !yield(r) {
				return
			}
		}
	}
}
