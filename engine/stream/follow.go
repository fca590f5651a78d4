package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Follow is that of engine.Engine.
func (st *Stream) Follow(ctx context.Context, q wire.FollowQuery) iter.Seq2[wire.Update, error] {
	return func(yield func(wire.Update, error) bool) {
		if err := st.follow(ctx, q, yield); err != nil && !errors.Is(err, errStopped) {
			yield(wire.Update{}, err)
		}
	}
}

// errStopped says that the iterator's caller has stopped.
var errStopped = errors.New("stopped")

func (st *Stream) follow(ctx context.Context, q wire.FollowQuery, yield func(wire.Update, error) bool) error {
	f := &follower{st: st, filter: q.Filter, limit: q.Limit, wake: make(chan struct{}, 1)}
	if err := q.Validate(); err != nil {
		return err
	}
	f.yield = func(u wire.Update) error {
		if !yield(u, nil) {
			return errStopped
		}
		return nil
	}
	if job := q.Filter.Job; job != "" {
		err := f.retry(ctx, func() (err error) {
			q.Topic, err = st.g.TopicOf(ctx, job)
			return err
		})
		if err != nil {
			return fmt.Errorf("follow job %s: %w", job, err)
		}
	}
	f.topic = q.Topic
	if q.After != "" {
		f.position = At(q.After)
	}
	defer st.Listen(q.Topic, f)()
	if q.After == "" {
		if err := f.snapshot(ctx, wire.Fresh); err != nil {
			return f.end(err)
		}
	}
	return f.end(f.run(ctx))
}

// followBuffer is how many tailed records wait for a slow caller. Beyond that the follower drops
// them and reads them from the stream later.
const followBuffer = 256

// A follower is one reader. The tail fills its buffer; everything else happens in the goroutine
// that iterates.
type follower struct {
	st     *Stream
	topic  wire.Topic
	filter wire.Filter
	limit  int
	yield  func(wire.Update) error
	wake   chan struct{} // has an element when something has changed

	mu       sync.Mutex
	position Position // after the newest record in buffer
	buffer   []wire.Entry

	said bool // the caller has got UpdateLive
}

func (f *follower) Tailed(e wire.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.buffer) >= followBuffer {
		// Drop the buffer: the stream has its records.
		first := f.buffer[0].Prev
		f.position.Reset(first)
		f.buffer = nil
	}
	if e.ID == "" { // of a passing record
		if f.position.Live() {
			e.Prev = f.position.Cursor()
			f.buffer = append(f.buffer, e)
			f.signal()
		}
		return
	}
	if f.position.Tailed(e) {
		f.buffer = append(f.buffer, e)
	}
	f.signal()
}

func (f *follower) Doubt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.position.Doubt()
	f.signal()
}

func (f *follower) Compare(head wire.Cursor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.position.Compare(head)
	f.signal()
}

func (f *follower) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// errEnded says that the followed job has ended.
var errEnded = errors.New("ended")

func (f *follower) end(err error) error {
	if errors.Is(err, errEnded) {
		return nil
	}
	return err
}

func (f *follower) run(ctx context.Context) error {
	for {
		f.mu.Lock()
		ready := f.buffer
		f.buffer = nil
		live, cursor := f.position.Live(), f.position.Cursor()
		f.mu.Unlock()
		for _, e := range ready {
			if err := f.give(e); err != nil {
				return err
			}
		}
		switch {
		case !live:
			if err := f.catchUp(ctx, cursor); err != nil {
				return err
			}
			continue
		case len(ready) > 0:
			continue
		case !f.said:
			f.said = true
			if err := f.ended(ctx, cursor); err != nil {
				return err
			}
			if err := f.yield(wire.Update{Kind: wire.UpdateLive, Cursor: cursor}); err != nil {
				return err
			}
			continue
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.st.tail.done:
			return ground.ErrClosed
		}
	}
}

// catchUp reads a page of the stream after the cursor.
func (f *follower) catchUp(ctx context.Context, cursor wire.Cursor) error {
	var page Page
	err := f.retry(ctx, func() (err error) {
		page, err = f.st.Replay(ctx, f.topic, cursor)
		return err
	})
	if err != nil {
		return err
	}
	if page.Verdict != wire.Resumed {
		return f.snapshot(ctx, page.Verdict)
	}
	f.mu.Lock()
	f.position.Advance(page)
	live := f.position.Live()
	f.mu.Unlock()
	for _, e := range page.Entries {
		if err := f.give(e); err != nil {
			return err
		}
	}
	if len(page.Entries) == 0 && !live {
		// The tail had records that the stream does not have: Redis is failing over, and the tail
		// is about to notice.
		return f.pause(ctx, 50*time.Millisecond)
	}
	return nil
}

// ended returns errEnded if the reader holds the last record of the job that it follows: no further
// record would end the iterator.
func (f *follower) ended(ctx context.Context, cursor wire.Cursor) error {
	if f.filter.Job == "" {
		return nil
	}
	var j wire.Job
	err := f.retry(ctx, func() error {
		v, err := f.st.g.Job(ctx, f.filter.Job)
		if err == nil {
			j, err = v.Job()
		}
		return err
	})
	if err == nil && j.State.Ended() && j.Rev <= cursor.N() {
		return errEnded
	}
	return err
}

func (f *follower) give(e wire.Entry) error {
	if f.filter.Match(e) {
		if err := f.yield(wire.Update{Kind: wire.UpdateRecord, Cursor: cmp.Or(e.ID, e.Prev), Entry: e}); err != nil {
			return err
		}
	}
	if f.filter.Job == "" || e.JobID() != f.filter.Job {
		return nil
	}
	if kind := e.Type(); kind.Terminal() || kind == wire.JobRemoved {
		return errEnded
	}
	return nil
}

// retry calls do until Redis answers, and yields UpdateInterrupted once for each outage.
func (f *follower) retry(ctx context.Context, do func() error) error {
	said := false
	for delay := 20 * time.Millisecond; ; delay = min(2*delay, 2*time.Second) {
		err := do()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, wire.ErrUnreachable):
			return err
		}
		if !said {
			said, f.said = true, false
			f.mu.Lock()
			cursor := f.position.Cursor()
			f.mu.Unlock()
			if err := f.yield(wire.Update{Kind: wire.UpdateInterrupted, Cursor: cursor, Err: err}); err != nil {
				return err
			}
		}
		if err := f.pause(ctx, delay/2+rand.N(delay)); err != nil {
			return err
		}
	}
}

func (f *follower) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-f.st.tail.done:
		return ground.ErrClosed
	}
}
