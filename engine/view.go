package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Job reads one job's view. Its error wraps ErrInvalidJobID, ErrNotFound or
// ErrUnreachable. Whoever shows it to a user first checks that the user may read
// View.Topic, and says ErrNotFound when not.
func (e *Engine) Job(ctx context.Context, id JobID) (View, error) {
	if _, err := ParseJobID(string(id)); err != nil {
		return View{}, err
	}
	if !e.keys.holds(id) {
		return View{}, fmt.Errorf("job %s: %w", id, ErrNotFound)
	}
	views, err := e.views(ctx, []JobID{id})
	if err != nil {
		return View{}, err
	}
	if len(views) == 0 {
		return View{}, fmt.Errorf("job %s: %w", id, ErrNotFound)
	}
	return views[0], nil
}

// viewFields are what a job's view is put together from, as in commit.lua.
var viewFields = []string{"t", "st", "v", "g", "e", "p", "r", "fl"}

// Letters of a job's field fl, as state.lua has them.
const (
	flagCanceling = "c"
	flagPausing   = "p"
)

// views reads jobs, leaving out those that are gone.
func (e *Engine) views(ctx context.Context, ids []JobID) ([]View, error) {
	views := make([]View, 0, len(ids))
	for chunk := range slices.Chunk(ids, 500) {
		pipe := e.redis.Pipeline()
		cmds := make([]*redis.SliceCmd, len(chunk))
		for i, id := range chunk {
			cmds[i] = pipe.HMGet(ctx, e.keys.job(id), viewFields...)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, failure("read jobs", err)
		}
		for i, c := range cmds {
			if f := c.Val(); f[1] != nil {
				views = append(views, composeView(chunk[i], f))
			}
		}
	}
	return views, nil
}

// composeView puts a view together as commit.lua does for a record; a test holds
// the two against each other.
func composeView(id JobID, f []any) View {
	tenths, _ := strconv.Atoi(text(f[5]))
	asked := ""
	if flags := text(f[7]); flags != "" && !State(text(f[1])).Ended() {
		if strings.Contains(flags, flagCanceling) {
			asked = `,"canceling":true`
		}
		if strings.Contains(flags, flagPausing) {
			asked += `,"pausing":true`
		}
	}
	return View{ID: id, Topic: Topic(text(f[0])), JSON: []byte(
		`{"id":"` + string(id) + `","rev":` + text(f[6]) + text(f[2]) + `,"state":"` + text(f[1]) +
			`","percent":` + strconv.FormatFloat(float64(tenths)/10, 'f', -1, 64) + asked +
			text(f[3]) + text(f[4]) + "}")}
}

// topicOf looks up whose a job is.
func (e *Engine) topicOf(ctx context.Context, id JobID) (Topic, error) {
	if _, err := ParseJobID(string(id)); err != nil {
		return "", err
	}
	if !e.keys.holds(id) {
		return "", ErrNotFound
	}
	t, err := e.redis.HGet(ctx, e.keys.job(id), "t").Result()
	if errors.Is(err, redis.Nil) {
		return "", ErrNotFound
	}
	return Topic(t), failure("read job "+string(id), err)
}
