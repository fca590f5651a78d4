package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/internal/storefault"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/analysis"
	"github.com/tidemark-dev/tidemark/worker/processor"
)

// hashLabel is the label by which a job of the same content is found again.
const hashLabel = "sha256"

// here is the place of a command that has the data folder open, and a worker of its own.
type here struct {
	session *session
	board   *board
}

// openHere opens the data folder and its Redis, and starts a worker. stop drains that;
// it may be called twice.
func openHere(ctx context.Context, c *config.Config, b *board) (_ *session, _ place, stop func() error, err error) {
	blobs, err := openBlobs(ctx, c)
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := open(ctx, c, logTo(c, b))
	if err != nil {
		return nil, nil, nil, errors.Join(err, blobs.Close())
	}
	if s.redis.Kind() == datadir.Embedded {
		b.note(s.redis.Describe())
	}
	s.blobs = blobs
	h := &here{session: s, board: b}
	drain, err := h.work(ctx)
	if err != nil {
		return nil, nil, nil, errors.Join(err, s.close())
	}
	return s, h, sync.OnceValue(drain), nil
}

// work starts this process's own worker, and returns what drains it.
func (h *here) work(ctx context.Context) (drain func() error, err error) {
	// Of its own queue alone: what others have enqueued is for workers of theirs.
	w, grace, err := newWorker(h.session, nil, analysis.Queue)
	if err != nil {
		return nil, err
	}
	if err := w.Start(ctx); err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	return func() error {
		// Not ctx: its end may be why the worker stops.
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		return w.Stop(ctx)
	}, nil
}

// newWorker makes a worker with all processors, on the session's bucket. grace is how long its
// Stop may take. metrics may be nil.
func newWorker(s *session, metrics *prometheus.Registry, queues ...string) (w *worker.Worker, grace time.Duration, err error) {
	o := s.config.Worker
	o.Engine, o.Logger, o.Registry, o.Queues, o.Blobs = s.engine, s.log, metrics, queues, s.blobs.Bucket
	o.QueueWeights = maps.Clone(o.QueueWeights)
	maps.DeleteFunc(o.QueueWeights, func(q string, _ int) bool { return !slices.Contains(queues, q) })
	w, err = worker.New(o)
	if err != nil {
		return nil, 0, err
	}
	for _, p := range s.config.Processors {
		p.Register(w, processor.Deps{Blobs: s.blobs.Bucket, Sources: s.config.Sources})
	}
	return w, o.DrainGrace + o.CancelGrace + closeTimeout, nil
}

// submit takes a file into the blob store and finds or makes its job.
func (h *here) submit(ctx context.Context, file string) (engine.JobID, func(context.Context) error, error) {
	b, err := datadir.Take(ctx, h.session.blobs.Bucket, file, func(done, total int64) { h.board.taking(file, "taking into the data folder", done, total) })
	if err != nil {
		return "", nil, err
	}
	s := h.session
	live, err := s.liveAnalysis(ctx, hashLabel, b.SHA256, func(j engine.Job) bool {
		// One in another queue may wait there for ever.
		at, err := runtime.Of(s.engine).Current(ctx, j.ID)
		return err == nil && at.Queue == analysis.Queue
	})
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", file, err)
	}
	if live.ID != "" {
		h.board.note(fmt.Sprintf("%s: going on with job %s", file, live.ID))
		return live.ID, nil, nil
	}
	made, err := s.engine.Enqueue(ctx, engine.Spec{
		Topic: s.config.Topic, Type: analysis.JobType, Title: cut(b.Name, engine.MaxTitleRunes), Queue: analysis.Queue,
		Labels:  map[string]string{hashLabel: b.SHA256},
		Payload: analysis.Payload{Blob: b.Key, Name: b.Name, Size: b.Size, SHA256: b.SHA256},
	})
	if errors.Is(err, engine.ErrUnreplicated) {
		h.board.note(fmt.Sprintf("%s: %v", file, err))
		err = nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", file, err)
	}
	return made.ID, nil, nil
}

// liveAnalysis finds the topic's analysis that has not ended, has a label, and is one
// that will do; one without ID for none.
func (s *session) liveAnalysis(ctx context.Context, label, value string, do func(engine.Job) bool) (engine.Job, error) {
	q := engine.JobsQuery{Limit: 500}
	for {
		page, err := s.store.Jobs(ctx, s.config.Topic, q)
		if err != nil {
			return engine.Job{}, err
		}
		for _, v := range page.Jobs {
			j, err := v.Job()
			if err != nil {
				return engine.Job{}, err
			}
			if j.State.Ended() {
				return engine.Job{}, nil // the living come first
			}
			if j.Type == analysis.JobType && j.Labels[label] == value && !j.Canceling && do(j) {
				return j, nil
			}
		}
		if q.After = page.Next; q.After == "" {
			return engine.Job{}, nil
		}
	}
}

func (h *here) profile(ctx context.Context, f *analyzed) ([]byte, string, error) {
	text, where, err := h.readProfile(ctx, f)
	if err != nil {
		return nil, "", fmt.Errorf("read the profile of %s: %w; another worker of this Redis has another data folder or storage.url: let them share one", f.file, storefault.Of(err))
	}
	return text, where, nil
}

// readProfile also tells where the profile is: the file that has all of it, or its ID.
func (h *here) readProfile(ctx context.Context, f *analyzed) (text []byte, where string, err error) {
	i := slices.IndexFunc(f.job.Artifacts, func(a engine.Artifact) bool { return a.Name == analysis.ProfileName })
	if i < 0 {
		return nil, "", errors.New("its job has none")
	}
	s, a := h.session, f.job.Artifacts[i]
	m, err := artifacts.Find(ctx, s.blobs.Bucket, artifacts.Place{Topic: s.config.Topic, Job: f.id, Name: a.Name}, a)
	if err != nil {
		return nil, "", err
	}
	r := artifacts.NewReader(ctx, s.blobs.Bucket, m)
	text, err = io.ReadAll(r)
	err = errors.Join(err, r.Close())
	where = a.ID
	if key, ok := m.File(); ok && s.blobs.Dir != "" { // the names in the key are plain
		where = filepath.Join(s.blobs.Dir, filepath.FromSlash(key))
	}
	return text, where, err
}

func (h *here) goOn(engine.Job) string {
	if h.session.redis.Kind() == datadir.Embedded {
		return "it ends with this process"
	}
	return "run the same command again, or a worker of this data folder, to go on"
}
