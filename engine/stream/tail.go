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
	// tailBlock is how long one read blocks in Redis. A canceled context does not interrupt it, so
	// it also bounds how long an unused tail remains.
	tailBlock = time.Second
	// tailCount bounds the entries of a shard in one read.
	tailCount = 1000
	// tailVerify is how often the tail checks that Redis is the same one as before.
	tailVerify = time.Second
	// compareHeads is how often the tail also reads the heads of the topics that have listeners.
	compareHeads = 10 * time.Second
)

// A Listener gets the tailed records of one topic. A goroutine of the engine calls its methods, one
// at a time; they must not block.
type Listener interface {
	// Tailed delivers a record, in the order of the log. A passing record has no ID, and is no part of
	// the order that a Position follows.
	Tailed(wire.Entry)
	// Doubt says that the listener may have missed records.
	Doubt()
	// Compare delivers the topic's head, every 10 seconds.
	Compare(head wire.Cursor)
}

// tail reads the logs of all shards, once for the whole process, while there are listeners. It
// starts from positions that it has read, so it misses nothing that is written later. It makes
// listeners verify their cursors whenever that chain may have broken: when it starts, when an
// entry's number k does not follow the last one, when its position is no longer in the log's past,
// and when Redis is another one than before.
type tail struct {
	g  *ground.Ground
	mu sync.Mutex
	// topics by shard; a listener is in one of them.
	topics  []map[wire.Topic]map[Listener]struct{}
	count   int
	stop    context.CancelFunc // stops the readers; nil when none runs
	closed  bool
	readers sync.WaitGroup
	done    chan struct{} // closed when the engine closes
}

func newTail(g *ground.Ground) *tail {
	t := &tail{g: g, topics: make([]map[wire.Topic]map[Listener]struct{}, g.Opts.Shards), done: make(chan struct{})}
	for i := range t.topics {
		t.topics[i] = map[wire.Topic]map[Listener]struct{}{}
	}
	return t
}

// Listen subscribes l to a topic's records as they are committed. l gets everything that is
// committed from now on, or Doubt. stop ends the subscription; once it has returned, no method of l
// is called.
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

// start runs the readers: one for all shards, or one for each where shards may be on different
// nodes.
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
	// A read may block in Redis: it ends when its connection closes.
	return t.g.Blocking.Close()
}

// deliver hands entries of a shard to the listeners of their topics.
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
	awaited  []*ground.EntryID // the log's end when it was last ahead of at
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
		// Whatever failed, the next connection may reach another Redis.
		r.verified = time.Time{}
		// Readers find out with a page of their own whether Redis is away. The tail tells them on
		// each failure, since one may have become live by a page while the tail was still
		// interrupted.
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
			// The log had more, which can no longer be read.
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

// take delivers a log's entries, and notices those that the log no longer had.
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

// verify checks that Redis is the one that the positions are from, and that the positions are not
// beyond the ends of their logs.
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

// compareHeads reads the heads of the topics that have listeners.
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
