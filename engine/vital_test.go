package engine_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// stuff fills both connections of commits: each carries 4 MiB of checkpoints, which take
// more than 2.5 seconds there. It calls each while they are on their way, and returns
// how many calls were answered before the first of them.
func stuff(t *testing.T, plant bool, each func(ctx context.Context, e *engine.Rig, running runtime.Beat) error) int {
	t.Helper()
	proxy := redistest.NewProxy(t, redistest.Server(t).Addr())
	e := open(t, "", func(o *engine.Options) {
		// As many connections as there are lanes: a call that wants another one waits.
		o.Redis = &redis.UniversalOptions{
			Addrs: []string{proxy.Addr()}, PoolSize: 2, PipelinePoolSize: -1,
			ReadTimeout: time.Minute, WriteTimeout: time.Minute, PoolTimeout: time.Minute,
		}
		o.CommitTimeout = time.Minute
	})
	if plant {
		defer e.BeatBehindReports()() // Close must find its own
	}
	desks := band(t, e, 8)
	lanes := map[int]bool{}
	for _, d := range desks {
		lanes[int(d.job[1]-'0')%2] = true
	}
	if len(lanes) != 2 {
		t.Fatalf("the jobs are of %d lanes, want 2", len(lanes))
	}
	proxy.Delay(20 * time.Millisecond) // 1.6 MiB a second and connection
	defer proxy.Delay(0)

	var arrived sync.WaitGroup
	var answered atomic.Int64
	e.Batch(func() {
		for _, d := range desks {
			r := d.r
			r.Type, r.Checkpoint, r.Fence.Seq = engine.JobCheckpoint, make([]byte, 1<<20), r.Fence.Seq+1
			arrived.Add(1)
			err := e.Submit([]runtime.Report{r}, func(acks []runtime.Ack, err error) {
				if err != nil || acks[0].Err != nil {
					t.Error(err, acks)
				}
				answered.Add(1)
				arrived.Done()
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	all := make(chan struct{})
	go func() {
		arrived.Wait()
		close(all)
	}()
	calls := 0
	running := runtime.Beat{Job: desks[0].job, Attempt: 1, Token: desks[0].r.Fence.Token}
	for {
		select {
		case <-all:
			return calls
		default:
		}
		if err := each(soon(t), e, running); err != nil {
			t.Fatal(err)
		}
		if answered.Load() == 0 {
			calls++
		}
	}
}

// A heartbeat that waits for what the runs report looks like silence, and so does a
// sweep that does: so it is answered several times before the reports are, which take a
// hundred times as long on the same slow network.
func TestHeartbeatsAreNotBehindReports(t *testing.T) {
	const several = 5
	for name, call := range map[string]func(context.Context, *engine.Rig, runtime.Beat) error{
		"heartbeat": func(ctx context.Context, e *engine.Rig, running runtime.Beat) error {
			flags, err := e.Heartbeat(ctx, []runtime.Beat{running})
			if err == nil && flags[0] != runtime.FlagNone {
				err = fmt.Errorf("flag %q", flags[0])
			}
			return err
		},
		"sweep": func(ctx context.Context, e *engine.Rig, running runtime.Beat) error {
			beats, err := beating(ctx, e)
			if err == nil && beats[running.Job] == "" {
				err = fmt.Errorf("heartbeats %v, want one of job %s", beats, running.Job)
			}
			if err == nil {
				_, err = e.Identity(ctx)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if n := stuff(t, false, call); n < several {
				t.Errorf("%d calls were answered before the first report, want %d", n, several)
			}
		})
		t.Run(name+" with a plant", func(t *testing.T) {
			t.Parallel()
			if n := stuff(t, true, call); n >= several {
				t.Errorf("on the connections of commits, %d calls were answered before the first report: this would not be seen", n)
			}
		})
	}
}

// Whoever only produces or reads pays nothing for heartbeats.
func TestAnEngineThatNeverBeatsHasNoConnectionForIt(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	if _, err := e.Job(soon(t), enqueue(t, e)); err != nil {
		t.Fatal(err)
	}
	if n := e.VitalConnections(); n != 0 {
		t.Errorf("%d connections without a heartbeat", n)
	}
	if _, err := e.Silent(soon(t), nil); err != nil {
		t.Fatal(err)
	}
	if n := e.VitalConnections(); n != 1 {
		t.Errorf("%d connections after the first sweep, want 1", n)
	}
}
