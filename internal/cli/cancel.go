package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/engine"
)

func (a *app) cancelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel JOB",
		Short: "Stop a job",
		Long: `Stop a job, and wait until it has ended. One that no worker has ends at once; one that
runs is told within a second and ends when its handler returns.

The exit code is 0 when the job is canceled, also when it was before, and 1 when it
had ended otherwise, or does so meanwhile.`,
		Example: `  tidemark cancel 0701JDG5CW2QK3V9Y7H4N8R6ZTXB
  tidemark cancel --no-wait 0701JDG5CW2QK3V9Y7H4N8R6ZTXB`,
		Args: cobra.ExactArgs(1),
	}
	noWait := cmd.Flags().Bool("no-wait", false, "return as soon as the request is kept, which is durable")
	serverFlag(cmd)
	asJSON := jsonFlag(cmd, "print the job as JSON, as it is then")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		s, err := a.openJob(cmd, args[0])
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		return a.cancel(cmd, s, engine.JobID(args[0]), *noWait, *asJSON)
	}
	return cmd
}

func (a *app) cancel(cmd *cobra.Command, s *session, id engine.JobID, noWait, asJSON bool) error {
	ctx := cmd.Context()
	if _, _, err := s.job(ctx, id); err != nil {
		return err
	}
	// Of one that has ended, how it ended decides below.
	if err := s.store.Cancel(ctx, id); err != nil && !errors.Is(err, engine.ErrEnded) {
		return err
	}
	if !noWait {
		if _, err := s.follow(ctx, engine.FollowQuery{Job: id}, func(engine.Update) error { return nil }); err != nil {
			if errors.Is(err, errInterrupted) {
				return fmt.Errorf("%w; the job is told to stop all the same", err)
			}
			return err
		}
	}
	v, j, err := s.job(ctx, id)
	if err != nil {
		return err
	}
	if asJSON {
		fmt.Fprintf(a.out, "%s\n", v.JSON)
	} else {
		fmt.Fprintf(a.out, "%s is %s at %s\n", id, state(j), percent(j.Percent))
	}
	if j.State.Ended() && j.State != engine.Canceled {
		return fmt.Errorf("job %s was not canceled: it has %s", id, j.State)
	}
	return nil
}
