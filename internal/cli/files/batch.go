package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/worker/analysis"
	"github.com/tidemark-dev/tidemark/worker/export"
	"github.com/tidemark-dev/tidemark/worker/upload"
)

// An App is one run of the command line, for its commands about files.
type App struct{ Out, Err io.Writer }

// A kind is what becomes of files.
type kind struct {
	jobType, queue string
	// payload is that of a file's job, once the file is in the blob store.
	payload func(datadir.Blob) any
	// check refuses a file before it is taken or sent. May be nil.
	check func(file string) error
	// queues are those that a worker of this process serves.
	queues []string
}

var (
	analyses = kind{
		jobType: analysis.JobType, queue: analysis.Queue, check: checkWith(analysis.Check), queues: []string{analysis.Queue},
		payload: func(b datadir.Blob) any {
			return analysis.Payload{Blob: b.Key, Name: b.Name, Size: b.Size, SHA256: b.SHA256}
		},
	}
	uploads = kind{
		jobType: upload.JobType, queue: upload.Queue, check: checkWith(upload.Check), queues: []string{upload.Queue, export.Queue},
		payload: func(b datadir.Blob) any {
			return upload.Payload{Blob: b.Key, Name: b.Name, Size: b.Size, SHA256: b.SHA256}
		},
	}
)

// A place is where a command's files and jobs are: on this machine, or at a server.
type place interface {
	// submit finds or makes a file's job. Its error names the file.
	submit(ctx context.Context, file string, k kind) (submitted, error)
	// profile reads what an analysis has left, and says where it stands.
	profile(ctx context.Context, i *item) (text []byte, where string, err error)
	// artifact finds a file that a job has written. While it cannot be reached, one that is known to be written is
	// waited for.
	artifact(ctx context.Context, id string, written bool) (content, error)
	// datasets gives a page of the topic's datasets, and what to give for the next; "" at the end.
	datasets(ctx context.Context, after string) (page []dataset, next string, err error)
	// goOn says how a job goes on that is left as it is.
	goOn(j engine.Job) string
}

// What a place says of a file that was submitted.
type submitted struct {
	job engine.JobID
	// send brings the file there, and is called while the job is shown already. It is nil for one that is there.
	send func(context.Context) error
}

// A batch is one run of a command about files.
type batch struct {
	app     App
	session *session.Session
	place   place
	board   *screen.Board
	asJSON  bool
	kind    kind
	// width is how many files are submitted at a time.
	width int
	// sendOnly leaves jobs alone once their files are there.
	sendOnly bool

	stop  func() error // drains this process's worker; may be called twice
	close func()       // leaves the last of everything on the screen; may be called twice
}

// An item is a file, and what has become of its job.
type item struct {
	name string
	id   engine.JobID // "" while it has no job
	job  engine.Job
	err  error // why it has no job, or why the job could not be followed to its end
	// unsent is why the file could not be brought to its job, which may have ended for it.
	unsent error
	sent   bool // and left alone since
}

// run opens what a command about files needs, and does it.
func (a App) run(cmd *cobra.Command, k kind, asJSON bool, do func(context.Context, *batch) error) (err error) {
	ctx := cmd.Context()
	c, err := session.Settings(cmd)
	if err != nil {
		return err
	}
	remotely, err := session.ByServer(c)
	if err != nil {
		return err
	}
	r := &batch{app: a, board: screen.NewBoard(a.painter(asJSON)), asJSON: asJSON, kind: k, width: 1}
	r.close = sync.OnceFunc(r.board.Close)
	defer r.close()
	open := openHere
	if remotely {
		open = openThere
	}
	if r.session, r.place, r.stop, err = open(ctx, c, r.board, k.queues); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop(), r.session.Close()) }()
	if !asJSON {
		defer r.session.WatchQueues(ctx, r.board)()
	}
	return do(ctx, r)
}

// painter is what shows how far the files are.
func (a App) painter(asJSON bool) screen.Painter {
	switch {
	case asJSON:
		return screen.NewJSONLines(a.Out)
	case screen.OnTerminal(a.Err):
		return screen.NewBars(a.Err)
	}
	return screen.NewLines(a.Err)
}

// all submits the files and follows their jobs at once, to their end. One that cannot be taken does not keep
// the others from it.
func (r *batch) all(ctx context.Context, files []string) []*item {
	var following, submitting sync.WaitGroup
	all := make([]*item, len(files))
	slots := make(chan struct{}, r.width)
	for n, file := range files {
		i := &item{name: file}
		all[n] = i
		slots <- struct{}{}
		submitting.Go(func() {
			defer func() { <-slots }()
			r.one(ctx, i, &following)
		})
	}
	submitting.Wait()
	following.Wait()
	for _, i := range all {
		if i.unsent != nil && ctx.Err() == nil {
			i.err = i.unsent
		}
	}
	return all
}

// errSent ends the following of a job whose file is there.
var errSent = errors.New("sent")

// one submits a file, and has its job followed.
func (r *batch) one(ctx context.Context, i *item, following *sync.WaitGroup) {
	if r.kind.check != nil {
		if i.err = r.kind.check(i.name); i.err != nil {
			return
		}
	}
	s, err := r.place.submit(ctx, i.name, r.kind)
	if err != nil {
		i.err = err
		return
	}
	i.id = s.job
	followed, giveUp := context.WithCancelCause(ctx)
	seen := make(chan struct{}) // closed once there is a view of the job
	following.Go(func() {
		defer giveUp(nil)
		if i.err = r.follow(followed, i, sync.OnceFunc(func() { close(seen) })); errors.Is(i.err, errSent) {
			i.err, i.sent = nil, true
		}
	})
	if s.send != nil {
		switch err := s.send(followed); {
		case errors.Is(err, engine.ErrEnded):
			return // the records of the job tell more than the upload's error, and follow waits for them
		case err != nil:
			i.unsent = err
			giveUp(err)
			return
		}
	}
	if r.sendOnly {
		select {
		case <-seen:
		case <-followed.Done():
		}
		giveUp(errSent)
	}
}

// follow shows a job to its end, and calls seen with each view of it.
func (r *batch) follow(ctx context.Context, i *item, seen func()) error {
	for u, err := range r.session.Store.Follow(ctx, engine.FollowQuery{Filter: engine.Filter{Job: i.id}}) {
		if err != nil {
			return err
		}
		if err := r.board.Update(i.name, u, func(j engine.Job) { i.job = j; seen() }); err != nil {
			return err
		}
	}
	return nil
}

// leftTimeout bounds the look at where jobs stand that are left.
const leftTimeout = 10 * time.Second

// left says where the files stand that are not done with, and how to go on. The worker of this process hands
// the jobs back, with their checkpoints, before anything is said.
func (r *batch) left(all ...*item) error {
	stopped := r.stop()
	ctx, cancel := context.WithTimeout(context.Background(), leftTimeout)
	defer cancel()
	for _, i := range all {
		switch {
		case i.job.State.Ended(), i.sent:
		case i.id != "":
			i.err = nil
			r.leftJob(ctx, i)
		case errors.Is(i.err, session.ErrInterrupted), errors.Is(i.err, context.Canceled):
			i.err = nil
			r.board.Note(i.name + " was not taken; run the same command again")
		}
	}
	return errors.Join(stopped, session.ErrInterrupted)
}

func (r *batch) leftJob(ctx context.Context, i *item) {
	if v, err := r.session.Store.Job(ctx, i.id); err == nil {
		if j, err := v.Job(); err == nil {
			i.job = j
		}
	}
	r.board.Note(fmt.Sprintf("%s: job %s stands at %s; %s", i.name, i.id, screen.Percent(i.job.Percent), r.place.goOn(i.job)))
}

// failure is why an item has not succeeded; nil for one that has, or that is left as it is.
func (i *item) failure() error {
	switch {
	case i.err != nil && i.id == "":
		return i.err // names the file
	case i.err != nil:
		return fmt.Errorf("%s: %w", i.name, i.err)
	case i.job.State.Ended() && i.job.State != engine.Succeeded:
		return &session.JobEndedError{Job: i.job}
	}
	return nil
}

// report hands on what has succeeded, and returns why the rest has not.
func (r *batch) report(all []*item, succeeded func(*item) error) error {
	var errs []error
	for _, i := range all {
		err := i.failure()
		if err == nil && (i.sent || i.job.State == engine.Succeeded) {
			err = succeeded(i)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
