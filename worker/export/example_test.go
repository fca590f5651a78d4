package export_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/alicebob/miniredis/v2"
	"gocloud.dev/blob/memblob"
	_ "modernc.org/sqlite"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/export"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// A worker that exports what one query gives, to the topics of one kind.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "export")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	shop := filepath.Join(dir, "shop.db")
	db, err := sql.Open("sqlite", shop)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, "CREATE TABLE orders (id INTEGER PRIMARY KEY, team TEXT, total TEXT); INSERT INTO orders VALUES (1, 'sales', '12.50'), (2, 'press', '7'), (3, 'sales', '0.99')"); err != nil {
		log.Fatal(err)
	}

	redis := miniredis.NewMiniRedis() // in earnest, a Redis that keeps what it is given
	if err := redis.Start(); err != nil {
		log.Fatal(err)
	}
	defer redis.Close()
	e, err := engine.Open(ctx, engine.Options{URL: "redis://" + redis.Addr()})
	if err != nil {
		log.Fatal(err)
	}
	bucket := memblob.OpenBucket(nil) // in earnest, a folder or an S3 bucket that all workers and gateways share
	w, err := worker.New(worker.Options{Engine: e, Blobs: bucket, Queues: []string{export.Queue}})
	if err != nil {
		log.Fatal(err)
	}
	export.Register(w, bucket, sqlsource.Source{
		Name: "orders", URL: "sqlite://" + shop,
		Query: "SELECT id, total FROM orders WHERE team = :team", Params: []string{"team"}, Key: []string{"id"},
		Topics: []string{"team:*"},
	})
	if err := w.Start(ctx); err != nil {
		log.Fatal(err)
	}

	made, err := e.Enqueue(ctx, engine.Spec{
		Topic: "team:sales", Type: export.JobType, Queue: export.Queue,
		Payload: export.Payload{Source: "orders", Params: map[string]string{"team": "sales"}, Request: export.Request{Format: "csv", Name: "orders"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	job, err := e.Wait(ctx, made.ID)
	if err != nil {
		log.Fatal(err)
	}
	var result export.Summary
	if err := json.Unmarshal(job.Result, &result); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %d rows, %d bytes, %d snapshot\n", result.Artifact, result.Rows, job.Artifacts[0].Size, len(result.Snapshots))
	if err := errors.Join(w.Stop(ctx), e.Close(), bucket.Close(), db.Close()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// orders.csv: 2 rows, 24 bytes, 1 snapshot
}
