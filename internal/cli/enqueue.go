package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

func (a *app) enqueueCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "enqueue TYPE",
		Short: "Make a job, and print its ID",
		Long: `Make a job, and print its ID. It waits in its queue for a worker that knows its type.
Those of "tidemark up" and "tidemark worker" know

` + processorList() + `
and leave others to workers of yours.`,
		Example: `  tidemark enqueue export --queue exports --payload '{"year":2025}' --title "Orders 2025"
  tidemark enqueue report --queue reports --payload @report.json --key report-2025-11 --delay 10m
  tidemark watch "$(tidemark enqueue export --queue exports --topic team:7)" --topic team:7`,
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	payload := f.String("payload", "null", "the payload: `JSON`, @FILE, or - for standard input")
	caption := f.String("title", "", "a `TITLE` for people, at most 200 characters")
	labels := f.StringArray("label", nil, "a label, as `NAME=VALUE`; may be repeated, at most 16 times")
	key := f.String("key", "", "make the call idempotent: the same topic and `KEY` give the same job while it is kept")
	life := f.String("key-life", "", "free the key before that: `until_failed`, when the job fails or is canceled, or while_live, when it ends")
	queue := f.String("queue", "", "the `QUEUE` (default that of engine.default_queue)")
	delay := f.Duration("delay", 0, "how long the job waits before its first attempt")
	deadline := f.String("deadline", "", "when the job is ended if it has not by itself: a `TIME`, as 2026-01-02T15:04:05Z, or a duration from now")
	attempts := f.Int("max-attempts", engine.DefaultMaxAttempts, "how many attempts may fail before the job does, 1 to 1000")
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, madeAsJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		spec := engine.Spec{
			Type: args[0], Title: *caption, Key: *key, KeyLife: engine.KeyLife(*life), Queue: *queue, Delay: *delay,
		}
		spec.MaxAttempts = *attempts
		if spec.Payload, err = a.payload(*payload); err != nil {
			return err
		}
		if spec.Deadline, err = deadlineAt(*deadline, *delay, time.Now()); err != nil {
			return err
		}
		if spec.Labels, err = parseLabels(*labels); err != nil {
			return err
		}
		return a.enqueue(cmd, spec, *asJSON)
	}
	return cmd
}

func (a *app) enqueue(cmd *cobra.Command, spec engine.Spec, asJSON bool) (err error) {
	c, err := session.Settings(cmd)
	if err != nil {
		return err
	}
	spec.Topic = c.Topic
	if err := spec.Validate(); err != nil {
		return err // before a Redis is started for it
	}
	s, err := session.OpenStore(cmd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	made, err := s.Store.Enqueue(cmd.Context(), spec)
	return a.made(made, err, "The key has this job already.", asJSON)
}

const madeAsJSON = "print the job's ID, topic, and whether it existed already, as JSON"

// made prints a job that was made, or found; existing says the latter in words.
func (a *app) made(made engine.Enqueued, err error, existing string, asJSON bool) error {
	if errors.Is(err, engine.ErrUnreplicated) {
		fmt.Fprintln(a.err, "tidemark: "+screen.OneLine(err.Error()))
		err = nil
	}
	if err != nil {
		return err
	}
	if asJSON {
		screen.WriteLine(a.out, struct {
			Job      engine.JobID `json:"job"`
			Topic    engine.Topic `json:"topic"`
			Existing bool         `json:"existing"`
		}{made.ID, made.Topic, made.Existing})
		return nil
	}
	fmt.Fprintln(a.out, screen.OneLine(string(made.ID)))
	if made.Existing {
		fmt.Fprintln(a.err, existing)
	}
	return nil
}

// payload reads what --payload says, and checks that it is JSON.
func (a *app) payload(arg string) ([]byte, error) {
	var from io.Reader
	what := "--payload"
	switch {
	case arg == "-":
		from, what = a.in, "--payload, from standard input"
	case strings.HasPrefix(arg, "@"):
		f, err := os.Open(arg[1:])
		if err != nil {
			return nil, fmt.Errorf("--payload: %w", err)
		}
		defer f.Close()
		from, what = f, "--payload, from "+arg[1:]
	default:
		from = strings.NewReader(arg)
	}
	// One byte more than there may be, so that Enqueue sees that it is too much.
	b, err := io.ReadAll(io.LimitReader(from, engine.MaxPayloadBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if len(b) <= engine.MaxPayloadBytes && !json.Valid(b) {
		return nil, session.Usage("%s: want JSON, such as '{\"year\":2025}' or '\"text\"'", what)
	}
	return b, nil
}

func deadlineAt(s string, delay time.Duration, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		if d <= delay {
			return time.Time{}, session.Usage("--deadline %s: it is before the job could start, after %s", s, delay)
		}
		return now.Add(d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, session.Usage("--deadline %q: want a time, as 2026-01-02T15:04:05Z, or a duration, as 90m", s)
	}
	return t, nil
}
