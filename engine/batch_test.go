package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// trips counts the round trips of a client that carry calls of a script.
type trips struct{ n atomic.Int64 }

func (c *trips) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (c *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (c *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return strings.HasPrefix(cmd.Name(), "eval") }) {
			c.n.Add(1)
		}
		return next(ctx, cmds)
	}
}

// band is as many runs, in topics of any shards.
func band(t *testing.T, e *engine.Rig, n int) []*desk {
	t.Helper()
	desks := make([]*desk, n)
	for i := range desks {
		desks[i] = newDesk(t, e, engine.Topic(fmt.Sprint("user:", i)))
		desks[i].start(1)
	}
	return desks
}

// tick submits a desk's next tick, and tells answered what became of it.
func (d *desk) tick(answered func(error)) error {
	r := d.r
	r.Type, r.Tenths = engine.JobProgress, 500
	r.Fence.Seq++
	return d.e.Submit([]runtime.Report{r}, func(acks []runtime.Ack, err error) {
		if err == nil {
			err = acks[0].Err
		}
		answered(err)
	})
}

func TestTogetherIsOneRoundTripALane(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	desks := band(t, e, 64)
	var count trips
	e.Redis().AddHook(&count)
	var answers sync.WaitGroup
	answers.Add(len(desks) + 1)
	heard := func(err error) {
		if err != nil {
			t.Error(err)
		}
		answers.Done()
	}
	e.Batch(func() {
		// One in the other is one still, and so is what others commit meanwhile.
		e.Batch(func() {
			for _, d := range desks[1:] {
				if err := d.tick(heard); err != nil {
					t.Fatal(err)
				}
			}
		})
		taken := make(chan struct{})
		go func() {
			defer answers.Done()
			if err := desks[0].tick(heard); err != nil {
				t.Error(err)
			}
			close(taken)
		}()
		<-taken
		if n := count.n.Load(); n != 0 {
			t.Errorf("%d round trips before all was submitted", n)
		}
	})
	answers.Wait()
	if n := count.n.Load(); n != 2 {
		t.Errorf("%d round trips, want one a lane, 2", n)
	}
}

func TestCloseSendsWhatIsHeldTogether(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	d := newDesk(t, e, "user:1")
	d.start(1)
	answer := make(chan error, 1)
	e.Batch(func() {
		if err := d.tick(func(err error) { answer <- err }); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := <-answer; err != nil {
			t.Errorf("a report that was taken before Close: %v", err)
		}
	})
}
