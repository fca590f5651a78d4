package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// ErrGroupDropped says that somebody has dropped the group with DropGroup. DeclareGroup makes it
// anew.
var ErrGroupDropped = errors.New("the group was dropped")

// ConsumerOptions say how a Consumer reads. Group is required; the other fields' zero values
// mean the defaults below. The consumers of a group need not agree on them.
type ConsumerOptions struct {
	// Group is the consumer group, in the form of a job's type: [a-z][a-z0-9._-]{0,63}. A
	// reader that finds it undeclared declares it, unless DropGroup has dropped it.
	Group string

	// Lease is for how long a reader has its shard, from 100 milliseconds to 10 minutes.
	// Readers renew it every third of it. A shard whose process died has its next reader a lease
	// later. Defaults to 5 seconds.
	Lease time.Duration

	// BatchEntries and BatchBytes are the most records of a batch and the most bytes of their
	// JSON, from 1 to 10,000 and from 1 KiB to 16 MiB; a batch has at least one record. Default
	// to 500 and 256 KiB.
	BatchEntries int
	BatchBytes   int
}

// Defaults returns o with every zero field set to its default.
func (o ConsumerOptions) Defaults() ConsumerOptions {
	option.Default(&o.Lease, 5*time.Second)
	option.Default(&o.BatchEntries, 500)
	option.Default(&o.BatchBytes, 256<<10)
	return o
}

// Validate checks o as Defaults completes it. Its error joins an *OptionError for each field
// that is out of bounds, and wraps ErrInvalid.
func (o ConsumerOptions) Validate() error {
	o = o.Defaults()
	var group error
	if wire.CheckName("group", o.Group) != nil {
		group = option.Invalid("Group", o.Group, "want [a-z][a-z0-9._-]{0,63}")
	}
	return errors.Join(
		group,
		option.Within("Lease", o.Lease, 100*time.Millisecond, 10*time.Minute),
		option.Within("BatchEntries", o.BatchEntries, 1, 10_000),
		option.Within("BatchBytes", o.BatchBytes, 1<<10, 16<<20),
	)
}

// A Consumer reads the outbox for a group. Its methods may be called concurrently.
type Consumer struct {
	e *Engine
	o ConsumerOptions

	records, batches, gaps, aside, shards atomic.Int64
}

// Consumer makes a Consumer of a group; nothing is read before Run. Its error wraps ErrInvalid.
func (e *Engine) Consumer(o ConsumerOptions) (*Consumer, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("consumer: %w", err)
	}
	return &Consumer{e: e, o: o.Defaults()}, nil
}

// ConsumerStats count what a Consumer has done since it was made.
type ConsumerStats struct {
	// Records, Batches and Gaps were stored, Aside set aside.
	Records, Batches, Gaps, Aside int64
	// Shards are those that it reads now.
	Shards int
}

// Stats returns the counts.
func (c *Consumer) Stats() ConsumerStats {
	return ConsumerStats{
		Records: c.records.Load(), Batches: c.batches.Load(), Gaps: c.gaps.Load(), Aside: c.aside.Load(), Shards: int(c.shards.Load()),
	}
}

// Run reads until ctx ends, and hands what it reads to store. Each shard has one reader among
// all consumers of the group, by a lease; the consumers share the shards evenly.
//
// Run returns nil when ctx has ended. It returns an error when reading on makes no sense: one that wraps
// ErrInvalid when the store has a position that no batch had, ErrGroupDropped, or ErrClosed. Other errors,
// Redis's and the store's, are logged, and the readers try again, at least every second. Run
// waits for calls of the store, whose ctx has ended, and gives the leases back.
func (c *Consumer) Run(ctx context.Context, store OutboxStore) error {
	ending, end := context.WithCancelCause(ctx)
	r := &consuming{
		c: c, e: c.e, store: store, owner: runtime.NewToken(), end: end,
		readers: map[int]*shardReader{}, ended: make(chan *shardReader), bells: newBells(c.e),
	}
	r.bells.start(ending)
	r.lead(ending)
	end(nil)
	r.work.Wait()
	r.leave(ctx)
	if why := context.Cause(ending); ctx.Err() == nil {
		return fmt.Errorf("consumer of %s: %w", c.o.Group, why)
	}
	return nil
}

// consuming is one Run.
type consuming struct {
	c     *Consumer
	e     *Engine
	store OutboxStore
	owner string
	end   context.CancelCauseFunc

	readers map[int]*shardReader // of lead's goroutine
	ended   chan *shardReader
	bells   *bells
	work    sync.WaitGroup

	known knownHistories
}
