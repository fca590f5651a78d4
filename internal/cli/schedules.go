package cli

import (
	"context"
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

func (a *app) schedulesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedules",
		Short: "List the topic's schedules",
		Long: `List the topic's schedules, with their next tick and the last one that a worker saw to,
in this machine's time. Without a server, those of the configuration are among them.`,
		Example: `  tidemark schedules
  tidemark schedules --topic team:7 --json | jq -r 'select(.error).name'`,
		Args: cobra.NoArgs,
	}
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, "print each schedule as a line of JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		s, err := session.OpenStore(cmd)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		all, err := schedulesOf(cmd.Context(), s)
		if err != nil {
			return err
		}
		switch {
		case *asJSON:
			for _, at := range all {
				screen.WriteLine(a.out, at)
			}
			return nil
		case len(all) == 0:
			fmt.Fprintf(a.out, "No schedules of %s. Make one with \"tidemark schedule put NAME --cron @daily --type TYPE\", or name another topic with --topic.\n", s.Config.Topic)
			return nil
		}
		return writeSchedules(a.out, all, time.Now())
	}
	return cmd
}

// schedulesOf are those of the topic that the server has, or that Redis and the
// configuration have.
func schedulesOf(ctx context.Context, s *session.Session) ([]engine.Scheduled, error) {
	if s.Remote != nil {
		return s.Remote.Schedules(ctx, s.Config.Topic)
	}
	return s.Engine.Schedules(ctx, s.Config.Topic, s.Config.Worker.Schedules...)
}

func writeSchedules(w io.Writer, all []engine.Scheduled, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tTYPE\tCRON\tZONE\tNEXT\tLAST")
	for _, at := range all {
		next, last := "never", "never"
		switch {
		case at.Err != nil:
			next = "never: " + screen.Cut(at.Err.Error(), 100)
		case !at.NextAt.IsZero():
			next = at.NextAt.Local().Format(time.DateTime)
			// A worker is at a tick within seconds.
			if now.Sub(at.NextAt) > time.Minute {
				next += " (no worker is there)"
			}
		}
		if !at.LastAt.IsZero() {
			last = at.LastAt.Local().Format(time.DateTime)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", screen.OneLine(at.Name), screen.OneLine(at.Type), screen.OneLine(at.Cron), screen.OneLine(at.TimeZone), next, last)
	}
	return t.Flush()
}

func (a *app) scheduleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "Make, replace and delete schedules",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.schedulePutCommand(), a.scheduleDeleteCommand())
	return cmd
}

func (a *app) schedulePutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "put NAME",
		Short: "Make a schedule, or replace the topic's one of that name",
		Long: `Make a schedule, or replace the topic's one of that name. Each time it ticks it makes one
job, however many workers there are.

CRON is minute, hour, day of month, month and day of week, or @hourly, @daily, @weekly,
@monthly or @yearly, or @every with a duration in whole seconds. Where clocks are put
forward or back, an hour of * is every hour that passes; any other hour is one of the
day, and ticks once: at the moment of the change if it is skipped, the first time if it
comes twice.`,
		Example: `  tidemark schedule put nightly --cron '30 2 * * 1-5' --time-zone Europe/Berlin --type export --queue exports
  tidemark schedule put pulse --cron '@every 30s' --type pulse --queue pulses --missed skip --topic team:7`,
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	cron := f.String("cron", "", "when it ticks: a `CRON` expression (required)")
	zone := f.String("time-zone", "UTC", "the `ZONE` whose clocks the expression is of, such as Europe/Berlin")
	missed := f.String("missed", string(engine.MissedLatest), "what becomes of ticks that no worker was there for: `POLICY` skip, latest (a job for the newest) or all")
	jobType := f.String("type", "", "the jobs' `TYPE` (required)")
	payload := f.String("payload", "null", "the jobs' payload: `JSON`, @FILE, or - for standard input; at most 16 KiB")
	caption := f.String("title", "", "the jobs' `TITLE`, for people, at most 200 characters")
	labels := f.StringArray("label", nil, "a label of the jobs, as `NAME=VALUE`; may be repeated, at most 15 times")
	queue := f.String("queue", "", "the jobs' `QUEUE` (default that of engine.default_queue)")
	attempts := f.Int("max-attempts", engine.DefaultMaxAttempts, "how many attempts may fail before the job does, 1 to 1000")
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, "print the schedule as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		switch {
		case *cron == "":
			return session.Usage("--cron is required, such as --cron '30 2 * * *' or --cron '@every 30s'")
		case *jobType == "":
			return session.Usage("--type is required: which handler gets the jobs")
		case *missed == "":
			return session.Usage("--missed \"\": want skip, latest or all")
		}
		s := engine.Schedule{
			Name: args[0], Cron: *cron, TimeZone: *zone, Missed: engine.MissedPolicy(*missed), Type: *jobType, Title: *caption, Queue: *queue,
		}
		s.MaxAttempts = *attempts
		if s.Payload, err = a.payload(*payload); err != nil {
			return err
		}
		if s.Labels, err = parseLabels(*labels); err != nil {
			return err
		}
		return a.putSchedule(cmd, s, *asJSON)
	}
	return cmd
}

func (a *app) putSchedule(cmd *cobra.Command, schedule engine.Schedule, asJSON bool) (err error) {
	c, err := session.Settings(cmd)
	if err != nil {
		return err
	}
	schedule.Topic = c.Topic
	if err := schedule.Validate(); err != nil {
		return err // before a Redis is started for it
	}
	s, err := session.OpenStore(cmd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	at, created, err := s.Store.PutSchedule(cmd.Context(), schedule)
	if err != nil {
		return err
	}
	if configured(s, schedule.Name) {
		fmt.Fprintf(a.err, "The configuration has a schedule of this name (%s), which goes before it for workers with that configuration.\n", s.Config.Origin("schedules"))
	}
	if asJSON {
		screen.WriteLine(a.out, at)
		return nil
	}
	what := "replaced"
	if created {
		what = "made"
	}
	fmt.Fprintf(a.out, "%s is %s. Its next tick: %s\n", screen.OneLine(at.Name), what, at.NextAt.Local().Format(time.DateTime))
	return nil
}

func (a *app) scheduleDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "delete NAME",
		Short:   "End a schedule; its jobs stay",
		Example: `  tidemark schedule delete nightly`,
		Args:    cobra.ExactArgs(1),
	}
	session.ServerFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if err := engine.CheckScheduleName(args[0]); err != nil {
			return err
		}
		s, err := session.OpenStore(cmd)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		err = s.Store.DeleteSchedule(cmd.Context(), s.Config.Topic, args[0])
		if errors.Is(err, engine.ErrNoSchedule) && configured(s, args[0]) {
			return fmt.Errorf("schedule %s is of the configuration (%s): take it out there", args[0], s.Config.Origin("schedules"))
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(a.out, "%s is deleted.\n", args[0])
		return nil
	}
	return cmd
}

// configured reports whether the configuration has a schedule of the topic by that name.
func configured(s *session.Session, name string) bool {
	return slices.ContainsFunc(s.Config.Worker.Schedules, func(c engine.Schedule) bool {
		return c.Topic == s.Config.Topic && c.Name == name
	})
}

// parseLabels reads what --label was given.
func parseLabels(pairs []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, session.Usage("--label %q: want NAME=VALUE", pair)
		}
		labels[name] = value
	}
	return labels, nil
}
