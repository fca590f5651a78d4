package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

func (a *app) jobsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List the topic's jobs",
		Long: `List the topic's jobs: those that live, newest first, then those that have ended, last
ended first. Children are left out unless --children or --parent is given: their parent counts them.`,
		Example: `  tidemark jobs
  tidemark jobs --state failed --type export --label team=sales
  tidemark jobs --topic team:7 --limit 1000 --state failed --json | jq -r .id`,
		Args: cobra.NoArgs,
	}
	limit := cmd.Flags().Int("limit", 50, "the most jobs to list")
	children := cmd.Flags().Bool("children", false, "list children of jobs as well")
	filter := filterFlags(cmd)
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, "print each job as a line of JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if *limit < 1 {
			return session.Usage("--limit %d: want 1 or more", *limit)
		}
		f, err := filter()
		if err != nil {
			return err
		}
		left := !*children && f.Parent == ""
		if left {
			f.Parent = engine.NoParent
		}
		s, err := session.OpenStore(cmd)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		return a.list(cmd, s, f, *limit, left, *asJSON)
	}
	return cmd
}

// list prints jobs that a filter selects; left says that it leaves children out.
func (a *app) list(cmd *cobra.Command, s *session.Session, f engine.Filter, limit int, left, asJSON bool) error {
	var jobs []engine.Job
	more, parents := false, false
	topic, err := s.TopicOf(cmd.Context(), f)
	if err != nil {
		return err
	}
	for q := (engine.JobsQuery{Filter: f, Limit: min(limit, 499) + 1}); !more; { // one more reports whether there are more
		page, err := s.Store.Jobs(cmd.Context(), topic, q)
		if err != nil {
			return err
		}
		for _, v := range page.Jobs {
			j, err := v.Job()
			if err != nil {
				return err
			}
			if more = len(jobs) == limit; more {
				break
			}
			if asJSON {
				fmt.Fprintf(screen.Exact(a.out), "%s\n", v.JSON)
			}
			jobs, parents = append(jobs, j), parents || j.Children != nil
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	switch {
	case asJSON:
		return nil
	case len(jobs) == 0 && !everything(f):
		fmt.Fprintf(a.out, "No jobs of %s match.\n", topic)
		return nil
	case len(jobs) == 0:
		fmt.Fprintf(a.out, "No jobs of %s. Make one with \"tidemark analyze FILE\" or \"tidemark enqueue TYPE\", or name another topic with --topic.\n", topic)
		return nil
	}
	if err := writeJobs(a.out, jobs, s.QueuesOf(cmd.Context(), jobs), time.Now()); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(a.err, "There are more; --limit %d shows them.\n", 10*limit)
	}
	if left && parents {
		fmt.Fprintln(a.err, "Children of jobs are left out; --children lists them too.")
	}
	return nil
}

// everything reports whether a filter selects jobs whatever they are, but for children.
func everything(f engine.Filter) bool {
	if f.Parent == engine.NoParent {
		f.Parent = ""
	}
	return f.IsZero()
}

func writeJobs(w io.Writer, jobs []engine.Job, queues []engine.Queue, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "JOB\tSTATE\tPERCENT\tTYPE\tCREATED\tTITLE")
	for _, j := range jobs {
		is := screen.State(j) + screen.Wait(j, queues, now)
		if j.Children != nil && j.State == engine.Awaiting {
			is += " " + screen.Children(*j.Children)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s ago\t%s\n", screen.OneLine(string(j.ID)), is, screen.Percent(j.Percent), screen.OneLine(j.Type), screen.Spell(max(0, now.Sub(j.CreatedAt))), screen.Cut(j.Title, 60))
	}
	return t.Flush()
}

func (a *app) jobCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "job JOB",
		Short:   "Show a job, whatever its topic",
		Example: `  tidemark job 0701JDG5CW2QK3V9Y7H4N8R6ZTXB`,
		Args:    cobra.ExactArgs(1),
	}
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, "print the job as JSON, as its records show it")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		s, err := openJob(cmd, args[0])
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		v, j, err := s.Job(cmd.Context(), engine.JobID(args[0]))
		if err != nil {
			return err
		}
		if *asJSON {
			fmt.Fprintf(screen.Exact(a.out), "%s\n", v.JSON)
			return nil
		}
		return writeJob(a.out, j, s.QueuesOf(cmd.Context(), []engine.Job{j}), time.Now())
	}
	return cmd
}

// openJob is openStore for a command about a job; a malformed ID needs no store.
func openJob(cmd *cobra.Command, id string) (*session.Session, error) {
	if _, err := engine.ParseJobID(id); err != nil {
		return nil, err
	}
	return session.OpenStore(cmd)
}

// writeJob shows what a job's view holds, a line each.
func writeJob(w io.Writer, j engine.Job, queues []engine.Queue, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	say := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, screen.OneLine(fmt.Sprintf(format, args...)))
	}
	say("Job", "%s", j.ID)
	if j.Title != "" {
		say("Title", "%s", j.Title)
	}
	say("Type", "%s", j.Type)
	say("Topic", "%s", j.Topic)
	say("State", "%s, %s", screen.State(j)+screen.Wait(j, queues, now), screen.Percent(j.Percent))
	if j.Queue != "" {
		say("Queue", "%s", j.Queue)
	}
	if j.Stage != nil {
		say("Stage", "%s", screen.Stage(*j.Stage))
	}
	if j.Progress != nil {
		say("Progress", "%s", screen.Amount(*j.Progress))
	}
	if j.Message != "" {
		say("Message", "%s", j.Message)
	}
	if j.Children != nil {
		say("Children", "%s", screen.Children(*j.Children))
	}
	if j.Attempt > 0 {
		resumed := ""
		if j.ResumedFrom != nil && *j.ResumedFrom > 0 {
			resumed = ", resumed from " + screen.Percent(*j.ResumedFrom)
		}
		say("Attempt", "%d%s", screen.Attempt(j), resumed)
	}
	for _, m := range []struct {
		name string
		at   *time.Time
	}{{"Created", &j.CreatedAt}, {"Started", j.StartedAt}, {"Next attempt", j.RetryAt}, {"Ended", j.EndedAt}} {
		if m.at != nil {
			say(m.name, "%s", m.at.Local().Format(time.DateTime))
		}
	}
	if j.Parent != "" {
		say("Child of", "%s", j.Parent)
	}
	if j.RetryOf != "" {
		say("Retry of", "%s", j.RetryOf)
	}
	if j.Error != nil {
		say("Error", "%s (%s)", j.Error.Message, j.Error.Code)
	}
	var labels []string
	for name, value := range j.Labels {
		labels = append(labels, name+"="+value)
	}
	if len(labels) > 0 {
		slices.Sort(labels)
		say("Labels", "%s", strings.Join(labels, " "))
	}
	if j.Result != nil {
		say("Result", "%s", screen.Cut(string(j.Result), 500))
	}
	return t.Flush()
}
