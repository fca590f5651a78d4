package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/internal/option"
)

// snapshotEnded is how many of a topic's newest ended jobs a snapshot holds, and of its
// newest ended children.
const snapshotEnded = 100

// A Snapshot is the present state of a topic's jobs.
type Snapshot struct {
	// Cursor is where to follow from. The jobs were read after it, so the records
	// that follow may be older than a job shown here: apply a view only when its
	// Rev is higher than the one held.
	Cursor Cursor
	Jobs   []View
}

// Snapshot reads the present state of a topic: all live jobs, the newest 100 ended
// ones, the newest 100 ended children, and, given the cursor that the reader holds, all that
// ended since. Errors to
// branch on: ErrInvalidTopic, ErrInvalidCursor, ErrUnreachable.
func (e *Engine) Snapshot(ctx context.Context, topic Topic, held Cursor) (Snapshot, error) {
	if _, err := ParseTopic(string(topic)); err != nil {
		return Snapshot{}, err
	}
	after := ""
	if held != "" {
		if _, err := ParseCursor(string(held)); err != nil {
			return Snapshot{}, err
		}
		after = strconv.FormatUint(held.N(), 10)
	}
	answer, err := e.scripts.snapshot.Run(ctx, e.redis, e.keys.declared(shardOf(topic, e.opts.Shards)), string(topic), after, snapshotEnded).StringSlice()
	if err != nil {
		return Snapshot{}, failure("snapshot of "+string(topic), err)
	}
	ids := make([]JobID, len(answer)-1)
	for i, id := range answer[1:] {
		ids[i] = JobID(id)
	}
	views, err := e.views(ctx, ids)
	return Snapshot{Cursor: Cursor(answer[0]), Jobs: views}, err
}

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

// JobsQuery says which of a topic's jobs are wanted.
type JobsQuery struct {
	// After is the Next of the page before; "" for the first.
	After string
	// Limit is the most jobs of a page, 1 to 500. Defaults to 100.
	Limit int
}

// JobsPage is a page of a topic's jobs.
type JobsPage struct {
	Jobs []View
	// Next asks for the page that follows; "" when this is the last.
	Next string
}

// Jobs lists a topic's jobs: those that live, newest first, then those that have
// ended, last ended first, and then the children that have ended, in the same way. Errors to branch on: ErrInvalidTopic, ErrInvalid,
// ErrUnreachable.
func (e *Engine) Jobs(ctx context.Context, topic Topic, q JobsQuery) (JobsPage, error) {
	if _, err := ParseTopic(string(topic)); err != nil {
		return JobsPage{}, err
	}
	option.Default(&q.Limit, 100)
	if err := option.Within("Limit", q.Limit, 1, 500); err != nil {
		return JobsPage{}, err
	}
	kind, position, _ := strings.Cut(q.After, ":")
	if q.After != "" && (kind != "live" && kind != "ended" || position == "") {
		return JobsPage{}, fmt.Errorf("%w After %q: want the Next of another page", ErrInvalid, clip(q.After, 80))
	}
	var ids []string
	if kind != "ended" {
		live, err := e.redis.ZRangeByScore(ctx, e.keys.index(topic), &redis.ZRangeBy{Min: "+inf", Max: "+inf"}).Result()
		if err != nil {
			return JobsPage{}, failure("list jobs of "+string(topic), err)
		}
		slices.Reverse(live) // equal scores are in the order of the IDs, which begin with the time
		for _, id := range live {
			if position == "" || id < position {
				ids = append(ids, id)
			}
		}
		position = ""
		if len(ids) > q.Limit {
			return e.page(ctx, ids[:q.Limit], "live:"+ids[q.Limit-1])
		}
	}
	most := strconv.Itoa(maxNumber) // of ended jobs; a live one's score is +inf
	if position != "" {
		if _, err := strconv.ParseInt(position, 10, 64); err != nil {
			return JobsPage{}, fmt.Errorf("%w After %q: want the Next of another page", ErrInvalid, clip(q.After, 80))
		}
		most = "(" + position
	}
	ended, err := e.redis.ZRevRangeByScoreWithScores(ctx, e.keys.index(topic), &redis.ZRangeBy{
		Min: "-inf", Max: most, Count: int64(q.Limit - len(ids) + 1),
	}).Result()
	if err != nil {
		return JobsPage{}, failure("list jobs of "+string(topic), err)
	}
	next := ""
	if room := q.Limit - len(ids); len(ended) > room {
		if room == 0 {
			return e.page(ctx, ids, "live:"+ids[len(ids)-1])
		}
		ended = ended[:room]
		next = fmt.Sprintf("ended:%.0f", ended[room-1].Score)
	}
	for _, z := range ended {
		ids = append(ids, z.Member.(string))
	}
	return e.page(ctx, ids, next)
}

func (e *Engine) page(ctx context.Context, ids []string, next string) (JobsPage, error) {
	typed := make([]JobID, len(ids))
	for i, id := range ids {
		typed[i] = JobID(id)
	}
	views, err := e.views(ctx, typed)
	return JobsPage{Jobs: views, Next: next}, err
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
