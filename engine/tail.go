package engine

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

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
	Tailed(Entry)
	// Doubt says that records may have been missed.
	Doubt()
	// Compare brings the topic's head, every 10 seconds.
	Compare(head Cursor)
}

// tail reads the logs of all shards, once for a whole process, while anybody
// listens. It starts from positions that it has read, so nothing that is written
// later can pass it by, and tells listeners to verify theirs whenever that chain
// may have broken: when it starts, when an entry's number k is not the one after
// the last, when its position is not in the log's past any more, and when Redis is
// another one than before.
type tail struct {
	e  *Engine
	mu sync.Mutex
	// topics by shard; a listener is in one of them.
	topics  []map[Topic]map[Listener]struct{}
	count   int
	stop    context.CancelFunc // of the readers; nil when none runs
	closed  bool
	readers sync.WaitGroup
	done    chan struct{} // closed with the engine
}

func newTail(e *Engine) *tail {
	t := &tail{e: e, topics: make([]map[Topic]map[Listener]struct{}, e.opts.Shards), done: make(chan struct{})}
	for i := range t.topics {
		t.topics[i] = map[Topic]map[Listener]struct{}{}
	}
	return t
}

// Listen subscribes l to a topic's records as they are committed. The listener
// hears everything that is committed from now on, or Doubt. stop ends it; no method
// of l is called after stop has returned.
func (e *Engine) Listen(topic Topic, l Listener) (stop func()) {
	return e.tail.listen(topic, l)
}

func (t *tail) listen(topic Topic, l Listener) func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	shard := t.topics[shardOf(topic, len(t.topics))]
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
	if _, cluster := t.e.redis.(*redis.ClusterClient); cluster {
		for _, s := range all {
			t.run(ctx, []int{s})
		}
		return
	}
	t.run(ctx, all)
}

func (t *tail) run(ctx context.Context, shards []int) {
	r := &tailReader{tail: t, shards: shards, at: make([]logPosition, len(shards)), awaited: make([]*logPosition, len(shards))}
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
	return t.e.blocking.Close()
}

// deliver hands entries of a shard to whoever listens, in one go.
func (t *tail) deliver(shard int, entries []Entry) {
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

// logPosition is an ID in a shard's log.
type logPosition struct{ ms, k uint64 }

func (p logPosition) String() string {
	return strconv.FormatUint(p.ms, 10) + "-" + strconv.FormatUint(p.k, 10)
}

func (p logPosition) after(o logPosition) bool { return p.ms > o.ms || (p.ms == o.ms && p.k > o.k) }

func parseLogPosition(id string) logPosition {
	ms, k, _ := strings.Cut(id, "-")
	return logPosition{number(ms), number(k)}
}

// number reads a number that Redis or the script wrote; 0 for anything else.
func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// tailReader reads the logs of some shards, all on one node.
type tailReader struct {
	tail     *tail
	shards   []int
	at       []logPosition  // by index into shards
	awaited  []*logPosition // the log's end when it was last seen to be ahead of at
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
		args.Streams = append(args.Streams, r.tail.e.keys.log(s))
	}
	for _, p := range r.at {
		args.Streams = append(args.Streams, p.String())
	}
	streams, err := r.tail.e.blocking.XRead(ctx, args).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	byLog := make(map[string][]redis.XMessage, len(streams))
	for _, s := range streams {
		byLog[s.Stream] = s.Messages
	}
	for i, s := range r.shards {
		messages := byLog[r.tail.e.keys.log(s)]
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
	entries := make([]Entry, len(messages))
	broken := false
	for k, m := range messages {
		p := parseLogPosition(m.ID)
		broken = broken || p.k != r.at[i].k+1
		r.at[i] = p
		entries[k] = Entry{
			Topic: Topic(text(m.Values["t"])), ID: Cursor(text(m.Values["i"])),
			Prev: Cursor(text(m.Values["p"])), JSON: []byte(text(m.Values["r"])),
		}
		if job := text(m.Values["j"]); job != "" {
			entries[k].Subject = &wire.Subject{
				Job: JobID(job), Type: text(m.Values["ty"]), State: State(text(m.Values["st"])), Parent: JobID(text(m.Values["pa"])),
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
	identity, err := r.tail.e.identityOf(ctx, r.tail.e.redis, r.shards[0])
	if err != nil {
		return err
	}
	pipe := r.tail.e.redis.Pipeline()
	cmds := make([]*redis.SliceCmd, len(r.shards))
	for i, s := range r.shards {
		cmds[i] = pipe.HMGet(ctx, r.tail.e.keys.head(s), "id")
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	fresh := !r.anchored || identity != r.identity
	for i, s := range r.shards {
		end := parseLogPosition("0-0")
		if f := cmds[i].Val(); f[0] != nil {
			end = parseLogPosition(text(f[0]))
		}
		switch {
		case fresh, r.at[i].after(end):
			r.at[i], r.awaited[i] = end, nil
			r.tail.doubt(s)
		case end.after(r.at[i]):
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
	heads := map[Topic]*redis.SliceCmd{}
	pipe := r.tail.e.redis.Pipeline()
	r.tail.mu.Lock()
	for _, s := range r.shards {
		for topic := range r.tail.topics[s] {
			heads[topic] = pipe.HMGet(ctx, r.tail.e.keys.topicHead(topic), "id")
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
		for l := range r.tail.topics[shardOf(topic, len(r.tail.topics))][topic] {
			l.Compare(Cursor(text(f[0])))
		}
	}
	return nil
}
