package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

func (a *app) watchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch [JOB]",
		Short: "Follow the topic's jobs, or one to its end",
		Long: `Follow the topic's jobs, or one to its end. An outage of Redis, or of the server
that --server names, is said and waited for. Children of a job that is shown are
counted with it, and those that fail are named; --json leaves nothing out.

With JOB it ends with the job: exit code 0 if that has succeeded, 4 if it failed or
was canceled. Without, it goes on until it is interrupted.

--json prints a JSON object a line. Lines whose type begins with "job." or
"notification." are records, byte for byte as the stream holds them. The others are
  {"type":"snapshot","reason":R,"part":N,"jobs":[…]}    jobs as they are, some at a time; R is fresh, trimmed or rewritten
  {"type":"snapshot",…,"final":true,"cursor":C,…}       the last of them
  {"type":"live","cursor":C}                            all there was has been printed
  {"type":"interrupted","cursor":C,"error":E}           Redis or the server is away; it goes on by itself
The id of a record, or C, is what --after takes.`,
		Example: `  tidemark watch
  tidemark watch --state running --label team=sales
  tidemark watch 0701JDG5CW2QK3V9Y7H4N8R6ZTXB
  tidemark watch --json --after 0-0 | jq -r 'select(.type == "job.failed").job.error.message'`,
		Args: cobra.MaximumNArgs(1),
	}
	after := cmd.Flags().String("after", "", "begin behind the record with this `CURSOR`, 0-0 for all that there is, instead of with a snapshot")
	filter := filterFlags(cmd)
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, "print records as lines of JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		q := engine.FollowQuery{After: engine.Cursor(*after)}
		if *after != "" {
			if _, err := engine.ParseCursor(*after); err != nil {
				return fmt.Errorf("--after: %w", err)
			}
		}
		if q.Filter, err = filter(); err != nil {
			return err
		}
		var s *session.Session
		if len(args) == 1 {
			if !q.Filter.IsZero() {
				return session.Usage("flags that select jobs go without a JOB")
			}
			q.Filter.Job = engine.JobID(args[0])
			s, err = openJob(cmd, args[0])
		} else {
			s, err = session.OpenStore(cmd)
		}
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		if q.Topic, err = s.TopicOf(cmd.Context(), q.Filter); err != nil {
			return err
		}
		if *asJSON {
			return a.watchJSON(cmd.Context(), s, q)
		}
		return a.watch(cmd.Context(), s, q)
	}
	return cmd
}

// watch paints jobs.
func (a *app) watch(ctx context.Context, s *session.Session, q engine.FollowQuery) error {
	p := screen.NewLines(a.out)
	if screen.OnTerminal(a.out) {
		p = screen.NewBars(a.out)
	}
	b := screen.NewBoard(p)
	defer b.Close()
	defer s.WatchQueues(ctx, b)()
	cursor, jobs := q.After, census{}
	last, err := s.Follow(ctx, q, func(u engine.Update) error {
		if u.Kind == engine.UpdateSnapshot && q.Filter.Job == "" {
			var err error
			if u.Jobs, err = jobs.living(u, b); err != nil {
				return err
			}
		}
		cursor = u.Cursor
		return b.Update("", u, func(engine.Job) {})
	})
	if errors.Is(err, session.ErrInterrupted) {
		return fmt.Errorf("%w; --after %s goes on from here", err, cursor)
	}
	if err != nil {
		return err
	}
	return ended(last)
}

// A census counts the jobs of a topic's snapshot, part by part.
type census struct{ live, ended int }

// living leaves the jobs of a part that have not ended: that others had ended before is no
// news.
func (c *census) living(u engine.Update, b *screen.Board) ([]engine.View, error) {
	if u.Part == 1 {
		*c = census{}
		if u.Reason != engine.Fresh {
			b.Note(fmt.Sprintf("the stream was %s: what follows begins with the present state of all jobs", u.Reason))
		}
	}
	var live []engine.View
	for _, v := range u.Jobs {
		j, err := v.Job()
		if err != nil {
			return nil, err
		}
		if !j.State.Ended() || b.Knows(j.ID) {
			c.live++
			live = append(live, v)
		} else {
			c.ended++
		}
	}
	if u.Final && u.Reason == engine.Fresh {
		b.Note(fmt.Sprintf("%d live and %d ended jobs; \"tidemark jobs\" lists them", c.live, c.ended))
	}
	return live, nil
}

// watchJSON prints records as they are.
func (a *app) watchJSON(ctx context.Context, s *session.Session, q engine.FollowQuery) error {
	last, err := s.Follow(ctx, q, func(u engine.Update) error {
		switch u.Kind {
		case engine.UpdateRecord:
			_, err := screen.Exact(a.out).Write(append(u.Entry.JSON[:len(u.Entry.JSON):len(u.Entry.JSON)], '\n'))
			return err
		case engine.UpdateSnapshot:
			var cursor engine.Cursor // where to go on is known with the last part
			if u.Final {
				cursor = u.Cursor
			}
			views := make([]json.RawMessage, len(u.Jobs))
			for i, v := range u.Jobs {
				views[i] = v.JSON
			}
			screen.WriteLine(a.out, struct {
				Type   string            `json:"type"`
				Reason engine.Verdict    `json:"reason"`
				Part   int               `json:"part"`
				Final  bool              `json:"final,omitempty"`
				Cursor engine.Cursor     `json:"cursor,omitempty"`
				Jobs   []json.RawMessage `json:"jobs"`
			}{"snapshot", u.Reason, u.Part, u.Final, cursor, views})
		case engine.UpdateLive:
			screen.WriteLine(a.out, struct {
				Type   string        `json:"type"`
				Cursor engine.Cursor `json:"cursor"`
			}{"live", u.Cursor})
		case engine.UpdateInterrupted:
			screen.WriteLine(a.out, struct {
				Type   string        `json:"type"`
				Cursor engine.Cursor `json:"cursor"`
				Error  string        `json:"error"`
			}{"interrupted", u.Cursor, u.Err.Error()})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return ended(last)
}

// ended is nil for a job that succeeded.
func ended(j engine.Job) error {
	if j.State == engine.Succeeded {
		return nil
	}
	return &session.JobEndedError{Job: j}
}
