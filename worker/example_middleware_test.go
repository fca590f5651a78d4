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

// The outer middleware traces each attempt. The inner one decides which errors of handlers no retry
// can cure.
func ExampleWorker_Use() {
	redis := miniredis.NewMiniRedis() // use a real Redis, which keeps its data
	if err := redis.Start(); err != nil {
		log.Fatal(err)
	}
	defer redis.Close()
	ctx := context.Background()
	e, err := engine.Open(ctx, engine.Options{URL: "redis://" + redis.Addr()})
	if err != nil {
		log.Fatal(err)
	}
	w, err := worker.New(worker.Options{Engine: e})
	if err != nil {
		log.Fatal(err)
	}

	errNoCustomer := errors.New("no such customer")
	trace := func(next worker.HandlerFunc) worker.HandlerFunc {
		return func(ctx context.Context, run *worker.Run) error {
			fmt.Printf("begin %s, attempt %d\n", run.Type(), run.Attempt())
			err := next(ctx, run)
			fmt.Printf("end: %v\n", err)
			return err
		}
	}
	permanent := func(next worker.HandlerFunc) worker.HandlerFunc {
		return func(ctx context.Context, run *worker.Run) error {
			err := next(ctx, run)
			if errors.Is(err, errNoCustomer) {
				return worker.Permanent(err) // no retry finds one
			}
			return err
		}
	}
	w.Use(trace, permanent) // trace is the outer one
	worker.Handle(w, "invoice", func(_ context.Context, _ *worker.Run, customer int) error {
		return fmt.Errorf("invoice customer %d: %w", customer, errNoCustomer)
	})
	if err := w.Start(ctx); err != nil {
		log.Fatal(err)
	}

	enqueued, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "invoice", Payload: 7})
	if err != nil {
		log.Fatal(err)
	}
	job, err := e.Wait(ctx, enqueued.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(job.State, job.Error.Code)
	if err := errors.Join(w.Stop(ctx), e.Close()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// begin invoice, attempt 1
	// end: invoice customer 7: no such customer
	// failed permanent
}
