package engine_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/tidemark-dev/tidemark/engine"
)

// A producer makes a job and follows it to its end.
func Example() {
	ctx := context.Background()
	e, err := engine.Open(ctx, engine.Options{URL: os.Getenv("REDIS_URL")})
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			log.Print(err)
		}
	}()

	job, err := e.Enqueue(ctx, engine.Spec{
		Topic: "user:42", Type: "export", Title: "Orders 2025",
		Payload: map[string]int{"year": 2025},
		Key:     "export-orders-2025", // a second call within a day gives the same job
	})
	if err != nil {
		log.Fatal(err)
	}
	for update, err := range e.Follow(ctx, engine.FollowQuery{Job: job.Job}) {
		if err != nil {
			log.Fatal(err)
		}
		if update.Kind == engine.UpdateRecord {
			r, err := update.Entry.Record()
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("%s %.1f %%\n", r.Type, r.Job.Percent)
		}
	}
}

func ExampleParseTopic() {
	_, err := engine.ParseTopic("everyone")
	fmt.Println(err)
	// Output: invalid topic "everyone": want kind:name, kind [a-z][a-z0-9-]{0,31} and name [A-Za-z0-9._@-]{1,128}, such as user:42
}
