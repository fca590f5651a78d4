package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

// A request is what a command asks of a job, and how the job shows that it holds.
type request struct {
	ask func(session.Store, context.Context, engine.JobID) error
	// done is what the job is then: "canceled".
	done string
	// told is what it is to do when nobody waits for it any more: "told to stop".
	told string
	// met says whether the job has done it. Nil: it has once the request is kept.
	met func(engine.Job) bool
	// dropped says why it never will although it goes on, as when somebody asks for the
	// opposite; "" while it may.
	dropped func(engine.Job) string
}

// controlCommand completes a command that asks something of the job that its argument
// names.
func (a *app) controlCommand(cmd *cobra.Command, r request) *cobra.Command {
	cmd.Args = cobra.ExactArgs(1)
	noWait := new(bool)
	if r.met != nil {
		noWait = cmd.Flags().Bool("no-wait", false, "return as soon as the request is kept, which is durable")
	}
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, "print the job as JSON, as it is then")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		s, err := openJob(cmd, args[0])
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		return a.control(cmd.Context(), s, engine.JobID(args[0]), r, *noWait, *asJSON)
	}
	return cmd
}

func (a *app) control(ctx context.Context, s *session.Session, id engine.JobID, r request, noWait, asJSON bool) error {
	if _, _, err := s.Job(ctx, id); err != nil {
		return err
	}
	// Of one that has ended, how it ended decides below.
	switch err := r.ask(s.Store, ctx, id); {
	case errors.Is(err, engine.ErrUnreplicated):
		fmt.Fprintln(a.err, "tidemark: "+screen.OneLine(err.Error())) // the request stands
	case errors.Is(err, engine.ErrUnreachable):
		return fmt.Errorf("%w; asking again does no harm", err)
	case err != nil && !errors.Is(err, engine.ErrEnded):
		return err
	}
	if r.met != nil && !noWait {
		if err := r.await(ctx, s, id); err != nil {
			return err
		}
	}
	v, j, err := s.Job(ctx, id)
	if err != nil {
		return err
	}
	if asJSON {
		fmt.Fprintf(screen.Exact(a.out), "%s\n", v.JSON)
	} else {
		fmt.Fprintf(a.out, "%s is %s at %s\n", id, screen.State(j), screen.Percent(j.Percent))
	}
	return r.refused(j)
}

// errSettled ends a following that has seen enough.
var errSettled = errors.New("settled")

// await follows the job until it has done what was asked, or never will.
func (r request) await(ctx context.Context, s *session.Session, id engine.JobID) error {
	var j engine.Job
	_, err := s.Follow(ctx, engine.FollowQuery{Filter: engine.Filter{Job: id}}, func(u engine.Update) (err error) {
		if j, err = session.JobOf(u, j); err == nil && j.ID != "" && (r.met(j) || r.refused(j) != nil) {
			err = errSettled
		}
		return err
	})
	switch {
	case errors.Is(err, errSettled):
		return nil
	case errors.Is(err, session.ErrInterrupted):
		return fmt.Errorf("%w; the job is %s all the same", err, r.told)
	}
	return err
}

// refused is the error of a job that has not done what was asked, and will not.
func (r request) refused(j engine.Job) error {
	why := ""
	switch {
	case r.met != nil && r.met(j):
		return nil
	case j.State == engine.Canceled:
		why = "it was canceled"
	case j.State.Ended():
		why = "it has " + string(j.State)
	case r.dropped != nil:
		why = r.dropped(j)
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("job %s was not %s: %s", j.ID, r.done, why)
}

func (a *app) cancelCommand() *cobra.Command {
	return a.controlCommand(&cobra.Command{
		Use:   "cancel JOB",
		Short: "Stop a job",
		Long: `Stop a job and its children, and wait until it has ended. One that no worker has ends at
once; one that runs hears of it within a second and ends when its handler returns.

The exit code is 0 when the job is canceled, also when it was before, and 1 when it
had ended otherwise, or does so meanwhile.`,
		Example: `  tidemark cancel 0701JDG5CW2QK3V9Y7H4N8R6ZTXB
  tidemark cancel --no-wait 0701JDG5CW2QK3V9Y7H4N8R6ZTXB`,
	}, request{
		ask: session.Store.Cancel, done: "canceled", told: "told to stop",
		met: func(j engine.Job) bool { return j.State == engine.Canceled },
	})
}

func (a *app) pauseCommand() *cobra.Command {
	return a.controlCommand(&cobra.Command{
		Use:   "pause JOB",
		Short: "Let a job rest",
		Long: `Let a job and its children rest, and wait until it does. One that no worker has rests at
once; one that runs hears of it within a second, and rests when its handler has put a
checkpoint down and returned, which frees its worker. One whose file is arriving goes on
receiving, and rests then. "tidemark resume" lets it go on from its last checkpoint.

The exit code is 0 when the job is paused, also when it was before, and 1 when it has
ended, does so meanwhile, or is resumed by somebody while it is waited for.`,
		Example: `  tidemark pause 0701JDG5CW2QK3V9Y7H4N8R6ZTXB
  tidemark pause --no-wait 0701JDG5CW2QK3V9Y7H4N8R6ZTXB`,
	}, request{
		ask: session.Store.Pause, done: "paused", told: "told to pause",
		met: func(j engine.Job) bool { return j.State == engine.Paused },
		dropped: func(j engine.Job) string {
			switch {
			case j.Canceling:
				return "it is being canceled"
			case !j.Pausing && j.State != engine.Paused:
				return "somebody has resumed it"
			}
			return ""
		},
	})
}

func (a *app) resumeCommand() *cobra.Command {
	return a.controlCommand(&cobra.Command{
		Use:   "resume JOB",
		Short: "Let a paused job go on",
		Long: `Let a paused job and its children go on, from the last checkpoint. The job is queued, or
waits for its children, as soon as the command returns; "tidemark watch JOB" follows it. One
that was asked to pause and has not yet is not asked any more. Resuming a job that is not
paused changes nothing.

The exit code is 0, and 1 when the job has ended: "tidemark retry" tries that again.`,
		Example: `  tidemark resume 0701JDG5CW2QK3V9Y7H4N8R6ZTXB
  tidemark resume 0701JDG5CW2QK3V9Y7H4N8R6ZTXB && tidemark watch 0701JDG5CW2QK3V9Y7H4N8R6ZTXB`,
	}, request{ask: session.Store.Resume, done: "resumed"})
}
