package engine

import (
	"context"
	"strings"
	"time"
)

// Rewrite replaces texts, each with the one behind it, in the scripts that the engine runs
// from now on, and tells how often the last of them occurred. It is for tests that plant a
// mistake; no call may be under way. Reports that nobody waits for may: they go out with the
// scripts as they were.
func (e *Engine) Rewrite(fromTo ...string) (n int) {
	texts := []*string{&commonLua, &stateLua, &familyLua, &commitLua, &writeLua, &replayLua, &listLua, &beatLua, &silentLua, &walkLua, &dueLua, &tidyLua, &groupsLua, &outboxLua, &consumeLua, &leaseLua}
	saved := make([]string, len(texts))
	for i, s := range texts {
		saved[i] = *s
	}
	for ; len(fromTo) > 0; fromTo = fromTo[2:] {
		n = 0
		for _, s := range texts {
			n += strings.Count(*s, fromTo[0])
			*s = strings.ReplaceAll(*s, fromTo[0], fromTo[1])
		}
	}
	e.commits.close()
	e.scripts = loadScripts(e.opts)
	e.commits = newCommitter(e)
	for i, s := range texts {
		*s = saved[i]
	}
	return n
}

// ScriptFunction is the text of one function of the commit script, and of what all
// scripts share, for a test of its own.
func ScriptFunction(name string) string {
	from := "local function " + name + "("
	_, rest, ok1 := strings.Cut(stateLua, from)
	body, _, ok2 := strings.Cut(rest, "\nend\n")
	if !ok1 || !ok2 {
		panic("state.lua has no function " + name)
	}
	return commonLua + from + body + "\nend\n"
}

// Pages sets the most jobs of a walk's pages, how long after one there is no other, and for
// how long it is claimed.
func (w *Walk) Pages(jobs int, pause, lease time.Duration) *Walk {
	w.page, w.pause, w.lease = jobs, pause, lease
	return w
}

// Namespace is the prefix of the engine's keys.
func (e *Engine) Namespace() string { return e.keys.namespace }

// BeatBehindReports plants a mistake, and takes it back: heartbeats use the connections
// of commits.
func (e *Engine) BeatBehindReports() (restore func()) {
	own := e.vital
	e.vital = e.redis
	return func() { e.vital = own }
}

// VitalConnections is how many connections the engine has for heartbeats and sweeps.
func (e *Engine) VitalConnections() int { return int(e.vital.PoolStats().TotalConns) }

// StopCascades has nothing go on in the background, as if the process died when a call returns.
func (e *Engine) StopCascades() { e.cascades.close() }

// FollowOrder has children follow an order of their parent, as a cascade that has read it a while ago
// does, and DropTasks takes the tasks of those that it has put to rest out of asynq.
func (e *Engine) FollowOrder(ctx context.Context, order string, children []Attempt) error {
	_, err := e.newCascade("").follow(ctx, order, children)
	return err
}

func (e *Engine) DropTasks(ctx context.Context, children []Attempt) error {
	c := e.newCascade("")
	c.stale = children
	return c.tidy(ctx)
}
