package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker"
)

// On a Cluster that has lost a node the jobs of the others are seen to: swept, compared with
// asynq, and ended by their deadlines.
func TestANodeThatIsGoneHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	for _, n := range nodes.Each {
		if err := n.Client(t).ConfigSet(soon(t), "cluster-require-full-coverage", "no").Err(); err != nil {
			t.Fatal(err)
		}
	}
	e := openIn(t, nodes.URL(), fmt.Sprintf("t%d", namespaces.Add(1)))
	// asynq's own keys stay: of the list of its queues, of the queue and of its rescue queue.
	var queue string
	var victim *redistest.Redis
	for i := 0; victim == nil; i++ {
		queue = fmt.Sprint("elsewhere", i)
		needed := []*redistest.Redis{
			nodes.Home(t, "asynq:queues"), nodes.Home(t, asynqKey(e, queue, "pending")), nodes.Home(t, asynqKey(e, runtime.RescueQueue(queue), "pending")),
		}
		if at := slices.IndexFunc(nodes.Each, func(n *redistest.Redis) bool { return !slices.Contains(needed, n) }); at >= 0 {
			victim = nodes.Each[at]
		}
	}

	var deadline time.Time                    // of the last job that has one
	var late, waiting, running []engine.JobID // of nodes that stay
	gone := 0
	for i := range 60 {
		s := engine.Spec{Topic: engine.Topic(fmt.Sprint("team:", i)), Type: "export", Queue: queue}
		if i%3 == 0 {
			deadline = runtime.Of(e).Now().Add(5 * time.Second)
			s.Deadline = deadline
		}
		made, err := e.Enqueue(soon(t), s)
		if err != nil {
			t.Fatal(err)
		}
		if i%3 == 1 {
			forgetDispatch(t, e, made.ID, queue)
		}
		if i%3 == 2 {
			started := runtime.Report{Type: engine.JobStarted, Job: made.ID, Fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken(), Seq: 1}}
			if acks, err := runtime.Of(e).Commit(soon(t), started); err != nil || acks[0].Err != nil {
				t.Fatal(acks, err)
			}
		}
		if nodes.Home(t, jobKey(e, made.ID)) == victim {
			gone++
			continue
		}
		switch i % 3 {
		case 0:
			late = append(late, made.ID)
		case 1:
			waiting = append(waiting, made.ID)
		default:
			running = append(running, made.ID)
		}
	}
	if gone == 0 || len(late) == 0 || len(waiting) == 0 || len(running) == 0 {
		t.Fatalf("%d jobs are on the node that goes; %d, %d and %d stay", gone, len(late), len(waiting), len(running))
	}
	eventually(t, "the deadlines to pass", func() bool { return runtime.Of(e).Past(deadline) })
	victim.Kill()

	o := brief(e)
	o.ReconcileInterval, o.Lease = 2*time.Second, 4*time.Second
	r := worker.Reconciler(build(t, o))
	eventually(t, "the jobs of the other nodes to be seen to", func() bool {
		if err := r.Pass(t.Context()); err == nil {
			t.Fatal("a pass finds no fault, and a node is gone")
		}
		return !slices.ContainsFunc(late, func(job engine.JobID) bool {
			_, err := runtime.Of(e).Current(soon(t), job)
			return !errors.Is(err, engine.ErrEnded)
		}) && !slices.ContainsFunc(waiting, func(job engine.JobID) bool {
			a, err := runtime.Of(e).Current(soon(t), job)
			return err != nil || !a.Dispatched
		})
	})

	ctx, cancel := context.WithCancel(t.Context())
	sweeps := make(chan struct{})
	go func() { defer close(sweeps); worker.Sweep(build(t, o)).Run(ctx) }()
	eventually(t, "the runs of the other nodes to be claimed", func() bool {
		return !slices.ContainsFunc(running, func(job engine.JobID) bool {
			a, err := runtime.Of(e).Current(soon(t), job)
			return err != nil || a.Attempt != 2
		})
	})
	cancel()
	<-sweeps
}
