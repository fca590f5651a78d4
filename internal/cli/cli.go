package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	// For schedules, on machines without a database of time zones.
	_ "time/tzdata"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/internal/cli/files"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

// An app is one run of the command line.
type app struct {
	in       io.Reader
	out, err io.Writer
	// running says that the arguments were understood: an error from then on is not
	// about them.
	running bool
}

// Main runs the command line and returns the exit code, see exit.go. It takes over
// SIGINT and SIGTERM, and leaves the process at once on the second of them.
func Main(args []string, in io.Reader, out, err io.Writer) int {
	redis.SetLogger(silent{}) // until a command that lasts has its log
	a := &app{in: in, out: screen.NewPlain(out), err: screen.NewPlain(err)}
	ctx, stop := untilSignal(context.Background())
	defer stop()
	root := a.root()
	root.SetArgs(args)
	return a.finish(root.ExecuteContext(ctx))
}

const about = `Tidemark runs jobs and shows how far they are, without ever showing less than before.

"tidemark up" serves the page and the API, and runs jobs; --server has the other commands
speak to it, or to another gateway.

Jobs live in Redis: the one that --redis names, or else a redis-server of this
machine that is run for the data folder, or else one in this process's memory.

Settings come from flags, TIDEMARK_… variables and ` + config.DefaultFile + `, in this order of
strength; see "tidemark config print".

Exit codes:
  0    done; with watch JOB: the job has succeeded
  1    an error that no other code stands for
  2    usage: arguments, settings or the configuration file
  3    there is no such job, schedule or artifact
  4    the job has failed or was canceled
  5    Redis or the server cannot be reached, or there is no Redis that outlasts a command
  130  interrupted; the message says how to go on`

func (a *app) root() *cobra.Command {
	// In the order in which a newcomer meets them, not of the alphabet.
	cobra.EnableCommandSorting = false
	root := &cobra.Command{
		Use:   "tidemark",
		Short: "Job progress that never falls back",
		Long:  about,
		Example: `  tidemark up
  tidemark analyze orders.csv
  tidemark watch --topic team:7 --server http://127.0.0.1:8080`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownCommand,
		PersistentPreRun: func(*cobra.Command, []string) {
			a.running = true
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	config.AddFlags(root.PersistentFlags())
	config.AddFlags(root.PersistentFlags(), "data", "topic", "redis", "log")
	ofFiles := files.App{Out: a.out, Err: a.err}
	root.AddCommand(
		a.upCommand(), ofFiles.AnalyzeCommand(), ofFiles.ExportCommand(), ofFiles.UploadCommand(), ofFiles.DownloadCommand(), a.jobsCommand(), a.jobCommand(), a.watchCommand(), a.cancelCommand(),
		a.pauseCommand(), a.resumeCommand(), a.retryCommand(), a.removeCommand(), a.enqueueCommand(),
		a.schedulesCommand(), a.scheduleCommand(), a.queuesCommand(), ofFiles.DatasetsCommand(), ofFiles.SourcesCommand(),
		a.gatewayCommand(), a.workerCommand(), a.tokenCommand(), a.kickCommand(), a.configCommand(), a.versionCommand(),
	)
	return root
}

// knownCommand refuses what is left over where a command was to be named.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("there is no command %q%s", screen.Cut(args[0], 40), hint)
}

// finish says what went wrong, and gives the exit code.
func (a *app) finish(err error) int {
	if err != nil && !a.running {
		err = session.Usage("%w", err)
	}
	if text := message(err); text != "" {
		fmt.Fprintln(a.err, "tidemark: "+text)
	}
	return exitCode(err)
}
