package workertest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/workertest"
)

// A handler is executed without Redis. In a test, use Run in place of Record.
func Example() {
	rec, err := workertest.Record(context.Background(), export, order{Rows: 4})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rec.State, string(rec.Result))
	fmt.Println(rec.Stages, rec.Percents)
	// Output:
	// succeeded {"rows":4}
	// [read write] [0 18.7 37.5 56.2 75 100]
}

// A handler that is drained in the middle goes on where it was.
func ExampleResume() {
	ctx := context.Background()
	atHalf := func(r *workertest.Recording) bool { return r.Percent() >= 37.5 }
	first, err := workertest.Record(ctx, export, order{Rows: 4}, workertest.Interrupt(worker.ErrDraining, atHalf))
	if err != nil {
		log.Fatal(err)
	}
	second, err := workertest.Record(ctx, export, order{Rows: 4}, workertest.Resume(first))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(first.State, "at", first.Percent())
	fmt.Println(second.State, "from", second.Percents[0])
	// Output:
	// queued at 37.5
	// succeeded from 37.5
}

// Middleware sees each attempt. On a worker it is added with Worker.Use.
func ExampleMiddleware() {
	logging := func(next worker.HandlerFunc) worker.HandlerFunc {
		return func(ctx context.Context, run *worker.Run) error {
			err := next(ctx, run)
			fmt.Printf("attempt %d of %s ended with %v\n", run.Attempt(), run.Type(), err)
			return err
		}
	}
	if _, err := workertest.Record(context.Background(), export, order{Rows: 4}, workertest.Middleware(logging)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// attempt 1 of test ended with <nil>
}
