package stream

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Timing of the tail.
const (
	// tailBlock is how long a read waits in Redis. A canceled context does not
	// interrupt it, so it also bounds how long an unused tail lingers.
	tailBlock = time.Second
	// tailCount is the most entries of a shard in one read.
	tailCount = 1000
	// tailVerify is how often the tail checks that Redis is still the one it knows.
	tailVerify = time.Second
	// compareHeads is how often the heads of listened topics are read beside it.
	compareHeads = 10 * time.Second
)

// A Listener hears what the tail brings of one topic. Its methods are called from a
// goroutine of the engine, one at a time, and must not block.
type Listener interface {
	// Tailed brings a record, in the order of the log.
	Tailed(wire.Entry)
	// Doubt says that records may have been missed.
	Doubt()
	// Compare brings the topic's head, every 10 seconds.
	Compare(head wire.Cursor)
}

// tail reads the logs of all shards, once for a whole process, while anybody
// listens. It starts from positions that it has read, so nothing that is written
// later can pass it by, and tells listeners to verify theirs whenever that chain
// may have broken: when it starts, when an entry's number k is not the one after
// the last, when its position is not in the log's past any more, and when Redis is
// another one than before.
type tail struct {
	g  *ground.Ground
	mu sync.Mutex
	// topics by shard; a listener is in one of them.
	topics  []map[wire.Topic]map[Listener]struct{}
	count   int
	stop    context.CancelFunc // of the readers; nil when none runs
	closed  bool
	readers sync.WaitGroup
	done    chan struct{} // closed with the engine
}

func newTail(g *ground.Ground) *tail {
	t := &tail{g: g, topics: make([]map[wire.Topic]map[Listener]struct{}, g.Opts.Shards), done: make(chan struct{})}
	for i := range t.topics {
		t.topics[i] = map[wire.Topic]map[Listener]struct{}{}
	}
	return t
}

// Listen subscribes l to a topic's records as they are committed. The listener
// hears everything that is committed from now on, or Doubt. stop ends it; no method
// of l is called after stop has returned.
func (st *Stream) Listen(topic wire.Topic, l Listener) (stop func()) {
	return st.tail.listen(topic, l)
}

func (t *tail) listen(topic wire.Topic, l Listener) func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	shard := t.topics[ground.ShardOf(topic, len(t.topics))]
	if shard[topic] == nil {
		shard[topic] = map[Listener]struct{}{}
	}
	shard[topic][l] = struct{}{}
	t.count++
	if t.count == 1 && !t.closed {
		t.start()
	}
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(shard[topic], l)
		if len(shard[topic]) == 0 {
			delete(shard, topic)
		}
		if t.count--; t.count == 0 && t.stop != nil {
			t.stop()
			t.stop = nil
		}
	})
}

// start runs the readers: one for all shards, or one a shard where their logs may
// be on different nodes.
func (t *tail) start() {
	ctx, cancel := context.WithCancel(context.Background())
	t.stop = cancel
	all := make([]int, len(t.topics))
	for i := range all {
		all[i] = i
	}
	if _, cluster := t.g.Redis.(*redis.ClusterClient); cluster {
		for _, s := range all {
			t.run(ctx, []int{s})
		}
		return
	}
	t.run(ctx, all)
}

func (t *tail) run(ctx context.Context, shards []int) {
	r := &tailReader{tail: t, shards: shards, at: make([]ground.EntryID, len(shards)), awaited: make([]*ground.EntryID, len(shards))}
	t.readers.Go(func() { r.run(ctx) })
}

func (t *tail) close() error {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		close(t.done)
	}
	if t.stop != nil {
		t.stop()
		t.stop = nil
	}
	t.mu.Unlock()
	// A read may be waiting in Redis: it ends with its connection.
	return t.g.Blocking.Close()
}

// deliver hands entries of a shard to whoever listens, in one go.
func (t *tail) deliver(shard int, entries []wire.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range entries {
		for l := range t.topics[shard][e.Topic] {
			l.Tailed(e)
		}
	}
}

func (t *tail) doubt(shard int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, listeners := range t.topics[shard] {
		for l := range listeners {
			l.Doubt()
		}
	}
}

// tailReader reads the logs of some shards, all on one node.
type tailReader struct {
	tail     *tail
	shards   []int
	at       []ground.EntryID  // by index into shards
	awaited  []*ground.EntryID // the log's end when it was last seen to be ahead of at
	anchored bool
	identity string
	verified time.Time
	compared time.Time
}

func (r *tailReader) run(ctx context.Context) {
	delay := time.Duration(0)
	for ctx.Err() == nil {
		err := r.step(ctx)
		if err == nil {
			delay = 0
			continue
		}
		// Whatever went wrong, the connection is not the one before.
		r.verified = time.Time{}
		// Readers find out by a page of their own whether Redis is away. Each time,
		// since one may have become live by a page while the tail had not come back.
		for _, s := range r.shards {
			r.tail.doubt(s)
		}
		delay = min(max(2*delay, 10*time.Millisecond), time.Second)
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
}

func (r *tailReader) step(ctx context.Context) error {
	if time.Since(r.verified) >= tailVerify {
		if err := r.verify(ctx); err != nil {
			return err
		}
	}
	args := &redis.XReadArgs{Count: tailCount, Block: tailBlock}
	for _, s := range r.shards {
		args.Streams = append(args.Streams, r.tail.g.Keys.Log(s))
	}
	for _, p := range r.at {
		args.Streams = append(args.Streams, p.String())
	}
	streams, err := r.tail.g.Blocking.XRead(ctx, args).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	byLog := make(map[string][]redis.XMessage, len(streams))
	for _, s := range streams {
		byLog[s.Stream] = s.Messages
	}
	for i, s := range r.shards {
		messages := byLog[r.tail.g.Keys.Log(s)]
		if end := r.awaited[i]; end != nil && len(messages) == 0 {
			// There was more in the log, and it can no longer be read.
			r.at[i] = *end
			r.tail.doubt(s)
		}
		r.awaited[i] = nil
		if len(messages) > 0 {
			r.take(i, messages)
		}
	}
	return nil
}

// take delivers what a log gave, and spots what it no longer had.
func (r *tailReader) take(i int, messages []redis.XMessage) {
	entries := make([]wire.Entry, len(messages))
	broken := false
	for k, m := range messages {
		p := ground.ParseEntryID(m.ID)
		broken = broken || p.K != r.at[i].K+1
		r.at[i] = p
		entries[k] = wire.Entry{
			Topic: wire.Topic(ground.Text(m.Values["t"])), ID: wire.Cursor(ground.Text(m.Values["i"])),
			Prev: wire.Cursor(ground.Text(m.Values["p"])), JSON: []byte(ground.Text(m.Values["r"])),
		}
		if job := ground.Text(m.Values["j"]); job != "" {
			entries[k].Subject = &wire.Subject{
				Job: wire.JobID(job), Type: ground.Text(m.Values["ty"]), State: wire.State(ground.Text(m.Values["st"])), Parent: wire.JobID(ground.Text(m.Values["pa"])),
			}
		}
	}
	if broken {
		r.tail.doubt(r.shards[i])
	}
	r.tail.deliver(r.shards[i], entries)
}

// verify checks that Redis is the one that the positions are from, and that they
// are not beyond the ends of their logs.
func (r *tailReader) verify(ctx context.Context) error {
	identity, err := r.tail.g.IdentityOf(ctx, r.tail.g.Redis, r.shards[0])
	if err != nil {
		return err
	}
	pipe := r.tail.g.Redis.Pipeline()
	cmds := make([]*redis.SliceCmd, len(r.shards))
	for i, s := range r.shards {
		cmds[i] = pipe.HMGet(ctx, r.tail.g.Keys.Head(s), "id")
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	fresh := !r.anchored || identity != r.identity
	for i, s := range r.shards {
		end := ground.ParseEntryID("0-0")
		if f := cmds[i].Val(); f[0] != nil {
			end = ground.ParseEntryID(ground.Text(f[0]))
		}
		switch {
		case fresh, r.at[i].After(end):
			r.at[i], r.awaited[i] = end, nil
			r.tail.doubt(s)
		case end.After(r.at[i]):
			r.awaited[i] = &end
		}
	}
	r.anchored, r.identity, r.verified = true, identity, time.Now()
	if time.Since(r.compared) >= compareHeads {
		r.compared = r.verified
		return r.compareHeads(ctx)
	}
	return nil
}

// compareHeads reads the heads of the topics that are listened to.
func (r *tailReader) compareHeads(ctx context.Context) error {
	heads := map[wire.Topic]*redis.SliceCmd{}
	pipe := r.tail.g.Redis.Pipeline()
	r.tail.mu.Lock()
	for _, s := range r.shards {
		for topic := range r.tail.topics[s] {
			heads[topic] = pipe.HMGet(ctx, r.tail.g.Keys.TopicHead(topic), "id")
		}
	}
	r.tail.mu.Unlock()
	if len(heads) == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	r.tail.mu.Lock()
	defer r.tail.mu.Unlock()
	for topic, cmd := range heads {
		f := cmd.Val()
		if f[0] == nil {
			continue
		}
		for l := range r.tail.topics[ground.ShardOf(topic, len(r.tail.topics))][topic] {
			l.Compare(wire.Cursor(ground.Text(f[0])))
		}
	}
	return nil
}
