package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A large fan-out goes to Redis in slices, by count and by bytes, and what others of its process
// report is committed between them: the order of the log tells.
func TestOthersReportWhileChildrenAreMade(t *testing.T) {
	for name, c := range map[string]struct{ children, payload int }{
		"many": {scale(640, 60_000), 1}, "large": {40, 100 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			e := with(t, redistest.Server(t).URL(), engine.Options{Shards: 1, LogEntries: 1_000_000})
			parent, other := newDesk(t, e, "user:1"), newDesk(t, e, "user:2")
			parent.start(1)
			other.start(1)
			children := make([]engine.Child, c.children)
			for i := range children {
				children[i] = engine.Child{Name: fmt.Sprint(i), Spec: engine.Spec{Type: "export", Payload: make([]byte, c.payload)}}
			}
			children, plan, err := runtime.PlanFanOut("all", parent.topic, engine.DefaultQueue, children)
			must(t, err, parent.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}).Err)
			ctx, made := context.WithCancel(minutes(t))
			var reporting sync.WaitGroup
			reporting.Go(func() {
				for ctx.Err() == nil { // one report on its way at any time
					must(t, other.write(runtime.Report{Type: engine.JobProgress}).Err)
				}
			})
			err = e.Spawn(minutes(t), parent.job, parent.r.Fence, 0, "all", children)
			made()
			reporting.Wait()
			must(t, err)
			entries, err := e.Redis().XRange(minutes(t), keyOf(t, e, "log"), "-", "+").Result()
			must(t, err)
			found, streak, longest := 0, 0, 0
			for _, entry := range entries {
				var r engine.Record
				must(t, json.Unmarshal([]byte(entry.Values["r"].(string)), &r))
				if r.Job.Parent == parent.job {
					found++
					streak++
					longest = max(longest, streak)
				} else {
					streak = 0
				}
			}
			t.Logf("%d children, at most %d of them with no other report between", found, longest)
			if found != c.children || longest > c.children/2 {
				t.Errorf("%d of %d children, %d of them in a row", found, c.children, longest)
			}
		})
	}
}
