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
	// bellBlock is how long one read blocks in Redis. A shard that is added during a read is part
	// of the next one; until then its reader learns of records when it renews its lease.
	bellBlock = time.Second
	// bellRest is the pause between two such reads of a server, so that many records wake a reader
	// once.
	bellRest = 5 * time.Millisecond
)

// lingering are goroutines that block in Redis, and end when their connection closes.
type lingering struct {
	mu     sync.Mutex
	closed bool
	all    sync.WaitGroup
}

// run starts a goroutine, unless the engine is closed.
func (l *lingering) run(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.all.Go(f)
	}
}

// end waits for all goroutines. The caller has closed their connections.
func (l *lingering) end() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.all.Wait()
}

// bells wake an idle reader when its outbox grows. One blocking read serves all shards of a server;
// on a Cluster there is one for each shard.
type bells struct {
	e       *Engine
	servers []*bell
}

// A bell waits for records in the shards of one server.
type bell struct {
	mu     sync.Mutex
	shards map[int]ringing
	added  chan struct{} // has an element after a shard was added
}

// ringing is a shard that a bell waits for.
type ringing struct {
	seen   string // the newest ID that its reader has read, or that woke it
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

// start begins the reads. After ctx has ended, a read may block in Redis for up to bellBlock more;
// the engine waits for it.
func (b *bells) start(ctx context.Context) {
	for _, s := range b.servers {
		b.e.lingering.run(func() { b.listen(ctx, s) })
	}
}

// add registers a reader; the bell wakes it when its outbox grows beyond seen.
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
		// A reader finds out with its next page whether Redis is away, or is another one: the
		// client repeats a read whose connection broke, so this loop may not notice.
		if now := b.e.g.Connections.Made(); err != nil || now != made {
			made = now
			s.mu.Lock()
			for _, w := range s.shards { // those added since the read began, too
				w.reader.wake()
			}
			s.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest):
		}
	}
}

// wait blocks in Redis until one of the outboxes grows, and wakes its reader.
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

// orNone drops the error that says that no record came.
func orNone(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}
