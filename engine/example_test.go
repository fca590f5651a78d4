package engine_test

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"unicode/utf8"

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
// the cursor. It prints lines such as "Orders 2025: running, 61.4 %".
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

	show := func(j engine.Job) { fmt.Printf("%s: %s, %.1f %%\n", cmp.Or(j.Title, j.Type), j.State, j.Percent) }
	for update, err := range e.Follow(ctx, engine.FollowQuery{Topic: "user:42"}) {
		if err != nil {
			log.Fatal(err)
		}
		switch update.Kind {
		case engine.UpdateSnapshot: // the jobs as they are
			for _, view := range update.Jobs {
				if j, err := view.Job(); err == nil {
					show(j)
				}
			}
		case engine.UpdateRecord: // what happens to one of them
			if r, err := update.Record(); err == nil && r.Job != nil {
				show(*r.Job)
			}
		}
	}
}

// A store in SQL: the rows, the shard's place and its fence change in one transaction. Its table
// places has a row (shard, position, fence) a shard, (0, ”, 0) and so on before the first batch.
type sqlStore struct{ db *sql.DB }

func (s sqlStore) Place(ctx context.Context, shard int) (place engine.OutboxPlace, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT position, fence FROM places WHERE shard = ?`, shard).Scan(&place.Position, &place.Fence)
	return place, err
}

func (s sqlStore) Commit(ctx context.Context, b engine.OutboxBatch) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	moved, err := tx.ExecContext(ctx, `UPDATE places SET position = ?, fence = ? WHERE shard = ? AND position = ? AND fence <= ?`,
		b.Through, b.Fence, b.Shard, b.After, b.Fence)
	if err != nil {
		return err
	}
	if n, err := moved.RowsAffected(); err != nil || n == 0 { // what OutboxBatch.Admits says
		return errors.Join(err, engine.ErrFenced)
	}
	for _, gap := range b.Gaps {
		if _, err := tx.ExecContext(ctx, `INSERT INTO gaps VALUES (?, ?, ?, ?)`, b.Shard, gap.Reason, gap.After, gap.Through); err != nil {
			return err
		}
	}
	for i, r := range b.Records {
		if !utf8.Valid(r.JSON) {
			return &engine.PoisonError{Record: i, Reason: "it is not UTF-8"}
		}
		// After a gap records may come again.
		if _, err := tx.ExecContext(ctx, `INSERT INTO records VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, r.Topic, r.ID, r.JSON); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// A consumer writes every milestone and notification to a database, once. Any number of
// processes may run it: they share the shards.
func ExampleConsumer_Run() {
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
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	c, err := e.Consumer(engine.ConsumerOptions{Group: "archive"})
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Run(ctx, sqlStore{db}); err != nil {
		log.Fatal(err)
	}
}

func ExampleParseTopic() {
	_, err := engine.ParseTopic("everyone")
	fmt.Println(err)
	// Output: invalid topic "everyone": want kind:name, kind [a-z][a-z0-9-]{0,31} and name [A-Za-z0-9._@-]{1,128}, such as user:42
}
