package engine_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// Of a large fan-out that has ended a snapshot holds the newest children, and beside them
// what else has ended. Lists have those behind all others.
func TestChildrenDoNotCrowdOthersOutOfASnapshot(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		ctx := soon(t)
		other := newDesk(t, e, "user:42")
		if err := e.Cancel(ctx, other.job); err != nil {
			t.Fatal(err)
		}
		before, err := e.Snapshot(ctx, "user:42", "")
		if err != nil {
			t.Fatal(err)
		}
		d := newDesk(t, e, "user:42")
		d.start(1)
		parts := make([]engine.Child, 120)
		for i := range parts {
			parts[i] = engine.Child{Name: fmt.Sprint(i), Optional: true, Spec: engine.Spec{Type: "export"}}
		}
		parts, plan, err := runtime.PlanFanOut("all", d.topic, engine.DefaultQueue, parts)
		if err != nil {
			t.Fatal(err)
		}
		if ack := d.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}); ack.Err != nil {
			t.Fatal(ack.Err)
		}
		if err := e.Spawn(ctx, d.job, d.r.Fence, 0, "all", parts); err != nil {
			t.Fatal(err)
		}
		want := []engine.JobID{d.job, other.job} // as lists have them
		for i := range parts {
			id := runtime.ChildID(d.job, "all", fmt.Sprint(i))
			if err := e.Cancel(ctx, id); err != nil {
				t.Fatal(err)
			}
			want = slices.Insert(want, 2, id)
		}
		if ack := d.write(runtime.Report{Type: engine.JobSucceeded}); ack.Err != nil {
			t.Fatal(ack.Err)
		}

		fresh := snapshotIDs(t, e, "")
		if !slices.Equal(fresh, want[:102]) {
			t.Errorf("a fresh snapshot has %d jobs, want the parent, the other job and 100 children:\n%v", len(fresh), fresh)
		}
		if since := snapshotIDs(t, e, before.Cursor); len(since) != len(want) {
			t.Errorf("a snapshot since before the fan-out has %d jobs, want %d", len(since), len(want))
		}
		for _, limit := range []int{1, 7, 500} {
			if got := listIDs(t, e, "user:42", limit); !slices.Equal(got, want) {
				t.Errorf("pages of %d list %d jobs, want %d:\n%v", limit, len(got), len(want), got)
			}
		}
	})
}

// What is gone leaves a topic's list of jobs as others end.
func TestJobsThatAreGoneLeaveTheIndex(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		ctx := minutes(t)
		opts, err := redis.ParseURL(url)
		must(t, err)
		raw := redistest.Dial(t, opts.Addr)
		end := func() {
			must(t, e.Cancel(ctx, enqueue(t, e)))
		}
		for range 50 {
			end()
		}
		hashes, err := raw.Keys(ctx, "*:j:*").Result()
		must(t, err, raw.Del(ctx, hashes...).Err())
		index, err := raw.Keys(ctx, "*:x:user:42").Result()
		must(t, err)
		for kept := int64(1); ; kept++ {
			end()
			listed, err := raw.ZCard(ctx, index[0]).Result()
			must(t, err)
			if listed == kept {
				return
			}
			if kept == 2000 {
				t.Fatalf("the index has %d jobs, and there are %d", listed, kept)
			}
		}
	})
}

func snapshotIDs(t *testing.T, e *engine.Rig, held engine.Cursor) []engine.JobID {
	t.Helper()
	s, err := e.Snapshot(soon(t), "user:42", held)
	if err != nil {
		t.Fatal(err)
	}
	return idsOf(s.Jobs)
}

func listIDs(t *testing.T, e *engine.Rig, topic engine.Topic, limit int) (ids []engine.JobID) {
	t.Helper()
	q := engine.JobsQuery{Limit: limit}
	for {
		page, err := e.Jobs(soon(t), topic, q)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, idsOf(page.Jobs)...)
		if q.After = page.Next; q.After == "" {
			return ids
		}
	}
}

func idsOf(views []engine.View) []engine.JobID {
	ids := make([]engine.JobID, len(views))
	for i, v := range views {
		ids[i] = v.ID
	}
	return ids
}
