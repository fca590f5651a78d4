package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/analysis"
)

// analysisQueue is where analyze puts its jobs. Every worker of the command line serves
// it.
const analysisQueue = "analysis"

// hashLabel is the label by which a job of the same content is found again.
const hashLabel = "sha256"

func (a *app) analyzeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "analyze FILE…",
		Short: "Profile CSV or NDJSON files",
		Long: `Profile CSV or NDJSON files: rows, and of each column its type, nulls, distinct
values, range, mean, quantiles and most frequent values.

A file is first taken into the data folder, then analysed by a job. A worker runs in
this process, beside whatever others there are. Interrupted or killed, the job goes
on from its checkpoint when the command is run again, or by any worker of the same
data folder. That needs a Redis that outlasts the process: redis-server or
valkey-server on this machine, or --redis.`,
		Example: `  tidemark analyze orders.csv
  tidemark analyze --json 2025-*.csv | jq 'select(.type == "profile").profile.rows'
  tidemark analyze --set analysis.max_record_bytes=16MiB wide.csv`,
		Args: cobra.MinimumNArgs(1),
	}
	// Its worker serves one queue, so --queues would be a promise that it breaks.
	config.AddFlags(cmd.Flags(), "worker.concurrency")
	asJSON := jsonFlag(cmd, "print progress and profiles as lines of JSON")
	cmd.RunE = func(cmd *cobra.Command, files []string) error { return a.analyze(cmd, files, *asJSON) }
	return cmd
}

func (a *app) analyze(cmd *cobra.Command, files []string, asJSON bool) (err error) {
	ctx := cmd.Context()
	c, err := settings(cmd)
	if err != nil {
		return err
	}
	var p painter
	switch {
	case asJSON:
		p = jsonLines{a.out}
	case onTerminal(a.err):
		p = newBars(a.err)
	default:
		p = newLines(a.err)
	}
	run := &analyses{app: a, board: newBoard(p), asJSON: asJSON}
	closeBoard := sync.OnceFunc(run.board.close)
	defer closeBoard()

	bucket, err := datadir.Blobs(ctx, c.Data.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bucket.Close()) }()
	run.bucket = bucket
	run.session, err = open(ctx, c, logTo(c, run.board))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.session.close()) }()
	if run.session.redis.Kind() == datadir.Embedded {
		run.board.note(run.session.redis.Describe())
	}

	stop, err := run.work(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	all := run.all(ctx, files)
	if ctx.Err() != nil {
		// The worker hands the jobs back, with their checkpoints, before anything is
		// said about where they stand.
		err = errors.Join(stop(), run.left(all))
	}
	closeBoard()
	return errors.Join(err, run.report(all))
}

// analyses is one run of the command.
type analyses struct {
	app     *app
	session *session
	bucket  *blob.Bucket
	board   *board
	asJSON  bool
}

// An analysed file, and what has become of its job.
type analysed struct {
	file string
	id   engine.JobID // "" while it has no job
	job  engine.Job
	err  error // why it has no job, or why the job could not be followed to its end
}

// work starts this process's own worker. stop drains it and may be called twice.
func (r *analyses) work(ctx context.Context) (stop func() error, err error) {
	// Of its own queue alone: what others have enqueued for workers of theirs must not
	// fail here for want of a handler.
	w, grace, err := newWorker(r.session, r.bucket, worker.Queue{Name: analysisQueue})
	if err != nil {
		return nil, err
	}
	if err := w.Start(ctx); err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	return sync.OnceValue(func() error {
		// Not ctx: its end may be why the worker stops.
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		return w.Stop(ctx)
	}), nil
}

// newWorker makes a worker that knows all types of jobs there are. grace is how long
// its Stop may take.
func newWorker(s *session, bucket *blob.Bucket, queues ...worker.Queue) (w *worker.Worker, grace time.Duration, err error) {
	o := s.config.Worker
	o.Engine, o.Logger, o.Queues = s.engine, s.log, queues
	w, err = worker.New(o)
	if err != nil {
		return nil, 0, err
	}
	analysis.Register(w, bucket, s.config.Analysis)
	return w, o.DrainGrace + o.CancelGrace + closeTimeout, nil
}

// jobTypes are what newWorker registers.
var jobTypes = []string{analysis.JobType}

// all takes the files one after the other and follows their jobs at once, to their
// end. One that cannot be taken does not keep the others from it.
func (r *analyses) all(ctx context.Context, files []string) []*analysed {
	var following sync.WaitGroup
	all := make([]*analysed, len(files))
	for i, file := range files {
		f := &analysed{file: file}
		all[i] = f
		if f.id, f.err = r.submit(ctx, file); f.err == nil {
			following.Go(func() { f.err = r.follow(ctx, f) })
		}
	}
	following.Wait()
	return all
}

// submit takes a file into the blob store and finds or makes its job. Its error names
// the file.
func (r *analyses) submit(ctx context.Context, file string) (engine.JobID, error) {
	b, err := datadir.Take(ctx, r.bucket, file, func(done, total int64) { r.board.taking(file, done, total) })
	if err != nil {
		return "", err
	}
	s := r.session
	live, err := s.liveAnalysis(ctx, b.SHA256)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if live != "" {
		r.board.note(fmt.Sprintf("%s: going on with job %s", file, live))
		return live, nil
	}
	made, err := s.engine.Enqueue(ctx, engine.Spec{
		Topic: s.config.Topic, Type: analysis.JobType, Title: cut(b.Name, engine.MaxTitleRunes), Queue: analysisQueue,
		Labels:  map[string]string{hashLabel: b.SHA256},
		Payload: analysis.Payload{Blob: b.Key, Name: b.Name, Size: b.Size, SHA256: b.SHA256},
	})
	if errors.Is(err, engine.ErrUnreplicated) {
		r.board.note(fmt.Sprintf("%s: %v", file, err))
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return made.Job, nil
}

// liveAnalysis finds the topic's job that analyses a content and has not ended; "" for
// none.
func (s *session) liveAnalysis(ctx context.Context, hash string) (engine.JobID, error) {
	q := engine.JobsQuery{Limit: 500}
	for {
		page, err := s.engine.Jobs(ctx, s.config.Topic, q)
		if err != nil {
			return "", err
		}
		for _, v := range page.Jobs {
			j, err := v.Job()
			if err != nil {
				return "", err
			}
			if j.State.Ended() {
				return "", nil // the living come first
			}
			if j.Type != analysis.JobType || j.Labels[hashLabel] != hash || j.Canceling {
				continue
			}
			// One in another queue may wait there for ever.
			if at, err := s.engine.Current(ctx, j.ID); err == nil && at.Queue == analysisQueue {
				return j.ID, nil
			}
		}
		if q.After = page.Next; q.After == "" {
			return "", nil
		}
	}
}

// follow shows a job to its end.
func (r *analyses) follow(ctx context.Context, f *analysed) error {
	for u, err := range r.session.engine.Follow(ctx, engine.FollowQuery{Job: f.id}) {
		if err != nil {
			return err
		}
		if err := r.board.update(f.file, u, func(j engine.Job) { f.job = j }); err != nil {
			return err
		}
	}
	return nil
}

// left says where the files stand that are not done with, and how to go on.
func (r *analyses) left(all []*analysed) error {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	for _, f := range all {
		switch {
		case f.job.State.Ended():
		case f.id != "":
			f.err = nil
			r.leftJob(ctx, f)
		case errors.Is(f.err, errInterrupted), errors.Is(f.err, context.Canceled):
			f.err = nil
			r.board.note(f.file + " was not taken; run the same command again")
		}
	}
	return errInterrupted
}

func (r *analyses) leftJob(ctx context.Context, f *analysed) {
	how := "run the same command again, or a worker of this data folder, to go on"
	if r.session.redis.Kind() == datadir.Embedded {
		how = "it ends with this process"
	}
	if v, err := r.session.engine.Job(ctx, f.id); err == nil {
		if j, err := v.Job(); err == nil {
			f.job = j
		}
	}
	r.board.note(fmt.Sprintf("%s: job %s stands at %s; %s", f.file, f.id, percent(f.job.Percent), how))
}

// report prints the profiles of what has succeeded, and returns why the rest has not.
func (r *analyses) report(all []*analysed) error {
	var errs []error
	for _, f := range all {
		switch {
		case f.err != nil && f.id == "":
			errs = append(errs, f.err) // names the file
		case f.err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", f.file, f.err))
		case f.job.State == engine.Succeeded:
			errs = append(errs, r.profile(f))
		case f.job.State.Ended():
			errs = append(errs, &jobEndedError{f.job})
		}
	}
	return errors.Join(errs...)
}

func (r *analyses) profile(f *analysed) error {
	key := analysis.ProfileKey(string(f.id))
	text, err := r.bucket.ReadAll(context.Background(), key)
	if err != nil {
		return fmt.Errorf("read the profile of %s: %w; another worker of this Redis has another data folder: let them share one", f.file, err)
	}
	// The blob store is a folder, and the names in a profile's key are plain.
	path := filepath.Join(r.session.config.Data.Dir, "blobs", filepath.FromSlash(key))
	if r.asJSON {
		writeLine(r.app.out, struct {
			Type    string          `json:"type"`
			File    string          `json:"file"`
			Job     engine.JobID    `json:"job"`
			Path    string          `json:"path"`
			Profile json.RawMessage `json:"profile"`
		}{"profile", f.file, f.id, path, text})
		return nil
	}
	var p analysis.Profile
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("read the profile of %s in %s: %w", f.file, path, err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", oneLine(f.file))
	if err := p.WriteText(&b); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nFull profile: %s\n\n", path)
	_, err = r.app.out.Write(b.Bytes())
	return err
}
