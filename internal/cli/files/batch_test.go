package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

const jobID = "0701JDG5CW2QK3V9Y7H4N8R6ZTXB"

// A slow store shows a job a second after it is asked, and each further view a second later. A real one is as slow
// only by chance.
type slow struct {
	session.Store
	views []string
}

func (s slow) Follow(ctx context.Context, _ engine.FollowQuery) iter.Seq2[engine.Update, error] {
	return func(yield func(engine.Update, error) bool) {
		for _, view := range s.views {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				yield(engine.Update{}, context.Cause(ctx))
				return
			}
			v := engine.View{ID: jobID, JSON: json.RawMessage(view)}
			if !yield(engine.Update{Kind: engine.UpdateSnapshot, Jobs: []engine.View{v}, Part: 1, Final: true}, nil) {
				return
			}
		}
	}
}

func (slow) Enqueue(context.Context, engine.Spec) (engine.Enqueued, error) {
	return engine.Enqueued{ID: jobID}, nil
}

// At is a place at which each file has a job already.
type at struct {
	place
	send func(context.Context) error
	file content
}

func (a at) submit(context.Context, string, kind) (submitted, error) {
	return submitted{job: jobID, send: a.send}, nil
}

// viewIn is a view of a job in a state.
func viewIn(state engine.State) string {
	return fmt.Sprintf(`{"id":%q,"rev":1,"type":"upload","state":%q}`, jobID, state)
}

// A batch of files at a place, and what it prints.
func sending(p place, views ...string) (*batch, *bytes.Buffer) {
	var out bytes.Buffer
	return &batch{
		app: App{Out: &out, Err: &out}, session: &session.Session{Store: slow{views: views}}, place: p,
		board: screen.NewBoard(screen.NewLines(&bytes.Buffer{})), asJSON: true, width: 1, sendOnly: true,
	}, &out
}

// A file that was sent faster than its job could be looked at has the job's state in its line, and so has a file
// that was there.
func TestSentFileHasAState(t *testing.T) {
	for name, send := range map[string]func(context.Context) error{
		"sent": func(context.Context) error { return nil }, "there": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, out := sending(at{send: send}, viewIn(engine.Queued), viewIn(engine.Running), viewIn(engine.Succeeded))
				defer r.board.Close()
				if err := r.report(r.all(t.Context(), []string{"a.csv"}), r.uploaded); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(out.String(), `"state":"queued"`) {
					t.Errorf("it prints %q", out)
				}
			})
		})
	}
}

// A file whose job ended while it was sent was not taken, however late the end is seen.
func TestUploadOfAnEndedJobFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		send := func(context.Context) error { return fmt.Errorf("upload: %w", engine.ErrEnded) }
		r, out := sending(at{send: send}, viewIn(engine.Receiving), viewIn(engine.Canceled))
		defer r.board.Close()
		err := r.report(r.all(t.Context(), []string{"a.csv"}), r.uploaded)
		if ended := (*session.JobEndedError)(nil); !errors.As(err, &ended) || out.Len() > 0 {
			t.Errorf("it prints %q, and ends with %v", out, err)
		}
	})
}
