package engine_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/tidemark-dev/tidemark/engine"
)

// A producer makes a job and waits for its end.
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
		Key:     "export-orders-2025", // a second call gives the same job while it is kept
	})
	if err != nil {
		log.Fatal(err)
	}
	ended, err := e.Wait(ctx, job.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ended.State, string(ended.Result))
}

// A reader shows what happens to a topic's jobs. It goes on from where it was when it keeps
// the cursor.
func ExampleEngine_Follow() {
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

	for update, err := range e.Follow(ctx, engine.FollowQuery{Topic: "user:42"}) {
		if err != nil {
			log.Fatal(err)
		}
		if update.Kind == engine.UpdateRecord {
			r, err := update.Entry.Record()
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("%s: %s\n", update.Cursor, r.Type)
		}
	}
}

func ExampleParseTopic() {
	_, err := engine.ParseTopic("everyone")
	fmt.Println(err)
	// Output: invalid topic "everyone": want kind:name, kind [a-z][a-z0-9-]{0,31} and name [A-Za-z0-9._@-]{1,128}, such as user:42
}
