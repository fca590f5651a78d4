package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"
)

// Follow gives every record of a topic after a cursor, or those that match a filter, in order, as
// they are committed; where the stream no longer holds them it says so with a
// snapshot, which carries the latest state of every job, in parts that are read as the
// reader takes them. It survives cut connections and restarts of Redis. A reader that is
// slow costs bounded memory and is fed from the stream.
//
// A record may be older than the view of its job in a snapshot before it: compare
// Rev.
//
// It ends, with an error, only when ctx ends (its cause), when the engine is closed
// (ErrClosed), when the query is not valid (ErrInvalidTopic, ErrInvalidCursor,
// ErrInvalidJobID) or the job unknown (ErrNotFound); without one when the job that
// it follows has ended, or the caller stops.
func (e *Engine) Follow(ctx context.Context, q FollowQuery) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		if err := e.follow(ctx, q, yield); err != nil && !errors.Is(err, errStopped) {
			yield(Update{}, err)
		}
	}
}

// errStopped: the caller of the iterator wants no more.
var errStopped = errors.New("stopped")

func (e *Engine) follow(ctx context.Context, q FollowQuery, yield func(Update, error) bool) error {
	f := &follower{e: e, filter: q.Filter, limit: q.Limit, wake: make(chan struct{}, 1)}
	if err := q.Validate(); err != nil {
		return err
	}
	f.yield = func(u Update) error {
		if !yield(u, nil) {
			return errStopped
		}
		return nil
	}
	if job := q.Filter.Job; job != "" {
		err := f.retry(ctx, func() (err error) {
			q.Topic, err = e.topicOf(ctx, job)
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
	defer e.Listen(q.Topic, f)()
	if q.After == "" {
		if err := f.snapshot(ctx, Fresh); err != nil {
			return f.end(err)
		}
	}
	return f.end(f.run(ctx))
}

// followBuffer is how many tailed records wait for a slow reader before they are
// dropped and read from the stream instead.
const followBuffer = 256

// A follower is one reader. The tail fills its buffer; everything else happens in
// the goroutine of whoever iterates.
type follower struct {
	e      *Engine
	topic  Topic
	filter Filter
	limit  int
	yield  func(Update) error
	wake   chan struct{} // holds one: something has changed

	mu       sync.Mutex
	position Position // of the newest record in buffer
	buffer   []Entry

	said bool // that it is live
}

func (f *follower) Tailed(e Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.buffer) >= followBuffer {
		// Give them up: the stream has them.
		first := f.buffer[0].Prev
		f.position.Reset(first)
		f.buffer = nil
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

func (f *follower) Compare(head Cursor) {
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

// errEnded: the job that is followed has ended.
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
			if err := f.yield(Update{Kind: UpdateLive, Cursor: cursor}); err != nil {
				return err
			}
			continue
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.e.tail.done:
			return ErrClosed
		}
	}
}

// catchUp reads a page from the cursor on.
func (f *follower) catchUp(ctx context.Context, cursor Cursor) error {
	var page Page
	err := f.retry(ctx, func() (err error) {
		page, err = f.e.Replay(ctx, f.topic, cursor)
		return err
	})
	if err != nil {
		return err
	}
	if page.Verdict != Resumed {
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
		// The tail has brought what the stream does not hold: a failover is about
		// to be noticed.
		return f.pause(ctx, 50*time.Millisecond)
	}
	return nil
}

// ended tells a reader that already holds the last record of the job that it
// follows: no other would end it.
func (f *follower) ended(ctx context.Context, cursor Cursor) error {
	if f.filter.Job == "" {
		return nil
	}
	var j Job
	err := f.retry(ctx, func() error {
		v, err := f.e.Job(ctx, f.filter.Job)
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

func (f *follower) give(e Entry) error {
	if f.filter.Match(e) {
		if err := f.yield(Update{Kind: UpdateRecord, Cursor: e.ID, Entry: e}); err != nil {
			return err
		}
	}
	if f.filter.Job != "" && e.JobID() == f.filter.Job && e.Type().Terminal() {
		return errEnded
	}
	return nil
}

// retry calls do until Redis answers, and says once an outage that it is away.
func (f *follower) retry(ctx context.Context, do func() error) error {
	said := false
	for delay := 20 * time.Millisecond; ; delay = min(2*delay, 2*time.Second) {
		err := do()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, ErrUnreachable):
			return err
		}
		if !said {
			said, f.said = true, false
			f.mu.Lock()
			cursor := f.position.Cursor()
			f.mu.Unlock()
			if err := f.yield(Update{Kind: UpdateInterrupted, Cursor: cursor, Err: err}); err != nil {
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
	case <-f.e.tail.done:
		return ErrClosed
	}
}
