package cli

import (
	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

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
