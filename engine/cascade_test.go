package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A crowd is a parent of many children that wait in a queue which is not served, with other
// tasks before, behind and among theirs.
type crowd struct {
	*desk
	children int
	others   []engine.JobID
}

const crowded = "crowded"

func newCrowd(t testing.TB, e *engine.Rig, n int) *crowd {
	t.Helper()
	c := &crowd{desk: newDesk(t, e, "user:1"), children: n}
	c.start(1)
	other := func() {
		got, err := e.Enqueue(minutes(t), engine.Spec{Topic: "user:2", Type: "export", Queue: crowded})
		must(t, err)
		c.others = append(c.others, got.ID)
	}
	children := make([]engine.Child, n)
	for i := range children {
		spec := engine.Spec{Type: "export"}
		if i%100 == 0 {
			spec.Delay = time.Hour
		}
		children[i] = engine.Child{Name: fmt.Sprint(i), Spec: spec}
	}
	children, plan, err := runtime.PlanFanOut("all", c.topic, crowded, children)
	must(t, err, c.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}).Err)
	for part := range slices.Chunk(children, n/3+1) {
		other()
		must(t, e.Spawn(minutes(t), c.job, c.r.Fence, 0, "all", part))
	}
	other()
	return c
}

// all waits until every child is in a state, and asynq has as many tasks of each as it should.
func (c *crowd) all(state engine.State, tasks int) {
	c.t.Helper()
	ctx := minutes(c.t)
	names := make([]string, c.children)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	for {
		jobs, err := c.e.Outcomes(ctx, c.job, "all", names)
		must(c.t, err)
		states, held := map[engine.State]int{}, 0
		for _, j := range jobs {
			states[j.State]++
		}
		var others []engine.JobID
		for _, queue := range []string{crowded, runtime.RescueQueue(crowded)} {
			keys := "asynq:{" + c.e.QueueName(queue) + "}:"
			pending, err1 := c.e.Redis().LRange(ctx, keys+"pending", 0, -1).Result()
			scheduled, err2 := c.e.Redis().ZRange(ctx, keys+"scheduled", 0, -1).Result()
			must(c.t, err1, err2)
			for _, id := range slices.Concat(pending, scheduled) {
				job, _, _ := strings.Cut(id, ".")
				if slices.Contains(c.others, engine.JobID(job)) {
					others = append(others, engine.JobID(job))
				} else {
					held++
				}
			}
		}
		slices.Reverse(others) // asynq hands out the last one first
		if states[state] == c.children && held == tasks*c.children {
			if !slices.Equal(others, c.others) {
				c.t.Errorf("other tasks are %v, were %v", others, c.others)
			}
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			c.t.Fatalf("children are %v, %d of their tasks in asynq; want all %s, %d of each", states, held, state, tasks)
		}
	}
}

// Whatever is asked of a parent reaches all of its children, and none of their tasks is left or
// missing, nor is another job's.
func TestManyChildrenFollowTheirParent(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		c := newCrowd(t, e, 1200)
		c.all(engine.Queued, 1)
		must(t, e.Pause(minutes(t), c.job))
		c.all(engine.Paused, 0)
		must(t, e.Resume(minutes(t), c.job))
		c.all(engine.Queued, 1)
		// The newest wins while the others are under way.
		must(t, e.Pause(minutes(t), c.job), e.Resume(minutes(t), c.job), e.Pause(minutes(t), c.job))
		c.all(engine.Paused, 0)
		must(t, e.Resume(minutes(t), c.job), e.Pause(minutes(t), c.job), e.Resume(minutes(t), c.job))
		c.all(engine.Queued, 1)
		must(t, e.Pause(minutes(t), c.job), e.Cancel(minutes(t), c.job))
		c.all(engine.Canceled, 0)
		must(t, c.write(runtime.Report{Type: engine.JobCanceled}).Err)
	})
}

// Where the process that was asked dies on the way, a reconciler that comes by the parent goes on: the parent shows
// that its children have not all followed, until they have.
func TestChildrenFollowAfterACrash(t *testing.T) {
	t.Parallel()
	s := redistest.Server(t)
	e := open(t, s.URL(), nil)
	c := newCrowd(t, e, 1200)
	for _, ask := range []struct {
		what  string
		do    func(*engine.Engine, context.Context, engine.JobID) error
		state engine.State
		tasks int
	}{
		{"pause", (*engine.Engine).Pause, engine.Paused, 0},
		{"resume", (*engine.Engine).Resume, engine.Queued, 1},
	} {
		dying, err := engine.Open(minutes(t), engine.Options{URL: s.URL(), Namespace: e.Namespace()})
		must(t, err)
		runtime.Of(dying).Close()
		must(t, ask.do(dying, minutes(t), c.job), dying.Close())
		a, err := e.Current(minutes(t), c.job)
		must(t, err)
		if a.Order == "" {
			t.Fatalf("%s: the parent shows nothing of it", ask.what)
		}
		must(t, e.FollowUp(minutes(t), c.job))
		// What the dying one took no task of acknowledges itself.
		c.settles(ask.state)
		for a.Order != "" {
			a, err = e.Current(minutes(t), c.job)
			must(t, err)
		}
	}
}

// A process that is behind pauses no child whose parent was resumed since, and where it takes
// the task of a child that waits again, the child has another.
func TestACascadeThatIsBehindDoesNoHarm(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		c := newCrowd(t, e, 40)
		ids := make([]engine.JobID, c.children)
		for i := range ids {
			ids[i] = runtime.ChildID(c.job, "all", fmt.Sprint(i))
		}
		must(t, e.Pause(minutes(t), c.job), e.Resume(minutes(t), c.job))
		children, err := e.Attempts(minutes(t), ids)
		must(t, err)
		_, _, err = e.FollowParent(minutes(t), "p1", children)
		must(t, err)
		c.all(engine.Queued, 1)
		must(t, e.DropTasks(minutes(t), children))
		c.all(engine.Queued, 1)
	})
}

// settles waits until every child is in a state.
func (c *crowd) settles(state engine.State) {
	c.t.Helper()
	ctx := minutes(c.t)
	for n := 0; n < c.children; {
		n = 0
		for i := range c.children {
			v, err := c.e.Job(ctx, runtime.ChildID(c.job, "all", fmt.Sprint(i)))
			must(c.t, err)
			j, err := v.Job()
			must(c.t, err)
			if j.State == state {
				n++
			}
		}
	}
}

// The cost of a cancel, a pause and an end grows with the children, not with their square: asynq's
// pending list is searched a few times for hundreds of tasks.
func TestTasksOfManyChildrenAreTakenAwayTogether(t *testing.T) {
	t.Parallel()
	s := redistest.Server(t)
	for name, end := range map[string]func(*crowd) error{
		"cancel": func(c *crowd) error { return c.e.Cancel(minutes(c.t), c.job) },
		"pause":  func(c *crowd) error { return c.e.Pause(minutes(c.t), c.job) },
		"fail": func(c *crowd) error {
			ack := c.write(runtime.Report{Type: engine.JobFailed, Error: &lost})
			for _, job := range ack.FollowUps {
				must(c.t, c.e.FollowUp(minutes(c.t), job))
			}
			return ack.Err
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := with(t, s.URL(), engine.Options{Namespace: name})
			c := newCrowd(t, e, scale(1500, engine.MaxChildren))
			began := time.Now()
			must(t, e.Redis().ConfigResetStat(minutes(t)).Err(), end(c))
			c.all(map[string]engine.State{"pause": engine.Paused}[name]+map[string]engine.State{"cancel": engine.Canceled, "fail": engine.Canceled}[name], 0)
			calls := commandCalls(t, e, "lrem")
			t.Logf("%d children after %s; LREM was called %d times", c.children, time.Since(began).Round(time.Millisecond), calls)
			if calls == 0 || calls > c.children/50 {
				t.Errorf("LREM was called %d times for %d children", calls, c.children)
			}
		})
	}
}

func commandCalls(t testing.TB, e *engine.Rig, command string) int {
	t.Helper()
	stats, err := e.Redis().Info(soon(t), "commandstats").Result()
	must(t, err)
	_, rest, _ := strings.Cut(stats, "cmdstat_"+command+":calls=")
	digits, _, _ := strings.Cut(rest, ",")
	n, _ := strconv.Atoi(digits)
	return n
}
