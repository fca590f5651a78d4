package export_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/internal/logtest"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/internal/s3test"
	"github.com/tidemark-dev/tidemark/internal/storage"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/analysis"
	"github.com/tidemark-dev/tidemark/worker/export"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
	"github.com/tidemark-dev/tidemark/worker/upload"
)

// A rig has a worker with the three processors of files, on one store.
type rig struct {
	t      testing.TB
	ctx    context.Context //nolint:containedctx // of the test, as t is
	e      *engine.Engine
	bucket *blob.Bucket
}

func newRig(t testing.TB, o storage.Options, sources ...sqlsource.Source) *rig {
	t.Helper()
	patience := 2 * time.Minute
	if _, bench := t.(*testing.B); bench {
		patience = time.Hour
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	p := &rig{t: t, ctx: ctx}
	redis := redistest.Server(t).URL() // its end looks for goroutines that are left
	store, err := storage.Open(ctx, o, t.TempDir())
	p.must(err)
	t.Cleanup(func() { p.check(store.Close()) })
	p.bucket = store.Bucket
	p.e, err = engine.Open(ctx, engine.Options{URL: redis, Logger: logtest.Quiet()})
	p.must(err)
	t.Cleanup(func() { p.check(p.e.Close()) })
	w, err := worker.New(worker.Options{
		Engine: p.e, Blobs: p.bucket, Concurrency: 40, BackoffMin: 10 * time.Millisecond, BackoffMax: 100 * time.Millisecond,
		ReconcileInterval: 200 * time.Millisecond, Logger: logtest.Quiet(),
	})
	p.must(err)
	analysis.Register(w, p.bucket, analysis.Options{})
	upload.Register(w, p.bucket, upload.Options{})
	export.Register(w, p.bucket, sources...)
	p.must(w.Start(ctx))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		p.check(w.Stop(ctx))
	})
	return p
}

func (p *rig) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *rig) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Error(err)
	}
}

// table is a CSV as exports write it, of some more than so many bytes.
func table(size int) []byte {
	b := bytes.NewBufferString("id,name,price\n")
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(b, "%d,name %d,%d.50\n", i, i%97, i%7)
	}
	return b.Bytes()
}

// put keeps a file as an upload of a topic.
func (p *rig) put(t testing.TB, topic engine.Topic, file []byte) string {
	t.Helper()
	id, err := runtime.Of(p.e).NewJobID(topic)
	if err == nil {
		err = p.bucket.WriteAll(p.ctx, blobs.Upload(topic, id), file, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return blobs.Upload(topic, id)
}

func (p *rig) enqueue(t testing.TB, topic engine.Topic, kind string, attempts int, payload map[string]any) engine.JobID {
	t.Helper()
	body, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	made, err := p.e.Enqueue(p.ctx, engine.Spec{Topic: topic, Type: kind, MaxAttempts: attempts, Payload: json.RawMessage(body)})
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

func (p *rig) wait(t testing.TB, id engine.JobID, want engine.State) engine.Job {
	t.Helper()
	j, err := p.e.Wait(p.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if j.State != want {
		t.Fatalf("job %s of type %s is %s, want %s: %+v", id, j.Type, j.State, want, j.Error)
	}
	return j
}

// whole checks what a job that succeeded has left, of a file.
func (p *rig) whole(t *testing.T, topic engine.Topic, j engine.Job, file []byte) {
	t.Helper()
	if j.Type == upload.JobType {
		m, err := datasets.Get(p.ctx, p.bucket, topic, j.ID)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := p.bucket.ReadAll(p.ctx, blobs.Dataset(topic, j.ID, blobs.DatasetBytes))
		if err != nil || !bytes.Equal(kept, file) || m.Size != int64(len(file)) {
			t.Errorf("the dataset has %d of %d bytes, %v", len(kept), len(file), err)
		}
		return
	}
	if len(j.Artifacts) == 0 {
		t.Fatal("it has no artifact")
	}
	for _, a := range j.Artifacts {
		m, err := artifacts.Find(p.ctx, p.bucket, artifacts.Place{Topic: topic, Job: j.ID, Name: a.Name}, a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(artifacts.NewReader(p.ctx, p.bucket, m))
		if err != nil || int64(len(b)) != a.Size {
			t.Errorf("%s has %d of %d bytes, %v", a.Name, len(b), a.Size, err)
		}
		if j.Type == export.JobType && !bytes.Equal(b, file) {
			t.Errorf("the export has %d bytes and other ones, the table %d", len(b), len(file))
		}
	}
}

// nothing checks that a job which failed has left nothing that users see, and says why without names and secrets.
func (p *rig) nothing(t *testing.T, topic engine.Topic, j engine.Job, says string) {
	t.Helper()
	if len(j.Artifacts) > 0 {
		t.Errorf("it shows %+v", j.Artifacts)
	}
	if _, err := datasets.Held(p.ctx, p.bucket, topic, j.ID); !errors.Is(err, datasets.ErrNotFound) {
		t.Errorf("there is a dataset of it: %v", err)
	}
	text := j.Error.Message
	if !strings.Contains(text, says) {
		t.Errorf("it says %q, want %q", text, says)
	}
	for _, secret := range []string{s3test.AccessKey, s3test.SecretKey, "planted", "incoming/", "datasets/", "artifacts/", "127.0.0.1"} {
		if strings.Contains(text, secret) {
			t.Errorf("it says %q", text)
		}
	}
}

// kinds are the jobs of files, each with the folder to which it writes.
var kinds = []struct{ of, writes string }{{upload.JobType, blobs.Datasets}, {export.JobType, blobs.Artifacts}, {analysis.JobType, blobs.Artifacts}}

// Jobs whose store fails end with a clear failure, and leave nothing that anyone sees; or they wait, and go on.
// A job beside them is unharmed.
func TestJobsOfAStoreThatFails(t *testing.T) {
	server := s3test.Start(t)
	p := newRig(t, storage.Options{URL: server.URL(), CredentialsFile: server.CredentialsFile()})
	file := table(2 << 20)
	n := 0
	t.Run("cases", func(t *testing.T) {
		for name, c := range map[string]struct {
			fault  s3test.Fault
			writes bool   // requests for what the job writes fail, and not those for what it reads
			says   string // of a failure that stays; "": it goes on
			back   bool   // the fault ends once the job is to be tried again
			beside bool   // the fault ends once the job beside has ended
		}{
			"the quota is reached mid-way": {fault: s3test.Fault{After: 1, Status: 403, Code: "QuotaExceeded"}, writes: true, says: "the store's quota is used up"},
			"503 for good":                 {fault: s3test.Fault{Status: 503, Code: "SlowDown"}, says: "the store "},
			"500 for a while":              {fault: s3test.Fault{Times: 5, Status: 500, Code: "InternalError"}},
			"away, and back":               {fault: s3test.Fault{CutBody: 1}, back: true},
			"slow":                         {fault: s3test.Fault{Stall: true}, beside: true},
		} {
			for _, kind := range kinds {
				n++
				topic := engine.Topic(fmt.Sprintf("user:%d", 100+n))
				t.Run(kind.of+", "+name, func(t *testing.T) {
					t.Parallel()
					payload := map[string]any{"blob": p.put(t, topic, file), "name": "orders.csv", "size": len(file)}
					if kind.of == export.JobType {
						made := p.wait(t, p.enqueue(t, topic, upload.JobType, 0, payload), engine.Succeeded)
						payload = map[string]any{"dataset": made.ID, "format": "csv"}
					}
					fault := c.fault
					if fault.Key = string(topic); c.writes {
						fault.Key = kind.writes + "/" + string(topic)
					}
					attempts := 0
					if c.says != "" {
						attempts = 1
					}
					remove := server.Fail(fault)
					defer remove()
					job := p.enqueue(t, topic, kind.of, attempts, payload)
					other := "team:" + topic[len("user:"):]
					small := table(1 << 10)
					beside := p.enqueue(t, other, upload.JobType, 1, map[string]any{"blob": p.put(t, other, small), "name": "orders.csv"})
					if c.back {
						p.retrying(t, job)
						remove()
					}
					p.whole(t, other, p.wait(t, beside, engine.Succeeded), small)
					if c.beside {
						remove()
					}
					if c.says != "" {
						j := p.wait(t, job, engine.Failed)
						remove()
						p.nothing(t, topic, j, c.says)
						again, err := p.e.Retry(p.ctx, job, engine.RetryQuery{})
						if err != nil {
							t.Fatal(err)
						}
						job = again.ID
					}
					p.whole(t, topic, p.wait(t, job, engine.Succeeded), file)
				})
			}
		}
	})
}

// retrying waits until a job is to be tried again.
func (p *rig) retrying(t *testing.T, job engine.JobID) {
	t.Helper()
	for u, err := range p.e.Follow(p.ctx, engine.FollowQuery{Filter: engine.Filter{Job: job}}) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Kind != engine.UpdateRecord {
			continue
		}
		switch r, err := u.Record(); {
		case err != nil:
			t.Fatal(err)
		case r.Type == engine.JobRetrying:
			return
		}
	}
	t.Fatalf("job %s was not tried again", job)
}
