package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A sink is a store that keeps places alone.
type sink struct {
	mu     sync.Mutex
	places map[int]engine.OutboxPlace
	stored atomic.Int64
	all    int64
	done   func()
}

func (s *sink) Place(_ context.Context, shard int) (engine.OutboxPlace, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.places[shard], nil
}

func (s *sink) Commit(_ context.Context, b engine.OutboxBatch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !b.Admits(s.places[b.Shard]) {
		return engine.ErrFenced
	}
	s.places[b.Shard] = b.Place()
	if s.stored.Add(int64(len(b.Records))) >= s.all {
		s.done()
	}
	return nil
}

// BenchmarkConsumer reads 20,000 records of 16 shards over and over, beside bare reads of the same
// streams, a goroutine a shard: plain ones, and a group's with acknowledgements.
func BenchmarkConsumer(b *testing.B) {
	const all = 20_000
	s := redistest.Server(b)
	e := open(b, s.URL(), spacious)
	ctx := context.Background()
	must(b, e.DeclareGroup(ctx, "archive"), e.DeclareGroup(ctx, "hold")) // which acknowledges nothing
	counted(b, e, topicsOf("bench"), 0, all)
	passes := func(name string, pass func(b *testing.B, n int)) {
		b.Run(name, func(b *testing.B) {
			b.ResetTimer()
			for n := range b.N {
				pass(b, n)
			}
			b.ReportMetric(float64(all*b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
	each := func(b *testing.B, read func(shard int) (int, error)) {
		var total atomic.Int64
		var shards sync.WaitGroup
		for shard := range e.Shards() {
			shards.Go(func() {
				n, err := read(shard)
				if err != nil {
					b.Error(err)
				}
				total.Add(int64(n))
			})
		}
		if shards.Wait(); total.Load() != all {
			b.Errorf("%d records were read", total.Load())
		}
	}
	passes("baseline=xread", func(b *testing.B, _ int) {
		each(b, func(shard int) (n int, _ error) {
			for at := "0-0"; ; {
				streams, err := e.Redis().XRead(ctx, &redis.XReadArgs{Streams: []string{e.OutboxKey(shard), at}, Count: 500, Block: -1}).Result()
				if errors.Is(err, redis.Nil) {
					return n, nil
				}
				if err != nil {
					return n, err
				}
				m := streams[0].Messages
				n, at = n+len(m), m[len(m)-1].ID
			}
		})
	})
	bare := 0
	passes("baseline=xreadgroup-xack", func(b *testing.B, _ int) {
		bare++
		group := fmt.Sprintf("bare-%d", bare)
		each(b, func(shard int) (n int, _ error) {
			key := e.OutboxKey(shard)
			if err := e.Redis().XGroupCreate(ctx, key, group, "0").Err(); err != nil {
				return 0, err
			}
			for {
				streams, err := e.Redis().XReadGroup(ctx, &redis.XReadGroupArgs{Group: group, Consumer: "c", Streams: []string{key, ">"}, Count: 500, Block: -1}).Result()
				if errors.Is(err, redis.Nil) {
					return n, e.Redis().XGroupDestroy(ctx, key, group).Err()
				}
				if err != nil {
					return n, err
				}
				var ids []string
				for _, m := range streams[0].Messages {
					ids = append(ids, m.ID)
				}
				n += len(ids)
				if err := e.Redis().XAck(ctx, key, group, ids...).Err(); err != nil {
					return n, err
				}
			}
		})
	})
	passes("tidemark", func(b *testing.B, _ int) {
		ctx, cancel := context.WithCancel(ctx)
		to := &sink{places: map[int]engine.OutboxPlace{}, all: all, done: cancel}
		c, err := e.Consumer(engine.ConsumerOptions{Group: "archive"})
		must(b, err, c.Run(ctx, to))
		if n := to.stored.Load(); n != all {
			b.Errorf("%d records were read", n)
		}
	})
}
