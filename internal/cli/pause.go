package cli

import (
	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

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
