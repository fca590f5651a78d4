package intake

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// queueing is a client of a Redis that holds lists, and notes what it was asked.
type queueing struct {
	redis.UniversalClient
	lists  map[string]int
	paused map[string]bool
	down   error // what it answers instead
	asked  []string
}

func (q *queueing) Exists(ctx context.Context, keys ...string) *redis.IntCmd {
	q.asked = append(q.asked, "EXISTS")
	cmd := redis.NewIntCmd(ctx)
	for _, k := range keys {
		cmd.SetVal(cmd.Val() + int64(min(q.lists[k], 1)))
	}
	cmd.SetErr(q.down)
	return cmd
}

func (q *queueing) EvalSha(ctx context.Context, _ string, keys []string, _ ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	if len(keys) > 1 {
		q.asked = append(q.asked, "which")
	} else {
		q.asked = append(q.asked, keys[0])
	}
	switch {
	case q.down != nil:
		cmd.SetErr(q.down)
		return cmd
	case len(keys) > 1:
		ready := []any{}
		for _, k := range keys {
			if q.lists[k] > 0 && !q.paused[k] {
				ready = append(ready, k)
			}
		}
		cmd.SetVal(ready)
		return cmd
	case q.paused[keys[0]]:
		return nothing(ctx, keys[0])
	}
	if q.lists[keys[0]] == 0 {
		return nothing(ctx, keys[0])
	}
	q.lists[keys[0]]--
	cmd.SetVal("task")
	return cmd
}

// polling has asynq look into queues a and b of a Redis of its own.
func polling(t *testing.T, do func(t *testing.T, redis *queueing, look func(want ...string) (found int))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		const a, b = "asynq:{a}:pending", "asynq:{b}:pending"
		r := &queueing{lists: map[string]int{}, paused: map[string]bool{}}
		c := asynqClient{UniversalClient: r, polls: pollGroups(map[string]int{"a": 1, "b": 1}, nil, nil, nil, false)}
		do(t, r, func(want ...string) (found int) {
			t.Helper()
			sleep(t.Context(), taskCheck)
			r.asked = nil
			for _, key := range []string{a, b} {
				if c.EvalSha(t.Context(), "", []string{key}).Err() == nil {
					found++
				}
			}
			if !slices.Equal(r.asked, want) {
				t.Errorf("Redis was asked for %q, want %q", r.asked, want)
			}
			return found
		})
	})
}

func TestEmptyQueuesAreAskedForAtOnce(t *testing.T) {
	t.Parallel()
	const a, b = "asynq:{a}:pending", "asynq:{b}:pending"
	polling(t, func(t *testing.T, r *queueing, look func(...string) int) {
		look(a, b)        // nothing is known at first
		look(a, "EXISTS") // a script, in case this Redis takes no writes
		look("EXISTS")
		r.lists[b] = 3
		for i, found := range []int{look("EXISTS", "which", a, b), look(a, b), look(a, b), look(a, b)} {
			if want := min(1, 3-i); found != want {
				t.Errorf("look %d found %d tasks, want %d", i, found, want)
			}
		}
		look("EXISTS")
		r.lists[a], r.paused[a] = 1, true
		for range 3 {
			if found := look("EXISTS", "which"); found > 0 {
				t.Error("a task was found in a paused queue")
			}
		}
		delete(r.paused, a)
		if found := look("EXISTS", "which", a, b); found != 1 {
			t.Errorf("%d tasks were found once the queue went on, want 1", found)
		}
	})
}

// asynq asks for tasks that come due until it is answered 0.
func TestEmptyKeysAreAnsweredAsAsynqsScriptsDo(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]*redis.Cmd{
		"pending":   redis.NewCmdResult(nil, redis.Nil),
		"scheduled": redis.NewCmdResult(int64(0), nil),
		"retry":     redis.NewCmdResult(int64(0), nil),
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &queueing{}
			c := asynqClient{UniversalClient: r, polls: pollGroups(map[string]int{"a": 1, "b": 1}, map[string]int{"b": 1}, nil, nil, false)}
			for i := range 10 {
				got := c.EvalSha(t.Context(), "", []string{[]string{"asynq:{a}:", "asynq:{b}:"}[i%2] + set})
				if got.Val() != want.Val() || !errors.Is(got.Err(), want.Err()) {
					t.Errorf("%s: asynq is answered %v, %v, want %v, %v", set, got.Val(), got.Err(), want.Val(), want.Err())
				}
				sleep(t.Context(), taskCheck)
			}
			if !slices.Contains(r.asked, "EXISTS") {
				t.Errorf("%s: Redis was asked for %q alone", set, r.asked)
			}
		})
	}
}

// A Redis that was demoted answers reads: only a script that it refuses shows it.
func TestEmptyQueuesAreAskedForByAWriteAtTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const a, b = "asynq:{a}:pending", "asynq:{b}:pending"
		r := &queueing{}
		c := asynqClient{UniversalClient: r, polls: pollGroups(map[string]int{"a": 1, "b": 1}, nil, nil, nil, false)}
		scripts := func(over time.Duration) (n int) {
			r.asked = nil
			for began := time.Now(); time.Since(began) < over; sleep(t.Context(), taskCheck) {
				c.EvalSha(t.Context(), "", []string{a})
				c.EvalSha(t.Context(), "", []string{b})
			}
			for _, what := range r.asked {
				if what != "EXISTS" {
					n++
				}
			}
			return n
		}
		scripts(scriptEvery)
		if n := scripts(10 * scriptEvery); n != 10 {
			t.Errorf("%d scripts ran in %s, want 10", n, 10*scriptEvery)
		}
		r.down = refusal("READONLY You can't write against a read only replica.")
		scripts(scriptEvery)
		if n := scripts(scriptEvery); n != len(r.asked) {
			t.Errorf("%d of %d questions to a demoted Redis were scripts, want all", n, len(r.asked))
		}
	})
}

// Two servers look into a queue at once: the one that is answered last was sent first.
func TestAnOldAnswerDoesNotMakeAQueueEmpty(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPollGroup(time.Minute, "a")
		sleep(t.Context(), time.Second)
		old := time.Now()
		sleep(t.Context(), time.Second)
		g.note("a", time.Now(), false)
		g.note("a", old, true)
		if known, _ := g.known(time.Now()); known {
			t.Error("a queue counts as empty in which a task was found since")
		}
		g.note("a", time.Now(), true)
		if known, sure := g.known(time.Now()); !known || !sure {
			t.Error("a queue that was found empty does not count as empty")
		}
	})
}

// An EXISTS that gets no answer is asynq's error, and no reason for a script that waits as long.
func TestAPollWithoutAnAnswerFails(t *testing.T) {
	t.Parallel()
	const a, b = "asynq:{a}:pending", "asynq:{b}:pending"
	polling(t, func(_ *testing.T, r *queueing, look func(...string) int) {
		look(a, b)
		look(a, "EXISTS")
		r.down = errors.New("dial tcp: connection refused")
		look("EXISTS", "EXISTS")
		r.down = refusal("NOPERM this user has no permissions to run the 'exists' command")
		look("EXISTS", a, b)
	})
}
