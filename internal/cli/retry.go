package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

func (a *app) retryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retry JOB",
		Short: "Try an ended job again, and print the new one's ID",
		Long: `Try an ended job again, and print the new one's ID. It has the old one's payload, title,
labels and queue, and goes on from its last checkpoint. What was uploaded is not uploaded
again. The old job stays as it ended.

The same JOB gives the same new one, which can be tried again in turn; with
a --key of its own, another one.`,
		Example: `  tidemark retry 0701JDG5CW2QK3V9Y7H4N8R6ZTXB
  tidemark watch "$(tidemark retry --from-start 0701JDG5CW2QK3V9Y7H4N8R6ZTXB)"`,
		Args: cobra.ExactArgs(1),
	}
	var q engine.RetryQuery
	cmd.Flags().BoolVar(&q.FromStart, "from-start", false, "leave the old job's checkpoint behind")
	cmd.Flags().StringVar(&q.Key, "key", "", "make another new job than without: the same JOB and `KEY` give the same one while that is kept")
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, madeAsJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		s, err := openJob(cmd, args[0])
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		id := engine.JobID(args[0])
		if _, _, err := s.Job(cmd.Context(), id); err != nil {
			return err
		}
		made, err := s.Store.Retry(cmd.Context(), id, q)
		return a.made(made, err, "It is tried again by this job already.", *asJSON)
	}
	return cmd
}
