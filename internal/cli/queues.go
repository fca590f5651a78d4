package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

func (a *app) queuesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queues",
		Short: "List the queues, what waits in them, and who serves them",
		Long: `List the queues that workers serve or jobs wait in: how many jobs wait, run, and wait for their
time, for how long the first of them has waited, how many worker processes serve the
queue, and which types they know. Queues of other programs that use asynq on the same
Redis are marked. A worker that was killed counts for up to 10 seconds.

Through a server it is for admins.`,
		Example: `  tidemark queues
  tidemark queues --json | jq -r 'select(.workers == 0 and .counts.waiting > 0).name'`,
		Args: cobra.NoArgs,
	}
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, "print each queue as a line of JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		s, err := session.OpenStore(cmd)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		all, err := s.Store.Queues(cmd.Context())
		if err != nil {
			return err
		}
		switch {
		case *asJSON:
			for _, q := range all {
				screen.WriteLine(a.out, q)
			}
			return nil
		case len(all) == 0:
			fmt.Fprintln(a.out, "No queues: no job was enqueued yet, and no worker runs. \"tidemark worker\" runs one.")
			return nil
		}
		return writeQueues(a.out, all)
	}
	return cmd
}

func writeQueues(w io.Writer, all []engine.Queue) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "QUEUE\tWAITING\tRUNNING\tDELAYED\tOLDEST\tWORKERS\tTYPES")
	for _, q := range all {
		n := engine.QueueCounts{}
		if q.Counts != nil {
			n = *q.Counts
		}
		oldest := "-"
		if n.Waiting > 0 {
			oldest = screen.Spell(time.Duration(n.OldestSeconds) * time.Second)
		}
		types := "-"
		if len(q.Types) > 0 {
			types = screen.OneLine(strings.Join(q.Types, ","))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", queueName(q), screen.Grouped(n.Waiting), screen.Grouped(n.Running), screen.Grouped(n.Delayed), oldest, workersOf(q), types)
	}
	return t.Flush()
}

// queueName is a queue's name and what it is beside that.
func queueName(q engine.Queue) string {
	name := screen.OneLine(q.Name)
	if q.Foreign {
		name += " (another program's)"
	}
	if q.Paused {
		name += " (paused)"
	}
	return name
}

// workersOf says how many processes serve a queue.
func workersOf(q engine.Queue) string {
	switch {
	case q.Refusing > 0:
		return fmt.Sprintf("%d (%d refuse it: it holds tasks of another program)", q.Workers, q.Refusing)
	case q.Workers == 0:
		return "none"
	}
	return strconv.Itoa(q.Workers)
}
