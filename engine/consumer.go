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

// ErrGroupDropped says that a caller has dropped the group with DropGroup. DeclareGroup creates it
// again.
var ErrGroupDropped = errors.New("the group was dropped")

// ConsumerOptions say how a Consumer reads. Group is required; the zero value of any other field
// means the default below. The consumers of a group may have different options.
type ConsumerOptions struct {
	// Group is the consumer group's name, in the form of a job's type: [a-z][a-z0-9._-]{0,63}. A
	// reader declares the group where it is undeclared, unless DropGroup has dropped it.
	Group string

	// Lease is how long a reader holds its shard, from 100 milliseconds to 10 minutes. A reader
	// renews it every third of that time. When a process dies, another reader takes its shards one
	// Lease later. Defaults to 5 seconds.
	Lease time.Duration

	// BatchEntries and BatchBytes bound a batch: its number of records, from 1 to 10,000, and the
	// bytes of their JSON, from 1 KiB to 16 MiB. A batch has at least one record, however large.
	// Default to 500 and 256 KiB.
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

// Validate checks o with its defaults set. Its error joins an *OptionError for each field that is
// out of bounds, and wraps ErrInvalid.
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

// Consumer returns a Consumer of a group. Run begins to read. Its error wraps ErrInvalid.
func (e *Engine) Consumer(o ConsumerOptions) (*Consumer, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("consumer: %w", err)
	}
	return &Consumer{e: e, o: o.Defaults()}, nil
}

// ConsumerStats count what a Consumer has done since Engine.Consumer returned it.
type ConsumerStats struct {
	// The store has stored Records, Batches and Gaps; the consumer has set Aside records aside.
	Records, Batches, Gaps, Aside int64
	// Shards is how many shards the consumer reads now.
	Shards int
}

// Stats returns the counts.
func (c *Consumer) Stats() ConsumerStats {
	return ConsumerStats{
		Records: c.records.Load(), Batches: c.batches.Load(), Gaps: c.gaps.Load(), Aside: c.aside.Load(), Shards: int(c.shards.Load()),
	}
}

// Run reads until ctx ends, and hands each batch to store. Among all consumers of the group, one
// reader at a time holds a shard, by a lease; the consumers divide the shards evenly.
//
// Run returns nil when ctx has ended. It returns an error when it cannot go on: one that wraps
// ErrInvalid when the store returns a position that no batch had, ErrGroupDropped, or ErrClosed.
// Run logs other errors, Redis's and the store's, and its readers try again, at least every second.
// Before it returns, Run waits for the store's calls, whose ctx has ended, and gives the leases
// back.
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

// consuming is one call of Run.
type consuming struct {
	c     *Consumer
	e     *Engine
	store OutboxStore
	owner string
	end   context.CancelCauseFunc

	readers map[int]*shardReader // only lead's goroutine uses it
	ended   chan *shardReader
	bells   *bells
	work    sync.WaitGroup

	known knownHistories
}
