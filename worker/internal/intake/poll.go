package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A pollGroup spares Redis asynq's looks into keys that hold nothing. asynq runs a script
// for each queue at every look; while all keys of the group are known to have nothing for it,
// one EXISTS for all of them takes the place of the scripts. Once there is something, asynq's
// scripts run as they always did until each has found nothing.
//
// A group of one key costs a script a look. It has a longer hold instead.
//
// Its methods may be called concurrently: all servers of a worker share it.
type pollGroup struct {
	keys []string
	// hold is how long what was found empty counts as empty.
	hold time.Duration

	mu      sync.Mutex
	full    map[string]bool // keys that may have something
	changed time.Time       // when a key was added to full
	emptyAt time.Time       // when nothing was found in any key last
	// scriptAt is when a script last ran although all keys were known to be empty.
	scriptAt time.Time
}

const (
	// pollHold spans one look of asynq's into all queues: its questions follow each other at once.
	pollHold = 20 * time.Millisecond
	// scriptEvery is how often one of asynq's scripts runs although nothing is there. It
	// writes, and a Redis that was demoted shows itself only by refusing a write.
	scriptEvery = 5 * time.Second
)

func newPollGroup(hold time.Duration, keys ...string) *pollGroup {
	g := &pollGroup{keys: keys, hold: hold, full: map[string]bool{}}
	for _, k := range keys {
		g.full[k] = true
	}
	return g
}

// pollGroups are the groups of the keys that asynq's scripts look into, by key: for queues and
// those of them that are rescue queues, and for type queues and shared queues, which are looked into
// less often.
// On a Cluster queues stand in slots of their own, so each key is a group; what may wait is
// looked into less often there.
func pollGroups[V any](queues, rescue, typed, shared map[string]V, cluster bool) map[string]*pollGroup {
	groups := map[string]*pollGroup{}
	add := func(keys []string, together time.Duration, alone func(key string) time.Duration) {
		all := newPollGroup(together, keys...)
		for _, key := range keys {
			groups[key] = all
			if cluster {
				groups[key] = newPollGroup(alone(key), key)
			}
		}
	}
	keysOf := func(set string, queues map[string]V) (keys []string) {
		for queue := range queues {
			keys = append(keys, asynqKey(queue, set))
		}
		return keys
	}
	rescued := keysOf("pending", rescue)
	add(keysOf("pending", queues), pollHold, func(key string) time.Duration {
		if slices.Contains(rescued, key) {
			return 2 * rescueCheck
		}
		return pollHold
	})
	add(append(keysOf("scheduled", queues), keysOf("scheduled", shared)...), pollHold, func(string) time.Duration { return pollHold })
	add(keysOf("retry", queues), pollHold, func(string) time.Duration { return retryCheck })
	add(append(keysOf("pending", typed), keysOf("pending", shared)...), typeCheck, func(string) time.Duration { return typeCheck })
	for _, set := range []string{"scheduled", "retry"} { // Tidemark puts nothing there
		add(keysOf(set, typed), seldom, func(string) time.Duration { return seldom })
	}
	add(keysOf("retry", shared), seldom, func(string) time.Duration { return seldom }) // as there
	return groups
}

// empty reports whether asynq's script would find nothing, for which it may ask Redis. args
// are the script's. Its error says that Redis did not answer.
func (g *pollGroup) empty(ctx context.Context, c redis.UniversalClient, args []any) (bool, error) {
	if known, sure := g.known(time.Now()); !known || sure {
		return known, nil
	}
	keys := g.asked()
	if len(keys) == 0 {
		return true, nil
	}
	ready := []any(nil)
	n, err := c.Exists(ctx, keys...).Result()
	if err == nil && n > 0 {
		var answer any
		answer, err = readyKeys.Run(ctx, c, keys, args...).Result()
		ready, _ = answer.([]any)
	}
	if refused := redis.Error(nil); errors.As(err, &refused) {
		for _, k := range keys { // asynq's scripts may fare better
			ready = append(ready, k)
		}
	} else if err != nil {
		return false, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if len(ready) == 0 {
		g.emptyAt = now
	}
	for _, k := range ready {
		g.full[fmt.Sprint(k)], g.changed = true, now
	}
	return len(g.full) == 0, nil
}

// asked are the keys that Redis is asked for.
func (g *pollGroup) asked() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.keys
}

// leave takes a key out of the group: nothing of it is to be found any more.
func (g *pollGroup) leave(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys = slices.DeleteFunc(slices.Clone(g.keys), func(k string) bool { return k == key })
	delete(g.full, key)
}

// readyKeys are those of KEYS that asynq's scripts would take something from: not from a
// queue that is paused, or that belongs to a paused one, nor what is due later than ARGV[1].
var readyKeys = redis.NewScript(`
local ready = {}
for _, key in ipairs(KEYS) do
  local queue, kind = string.match(key, "^(.*}:)(%a+)$")
  local found
  if kind == "pending" then
    local parent = string.match(queue, "^(.*)-rescue}:$") or string.match(queue, "^([^.]*)%.")
    found = redis.call("EXISTS", queue .. "paused") == 0 and redis.call("EXISTS", key) == 1
      and not (parent and redis.call("EXISTS", parent .. "}:paused") == 1)
  else
    found = redis.call("ZRANGEBYSCORE", key, "-inf", ARGV[1], "LIMIT", 0, 1)[1]
  end
  if found then
    ready[#ready + 1] = key
  end
end
return ready`)

// known reports whether all keys were empty when they were last looked into, and whether
// that was within the hold.
func (g *pollGroup) known(now time.Time) (known, sure bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case len(g.full) > 0:
		return false, false
	case now.Sub(g.emptyAt) < g.hold:
		return true, true
	case len(g.keys) == 1:
		return false, false
	case now.Sub(g.scriptAt) >= scriptEvery:
		g.scriptAt = now
		return false, false
	}
	return true, false
}

// note keeps what a script found in a key. A script that was sent before another one found
// something may have run before it, so it does not tell that the key is empty now.
func (g *pollGroup) note(key string, sent time.Time, empty bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !empty:
		g.full[key], g.changed = true, time.Now()
	case !sent.Before(g.changed):
		if delete(g.full, key); len(g.keys) == 1 {
			g.emptyAt = sent
		}
	}
}

// nothing is what asynq's scripts answer for an empty key: the one that takes a task has
// no answer, the one that forwards delayed tasks counts 0.
func nothing(ctx context.Context, key string) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	if kindOf(key) == "pending" {
		cmd.SetErr(redis.Nil)
	} else {
		cmd.SetVal(int64(0))
	}
	return cmd
}

// isNothing reports whether a script found nothing; an error is no such answer.
func isNothing(cmd *redis.Cmd) bool {
	return errors.Is(cmd.Err(), redis.Nil) || cmd.Err() == nil && cmd.Val() == int64(0)
}
