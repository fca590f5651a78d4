// Command quickstart is a producer and a handler in one process. It takes
// the Redis of TIDEMARK_REDIS_URL, or that on 127.0.0.1:6379.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
)

// Export is the payload of a job: what to do, not the data itself.
type Export struct{ Rows int64 }

// export counts rows. When its process dies, the next attempt goes on from the last
// checkpoint, and the percent that readers see never falls.
func export(ctx context.Context, run *worker.Run, todo Export) error {
	var row int64
	if _, err := run.Resume(&row); err != nil {
		return err
	}
	run.Unit("rows")
	for ; row < todo.Rows; row++ {
		<-time.After(time.Millisecond) // the work on a row
		run.Progress(row+1, todo.Rows)
		if run.CheckpointDue() {
			if err := run.Checkpoint(row + 1); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx) // canceled, paused, or told to hand the job back
		}
	}
	return run.Result(map[string]int64{"rows": row})
}

func main() {
	if err := quickstart(context.Background(), os.Getenv("TIDEMARK_REDIS_URL"), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func quickstart(ctx context.Context, url string, out io.Writer) (err error) {
	e, err := engine.Open(ctx, engine.Options{URL: url})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	// A queue of its own: "tidemark up" knows no exports.
	w, err := worker.New(worker.Options{Engine: e, Queues: []string{"exports"}})
	if err != nil {
		return err
	}
	worker.Handle(w, "export", export)
	if err := w.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Stop(ctx)) }()
	job, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "export", Queue: "exports", Payload: Export{Rows: 1000}})
	if err != nil {
		return err
	}
	ended, err := e.Wait(ctx, job.ID)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s at %.1f%%: %s\n", ended.State, ended.Percent, ended.Result)
	return nil
}
