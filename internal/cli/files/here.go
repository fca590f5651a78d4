package files

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/internal/storefault"
	"github.com/tidemark-dev/tidemark/worker/analysis"
)

// hashLabel is the label by which a job of the same content is found again.
const hashLabel = "sha256"

// here is the place of a command that has the data folder open, and a worker of its own.
type here struct {
	session *session.Session
	board   *screen.Board
}

// openHere opens the data folder and its Redis, and starts a worker. stop drains that;
// it may be called twice.
func openHere(ctx context.Context, c *config.Config, b *screen.Board, queues []string) (_ *session.Session, _ place, stop func() error, err error) {
	blobs, err := session.OpenBlobs(ctx, c)
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := session.Open(ctx, c, session.LogTo(c, b))
	if err != nil {
		return nil, nil, nil, errors.Join(err, blobs.Close())
	}
	if s.Redis.Kind() == datadir.Embedded {
		b.Note(s.Redis.Describe())
	}
	s.Blobs = blobs
	h := &here{session: s, board: b}
	drain, err := h.work(ctx, queues)
	if err != nil {
		return nil, nil, nil, errors.Join(err, s.Close())
	}
	return s, h, sync.OnceValue(drain), nil
}

// work starts this process's own worker, and returns what drains it. It serves the queues of the command alone:
// what others have enqueued is for workers of theirs.
func (h *here) work(ctx context.Context, queues []string) (drain func() error, err error) {
	w, grace, err := session.NewWorker(h.session, nil, queues...)
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

// submit takes a file into the blob store and finds or makes its job.
func (h *here) submit(ctx context.Context, file string, k kind) (submitted, error) {
	b, err := datadir.Take(ctx, h.session.Blobs.Bucket, file, func(done, total int64) { h.board.Taking(file, "taking into the data folder", done, total) })
	if err != nil {
		return submitted{}, err
	}
	s := h.session
	live, err := liveJob(ctx, s, k.jobType, hashLabel, b.SHA256, func(j engine.Job) bool {
		// One in another queue may wait there for ever.
		at, err := runtime.Of(s.Engine).Current(ctx, j.ID)
		return err == nil && at.Queue == k.queue
	})
	if err != nil {
		return submitted{}, fmt.Errorf("%s: %w", file, err)
	}
	if live.ID != "" {
		h.board.Note(fmt.Sprintf("%s: going on with job %s", file, live.ID))
		return submitted{job: live.ID}, nil
	}
	made, err := s.Engine.Enqueue(ctx, engine.Spec{
		Topic: s.Config.Topic, Type: k.jobType, Title: screen.Cut(b.Name, engine.MaxTitleRunes), Queue: k.queue,
		Labels: map[string]string{hashLabel: b.SHA256}, Payload: k.payload(b),
	})
	if errors.Is(err, engine.ErrUnreplicated) {
		h.board.Note(fmt.Sprintf("%s: %v", file, err))
		err = nil
	}
	if err != nil {
		return submitted{}, fmt.Errorf("%s: %w", file, err)
	}
	return submitted{job: made.ID}, nil
}

// liveJob finds the topic's job of a type that has not ended, has a label, and is one
// that will do; one without ID for none.
func liveJob(ctx context.Context, s *session.Session, jobType, label, value string, do func(engine.Job) bool) (engine.Job, error) {
	q := engine.JobsQuery{Limit: 500}
	for {
		page, err := s.Store.Jobs(ctx, s.Config.Topic, q)
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
			if j.Type == jobType && j.Labels[label] == value && !j.Canceling && do(j) {
				return j, nil
			}
		}
		if q.After = page.Next; q.After == "" {
			return engine.Job{}, nil
		}
	}
}

func (h *here) profile(ctx context.Context, i *item) ([]byte, string, error) {
	text, where, err := h.readProfile(ctx, i)
	if err != nil {
		return nil, "", fmt.Errorf("read the profile of %s: %w; another worker of this Redis has another data folder or storage.url: let them share one", i.name, storefault.Of(err))
	}
	return text, where, nil
}

// readProfile also tells where the profile is: the file that has all of it, or its ID.
func (h *here) readProfile(ctx context.Context, i *item) (text []byte, where string, err error) {
	m, err := h.manifest(ctx, i.id, analysis.ProfileName)
	if err != nil {
		return nil, "", err
	}
	r := artifacts.NewReader(ctx, h.session.Blobs.Bucket, m)
	text, err = io.ReadAll(r)
	err = errors.Join(err, r.Close())
	where = m.ID
	if key, ok := m.File(); ok && h.session.Blobs.Dir != "" { // the names in the key are plain
		where = filepath.Join(h.session.Blobs.Dir, filepath.FromSlash(key))
	}
	return text, where, err
}

// manifest finds an artifact of a job that Redis knows.
func (h *here) manifest(ctx context.Context, job engine.JobID, name string) (*artifacts.Manifest, error) {
	v, j, err := h.session.Job(ctx, job)
	if err != nil {
		return nil, err
	}
	n := slices.IndexFunc(j.Artifacts, func(a engine.Artifact) bool { return a.Name == name })
	if n < 0 {
		return nil, artifacts.ErrNotFound
	}
	return artifacts.Find(ctx, h.session.Blobs.Bucket, artifacts.Place{Topic: v.Topic, Job: job, Name: name}, j.Artifacts[n])
}

// artifact finds an artifact, also where Redis has forgotten its job, as a gateway does.
func (h *here) artifact(ctx context.Context, id string, _ bool) (content, error) {
	job, name, ok := blobs.ParseArtifactID(id)
	err := session.ErrNoArtifact
	var m *artifacts.Manifest
	if ok {
		if m, err = h.manifest(ctx, job, name); errors.Is(err, engine.ErrNotFound) {
			m, err = h.outlived(ctx, job, name)
		}
	}
	switch {
	case errors.Is(err, artifacts.ErrNotFound), errors.Is(err, engine.ErrInvalidJobID), errors.Is(err, session.ErrNoArtifact):
		return content{}, fmt.Errorf("artifact %s: %w", id, session.ErrNoArtifact)
	case errors.Is(err, engine.ErrUnreachable), errors.Is(err, engine.ErrNotFound): // of another topic than --topic
		return content{}, fmt.Errorf("artifact %s: %w", id, err)
	case err != nil:
		return content{}, fmt.Errorf("artifact %s: %w", id, storefault.Of(err))
	}
	if why := m.GoneAt(time.Now()); why != "" {
		return content{}, fmt.Errorf("artifact %s: the file is no longer kept: %s", id, why)
	}
	return content{id: id, doing: "writing", size: m.Size, sha256: m.SHA256, open: func(ctx context.Context, from int64) (io.ReadCloser, error) {
		r := artifacts.NewReader(ctx, h.session.Blobs.Bucket, m)
		_, err := r.Seek(from, io.SeekStart)
		return r, err
	}}, nil
}

// outlived finds an artifact of a job that Redis has forgotten, unless the job was removed.
func (h *here) outlived(ctx context.Context, job engine.JobID, name string) (*artifacts.Manifest, error) {
	if removed, err := runtime.Of(h.session.Engine).WasRemoved(ctx, job); removed || err != nil {
		return nil, cmp.Or(err, artifacts.ErrNotFound)
	}
	topic, err := artifacts.Owner(ctx, h.session.Blobs.Bucket, job)
	if err != nil {
		return nil, err
	}
	return artifacts.Published(ctx, h.session.Blobs.Bucket, artifacts.Place{Topic: topic, Job: job, Name: name})
}

func (h *here) datasets(ctx context.Context, after string) ([]dataset, string, error) {
	return datasetsHere(ctx, h.session.Blobs, h.session.Config.Topic, after)
}

func (h *here) goOn(engine.Job) string {
	if h.session.Redis.Kind() == datadir.Embedded {
		return "it ends with this process"
	}
	return "run the same command again, or a worker of this data folder, to go on"
}
