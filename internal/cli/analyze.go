package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/worker/analysis"
)

func (a *app) analyzeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "analyze FILE…",
		Short: "Profile CSV or NDJSON files",
		Long: `Profile CSV or NDJSON files: rows, and of each column its type, nulls, distinct
values, range, mean, quantiles and most frequent values.

A file is first taken into the data folder, then analyzed by a job. A worker runs in
this process, beside whatever others there are. Interrupted or killed, the job goes
on from its checkpoint when the command is run again, or by any worker of the same
data folder. That needs a Redis that outlasts the process: redis-server or
valkey-server on this machine, or --redis.

With --server the file is sent to that gateway, whose workers analyze it. An upload
that was cut or interrupted goes on where it was when the command is run again, if the
file has the same content. To tell, the file is read once before it is sent.`,
		Example: `  tidemark analyze orders.csv
  tidemark analyze --json 2025-*.csv | jq 'select(.type == "profile").profile.rows'
  tidemark analyze --server http://127.0.0.1:8080 orders.csv
  tidemark analyze --set analysis.max_record_bytes=16MiB wide.csv`,
		Args: cobra.MinimumNArgs(1),
	}
	// Its worker serves one queue, so --queues would be a promise that it breaks.
	config.AddFlags(cmd.Flags(), "worker.concurrency")
	serverFlag(cmd)
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
	remotely, err := byServer(c)
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

	open := openHere
	if remotely {
		open = openThere
	}
	var stop func() error
	if run.session, run.place, stop, err = open(ctx, c, run.board); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop(), run.session.close()) }()
	if !asJSON {
		defer run.session.watchQueues(ctx, run.board)()
	}
	all := run.all(ctx, files)
	if ctx.Err() != nil {
		// The worker hands the jobs back, with their checkpoints, before anything is
		// said about where they stand.
		err = errors.Join(stop(), run.left(all))
	}
	closeBoard()
	return errors.Join(err, run.report(all))
}

// A place is where files are analyzed: on this machine, or at a server.
type place interface {
	// submit finds or makes a file's job. Its error names the file. send, unless it is
	// nil, brings the file there, and is called while the job is shown already.
	submit(ctx context.Context, file string) (id engine.JobID, send func(context.Context) error, err error)
	// profile reads what a job has left, and says where it stands.
	profile(ctx context.Context, f *analyzed) (text []byte, where string, err error)
	// goOn says how a job goes on that is left as it is.
	goOn(j engine.Job) string
}

// analyses is one run of the command.
type analyses struct {
	app     *app
	session *session
	place   place
	board   *board
	asJSON  bool
}

// An analyzed file, and what has become of its job.
type analyzed struct {
	file string
	id   engine.JobID // "" while it has no job
	job  engine.Job
	err  error // why it has no job, or why the job could not be followed to its end
	// unsent is why the file could not be brought to its job, which may have ended for it.
	unsent error
}

// all submits the files one after the other and follows their jobs at once, to their
// end. One that cannot be taken does not keep the others from it.
func (r *analyses) all(ctx context.Context, files []string) []*analyzed {
	var following sync.WaitGroup
	all := make([]*analyzed, len(files))
	for i, file := range files {
		f := &analyzed{file: file}
		all[i] = f
		if f.err = check(file); f.err != nil {
			continue
		}
		var send func(context.Context) error
		if f.id, send, f.err = r.place.submit(ctx, file); f.err != nil {
			continue
		}
		followed, giveUp := context.WithCancelCause(ctx)
		following.Go(func() {
			defer giveUp(nil)
			f.err = r.follow(followed, f)
		})
		if send == nil {
			continue
		}
		// The records of a job that has ended meanwhile tell more than the upload's error.
		if err := send(followed); err != nil && !errors.Is(err, engine.ErrEnded) {
			f.unsent = err
			giveUp(err)
		}
	}
	following.Wait()
	for _, f := range all {
		if f.unsent != nil && ctx.Err() == nil {
			f.err = f.unsent
		}
	}
	return all
}

// checkedBytes is how much of a file shows whether it may be a table.
const checkedBytes = 4 << 10

// check refuses a file that is no table before it is taken or sent. What cannot be opened is for
// those who take or send it to say.
func check(file string) error {
	f, _, err := datadir.OpenRegular(file)
	if errors.Is(err, datadir.ErrEmpty) {
		return fmt.Errorf("%s: %w", file, analysis.Check("", nil))
	}
	if err != nil {
		return nil
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, checkedBytes))
	if err != nil {
		return nil
	}
	if err := analysis.Check(filepath.Base(file), head); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// follow shows a job to its end.
func (r *analyses) follow(ctx context.Context, f *analyzed) error {
	for u, err := range r.session.store.Follow(ctx, engine.FollowQuery{Filter: engine.Filter{Job: f.id}}) {
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
func (r *analyses) left(all []*analyzed) error {
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

func (r *analyses) leftJob(ctx context.Context, f *analyzed) {
	if v, err := r.session.store.Job(ctx, f.id); err == nil {
		if j, err := v.Job(); err == nil {
			f.job = j
		}
	}
	r.board.note(fmt.Sprintf("%s: job %s stands at %s; %s", f.file, f.id, percent(f.job.Percent), r.place.goOn(f.job)))
}

// report prints the profiles of what has succeeded, and returns why the rest has not.
func (r *analyses) report(all []*analyzed) error {
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

func (r *analyses) profile(f *analyzed) error {
	// Also after an interruption: what has been worked out is printed.
	text, where, err := r.place.profile(context.Background(), f)
	if err != nil {
		return err
	}
	if r.asJSON {
		writeLine(r.app.out, struct {
			Type    string          `json:"type"`
			File    string          `json:"file"`
			Job     engine.JobID    `json:"job"`
			Path    string          `json:"path"`
			Profile json.RawMessage `json:"profile"`
		}{"profile", f.file, f.id, where, text})
		return nil
	}
	var p analysis.Profile
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("read the profile of %s in %s: %w", f.file, where, err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", oneLine(f.file))
	if err := p.WriteText(&b); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nFull profile: %s\n\n", oneLine(where))
	_, err = r.app.out.Write(b.Bytes())
	return err
}
