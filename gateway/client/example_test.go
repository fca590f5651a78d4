package client_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/client"
)

// A client enqueues a job, and follows its topic's exports until it is interrupted.
func Example() {
	ctx := context.Background()
	c, err := client.New(client.Options{URL: "http://127.0.0.1:8080", Token: os.Getenv("TIDEMARK_TOKEN")})
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			log.Print(err)
		}
	}()

	job, err := c.Enqueue(ctx, wire.Spec{Topic: "user:42", Type: "export"})
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(job.ID)
	q := wire.FollowQuery{Topic: "user:42", Filter: wire.Filter{Type: "export"}}
	for update, err := range c.Follow(ctx, q) {
		if err != nil {
			log.Print(err)
			return
		}
		if update.Kind == wire.UpdateRecord {
			fmt.Println(update.Cursor, update.Entry.Type(), update.Entry.JobID())
		}
	}
}
