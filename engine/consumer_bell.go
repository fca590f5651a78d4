package engine

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
)

const (
	// bellBlock is how long a read waits in Redis for records. A shard that is added
	// meanwhile is waited for from then on; until then its reader hears of records with the
	// lease's renewal.
	bellBlock = time.Second
	// bellRest is what a server has between two such reads, so that many records ring once.
	bellRest = 5 * time.Millisecond
)

// lingering are goroutines that wait in Redis, and end with their connection.
type lingering struct {
	mu     sync.Mutex
	closed bool
	all    sync.WaitGroup
}

// run starts one, unless the engine is closed.
func (l *lingering) run(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.all.Go(f)
	}
}

// end waits for all of them, after their connections were closed.
func (l *lingering) end() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.all.Wait()
}

// bells wake readers that have read everything when their outbox grows. One read waits in Redis
// for all shards of a server; on a Cluster it is one a shard.
type bells struct {
	e       *Engine
	servers []*bell
}

// A bell waits for shards of one server.
type bell struct {
	mu     sync.Mutex
	shards map[int]ringing
	added  chan struct{} // has an element after a shard was added
}

// ringing is a shard that is waited for.
type ringing struct {
	seen   string // the newest ID that its reader has been woken for, or has read
	reader *shardReader
}

func newBells(e *Engine) *bells {
	b := &bells{e: e}
	n := 1
	if e.g.Cluster() {
		n = e.g.Opts.Shards
	}
	for range n {
		b.servers = append(b.servers, &bell{shards: map[int]ringing{}, added: make(chan struct{}, 1)})
	}
	return b
}

func (b *bells) of(shard int) *bell { return b.servers[shard%len(b.servers)] }

// start has the reads begin. After ctx has ended one may wait in Redis for up to bellBlock more;
// the engine waits for it.
func (b *bells) start(ctx context.Context) {
	for _, s := range b.servers {
		b.e.lingering.run(func() { b.listen(ctx, s) })
	}
}

// add has a reader woken when its outbox grows beyond an ID.
func (b *bells) add(shard int, seen string, reader *shardReader) {
	s := b.of(shard)
	s.mu.Lock()
	s.shards[shard] = ringing{seen, reader}
	s.mu.Unlock()
	select {
	case s.added <- struct{}{}:
	default:
	}
}

func (b *bells) remove(shard int) {
	s := b.of(shard)
	s.mu.Lock()
	delete(s.shards, shard)
	s.mu.Unlock()
}

func (b *bells) listen(ctx context.Context, s *bell) {
	rest, made := bellRest, b.e.g.Connections.Made()
	for ctx.Err() == nil {
		s.mu.Lock()
		waited := maps.Clone(s.shards)
		s.mu.Unlock()
		if len(waited) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-s.added:
			}
			continue
		}
		err := b.wait(ctx, s, waited)
		rest = min(2*rest, time.Second)
		if err == nil {
			rest = bellRest
		}
		// Readers find out by a page of their own whether Redis is away, or another one. The
		// client repeats a read by itself whose connection broke.
		if now := b.e.g.Connections.Made(); err != nil || now != made {
			made = now
			for _, w := range waited {
				w.reader.wake()
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest):
		}
	}
}

// wait waits in Redis until one of the outboxes grows, and wakes its reader.
func (b *bells) wait(ctx context.Context, s *bell, waited map[int]ringing) error {
	args := &redis.XReadArgs{Count: 1, Block: bellBlock}
	shards := map[string]int{}
	var ids []string
	for shard, w := range waited {
		key := b.e.g.Keys.Out(shard)
		shards[key] = shard
		args.Streams, ids = append(args.Streams, key), append(ids, w.seen)
	}
	args.Streams = append(args.Streams, ids...)
	streams, err := b.e.g.Blocking.XRead(ctx, args).Result()
	if err != nil {
		return orNone(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stream := range streams {
		shard := shards[stream.Stream]
		w, ok := s.shards[shard]
		if !ok || len(stream.Messages) == 0 {
			continue
		}
		if id := stream.Messages[0].ID; ground.ParseEntryID(id).After(ground.ParseEntryID(w.seen)) {
			w.seen = id
			s.shards[shard] = w
		}
		w.reader.wake()
	}
	return nil
}

// orNone takes it for no error that nothing came.
func orNone(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}
