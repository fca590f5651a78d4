package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/alicebob/miniredis/v2"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
)

// A handler that survives its worker: it carries on from its last checkpoint.
func Example() {
	redis := miniredis.NewMiniRedis() // in earnest, a Redis that keeps what it is given
	if err := redis.Start(); err != nil {
		log.Fatal(err)
	}
	defer redis.Close()
	ctx := context.Background()
	e, err := engine.Open(ctx, engine.Options{URL: "redis://" + redis.Addr()})
	if err != nil {
		log.Fatal(err)
	}

	type order struct {
		Rows int64 `json:"rows"`
	}
	w, err := worker.New(worker.Options{Engine: e})
	if err != nil {
		log.Fatal(err)
	}
	worker.Handle(w, "export", func(ctx context.Context, run *worker.Run, o order) error {
		var next int64
		if _, err := run.Resume(&next); err != nil {
			return err
		}
		run.Unit("rows")
		for ; next < o.Rows; next++ {
			run.Progress(next, o.Rows)
			if run.CheckpointDue() {
				if err := run.Checkpoint(next); err != nil {
					return err
				}
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		run.Progress(next, o.Rows)
		return run.Result(map[string]int64{"rows": next})
	})
	if err := w.Start(ctx); err != nil {
		log.Fatal(err)
	}

	job, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "export", Payload: order{Rows: 1000}})
	if err != nil {
		log.Fatal(err)
	}
	for u, err := range e.Follow(ctx, engine.FollowQuery{Filter: engine.Filter{Job: job.ID}, After: engine.Beginning}) {
		if err != nil {
			log.Fatal(err)
		}
		if u.Kind != engine.UpdateRecord || u.Entry.Type().Tick() {
			continue
		}
		record, err := u.Entry.Record()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %v%%\n", record.Type, record.Job.Percent)
	}
	if err := errors.Join(w.Stop(ctx), e.Close()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// job.queued 0%
	// job.started 0%
	// job.succeeded 100%
}
