package ground

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// ErrClosed says that the engine was closed.
var ErrClosed = errors.New("the engine is closed")

// A Submission is one caller's reports for a call of the script. They stay together and in order.
type Submission struct {
	Shard     int
	Reports   int
	Args      []any
	Milestone bool
	Done      func(answers []any, err error)
}

// A Committer sends the reports of all callers of a process. While a call is in progress, further
// reports wait, and the next call takes all of them (group commit). There are two lanes, each for
// half of the shards: while one hands out answers, the other keeps Redis busy.
type Committer struct {
	g     *Ground
	lanes [2]lane
	ended sync.WaitGroup
}

type lane struct {
	mu      sync.Mutex
	pending []*Submission
	held    int // calls of Batch in progress; pending submissions wait for them
	closed  bool
	wake    chan struct{} // has an element when there is something to send, or closed is set
}

// NewCommitter starts a committer of a ground.
func NewCommitter(g *Ground) *Committer {
	c := &Committer{g: g}
	for i := range c.lanes {
		l := &c.lanes[i]
		l.wake = make(chan struct{}, 1)
		c.ended.Go(func() { c.run(l) })
	}
	return c
}

// Add takes a submission for the next call of its shard. Its error, ErrClosed, says that Done is
// not called.
func (c *Committer) Add(s *Submission) error {
	l := &c.lanes[s.Shard%len(c.lanes)]
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.pending = append(l.pending, s)
	first := len(l.pending) == 1 && l.held == 0
	l.mu.Unlock()
	if first {
		l.signal()
	}
	return nil
}

// Batch sends all that submit submits as one batch for each lane, instead of the first report at
// once and the others after its answer. Other commits of the process wait meanwhile and join the
// batch, so submit must not wait for an answer. The engine calls Done functions after submit has
// returned.
func (g *Ground) Batch(submit func()) {
	for i := range g.Commits.lanes {
		g.Commits.lanes[i].hold()
		defer g.Commits.lanes[i].release()
	}
	submit()
}

func (l *lane) hold() {
	l.mu.Lock()
	l.held++
	l.mu.Unlock()
}

func (l *lane) release() {
	l.mu.Lock()
	l.held--
	due := l.held == 0 && len(l.pending) > 0
	l.mu.Unlock()
	if due {
		l.signal()
	}
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Close sends all pending submissions, and returns when Redis has answered them.
func (c *Committer) Close() {
	for i := range c.lanes {
		l := &c.lanes[i]
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		l.signal()
	}
	c.ended.Wait()
}

func (c *Committer) run(l *lane) {
	var spare []*Submission
	for range l.wake {
		// Callers that the last call has just answered are about to report again. Yield, so that
		// their reports go together.
		runtime.Gosched()
		l.mu.Lock()
		if l.held > 0 && !l.closed {
			l.mu.Unlock()
			continue // the last Batch to end wakes this lane
		}
		batch, closed := l.pending, l.closed
		l.pending = spare[:0]
		l.mu.Unlock()
		if len(batch) > 0 {
			c.send(batch)
			clear(batch)
		}
		spare = batch
		if closed {
			return
		}
	}
}

// A call is one run of the script: submissions of one shard on Redis Cluster, of any shards
// elsewhere, ordered by shard.
type call struct {
	keys    []string // two for each shard
	args    []any    // the number for each key, then all of them
	subs    []*Submission
	reports int
	bytes   int
	cmd     *redis.Cmd
}

// Bounds of one call, so that none blocks Redis for long: reports, and the bytes of their
// arguments. A single submission may exceed them.
const (
	maxCallReports = 128
	maxCallBytes   = 1 << 20
)

// send runs the calls of a batch in one pipeline, and hands out the answers.
func (c *Committer) send(batch []*Submission) {
	ctx, cancel := context.WithTimeout(context.Background(), c.g.Opts.CommitTimeout)
	defer cancel()

	pipe := c.g.Redis.Pipeline()
	calls := c.group(batch)
	for _, k := range calls {
		k.cmd = pipe.EvalSha(ctx, c.g.Scripts.Commit.Hash(), k.keys, k.args...)
	}
	milestone := slices.ContainsFunc(batch, func(s *Submission) bool { return s.Milestone })
	wait := c.wait(ctx, pipe, milestone)
	// Every command's own error is read below.
	_, _ = pipe.Exec(ctx)
	standing := c.waited(wait)
	for _, k := range calls {
		answers, err := k.cmd.Slice()
		standing := standing
		if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
			// This sends the script's text, which also loads it into the node. The wait for
			// replicas above had ended before.
			pipe := c.g.Redis.Pipeline()
			cmd := c.g.Scripts.Commit.Eval(ctx, pipe, k.keys, k.args...)
			wait := c.wait(ctx, pipe, milestone)
			_, _ = pipe.Exec(ctx)
			answers, err = cmd.Slice()
			standing = c.waited(wait)
		}
		if err != nil && len(k.subs) > 1 && broken(err) {
			// A report of the call made the script fail before it wrote anything. Send the
			// submissions one by one, so that only that report's caller gets the error.
			for _, s := range k.subs {
				c.send([]*Submission{s})
			}
			continue
		}
		for _, s := range k.subs {
			if err != nil {
				s.Done(nil, Failure("commit", err))
				continue
			}
			s.Done(answers[:s.Reports:s.Reports], standing)
			answers = answers[s.Reports:]
		}
	}
}

// broken reports whether the script failed, and not Redis or the connection.
func broken(err error) bool {
	var answered redis.Error
	return errors.As(err, &answered) && !Away(err) && !redis.IsOOMError(err)
}

// wait adds a wait for replicas to the pipeline, on the same connection; nil if none is configured.
func (c *Committer) wait(ctx context.Context, pipe redis.Pipeliner, milestone bool) *redis.Cmd {
	if !milestone || c.g.Opts.WaitReplicas == 0 {
		return nil
	}
	return pipe.Do(ctx, "WAIT", c.g.Opts.WaitReplicas, c.g.Opts.WaitTimeout.Milliseconds())
}

func (c *Committer) waited(wait *redis.Cmd) error {
	if wait == nil {
		return nil
	}
	if n, err := wait.Int(); err != nil || n < c.g.Opts.WaitReplicas {
		return wire.ErrUnreplicated
	}
	return nil
}

// group makes the calls of a batch. It keeps the order of a shard's submissions.
func (c *Committer) group(batch []*Submission) []*call {
	slices.SortStableFunc(batch, func(a, b *Submission) int { return a.Shard - b.Shard })
	_, cluster := c.g.Redis.(*redis.ClusterClient)
	var calls []*call
	var k *call
	var counts []int // of k's arguments by shard
	shard := -1
	finish := func() {
		if k == nil {
			return
		}
		size := len(counts)
		for _, n := range counts {
			size += n
		}
		k.args = make([]any, 0, size)
		for _, n := range counts {
			k.args = append(k.args, n)
		}
		for _, s := range k.subs {
			k.args = append(k.args, s.Args...)
		}
		calls = append(calls, k)
	}
	for _, s := range batch {
		size := s.Bytes()
		if k == nil || k.reports+s.Reports > maxCallReports || k.bytes+size > maxCallBytes || (cluster && s.Shard != shard) {
			finish()
			k, counts, shard = &call{}, nil, -1
		}
		if s.Shard != shard {
			shard = s.Shard
			k.keys = append(k.keys, c.g.Keys.Declared(shard)...)
			counts = append(counts, 0)
		}
		counts[len(counts)-1] += len(s.Args)
		k.subs = append(k.subs, s)
		k.reports += s.Reports
		k.bytes += size
	}
	finish()
	return calls
}

// Bytes is the size of the submission's arguments, numbers aside.
func (s *Submission) Bytes() int {
	size := 0
	for _, a := range s.Args {
		switch a := a.(type) {
		case []byte:
			size += len(a)
		case string:
			size += len(a)
		}
	}
	return size
}
