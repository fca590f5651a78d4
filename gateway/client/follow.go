package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Follow gives every record of a topic or of a job after a cursor, as an engine's
// does, over restarts of the gateway and cut connections. UpdateInterrupted says that
// the gateway is away (Err wraps ErrUnreachable) or its Redis (wire.ErrUnreachable
// alone); it goes on by itself from the cursor.
//
// It ends, with an error, only when ctx ends (its cause), when the query is not valid,
// when the job is unknown (wire.ErrNotFound), or when the gateway refuses in a way
// that coming back would not change (ErrRefused, ErrProtocol); without one when the job
// that it follows has ended, or the caller stops.
func (c *Client) Follow(ctx context.Context, q wire.FollowQuery) iter.Seq2[wire.Update, error] {
	return func(yield func(wire.Update, error) bool) {
		f := &follower{client: c, query: q, cursor: q.After}
		f.yield = func(u wire.Update) error {
			if !yield(u, nil) {
				return errStopped
			}
			return nil
		}
		if err := f.run(ctx); err != nil && !errors.Is(err, errStopped) && !errors.Is(err, errEnded) {
			yield(wire.Update{}, err)
		}
	}
}

var (
	// errStopped: the caller of the iterator wants no more.
	errStopped = errors.New("stopped")
	// errEnded: the job that is followed has ended.
	errEnded = errors.New("ended")
)

// A follower is one iteration. Everything happens in the goroutine of the caller that iterates.
type follower struct {
	client *Client
	query  wire.FollowQuery
	yield  func(wire.Update) error

	cursor wire.Cursor   // "" until a snapshot has been given
	sid    int           // of the present subscription
	again  bool          // the subscription replaces one that did not fit the cursor
	away   bool          // the outage has been told
	delay  time.Duration // of which a random part is waited next; 0: BackoffMin

	reason wire.Verdict // of the snapshot that is being received
	part   int          // of it, the last that was given
}

func (f *follower) run(ctx context.Context) error {
	if err := f.check(ctx); err != nil {
		return err
	}
	for {
		err := f.connection(ctx)
		var lost *lostError
		if !errors.As(err, &lost) {
			return err
		}
		if err := f.wait(ctx, lost); err != nil {
			return err
		}
	}
}

// check finds the topic of a job, and refuses what no gateway would take.
func (f *follower) check(ctx context.Context) error {
	if err := f.query.Validate(); err != nil || f.query.Filter.Job == "" {
		return err
	}
	v, err := f.job(ctx)
	if err != nil {
		return fmt.Errorf("follow %w", err)
	}
	f.query.Topic = v.Topic
	return nil
}

// job reads the job that is followed, however long the gateway is away.
func (f *follower) job(ctx context.Context) (wire.View, error) {
	for {
		v, err := f.client.Job(ctx, f.query.Filter.Job)
		if !errors.Is(err, wire.ErrUnreachable) || ctx.Err() != nil {
			return v, err
		}
		if err := f.wait(ctx, &lostError{err, -1}); err != nil {
			return wire.View{}, err
		}
	}
}

// wait says once an outage that the gateway is away, and waits before the next try.
func (f *follower) wait(ctx context.Context, lost *lostError) error {
	if err := f.interrupted(lost.err); err != nil {
		return err
	}
	d := lost.wait
	if d < 0 {
		if f.delay == 0 {
			f.delay = f.client.opts.BackoffMin
		}
		d = rand.N(f.delay)
		f.delay = min(2*f.delay, f.client.opts.BackoffMax)
	}
	return pause(ctx, d)
}

func (f *follower) interrupted(err error) error {
	if f.away {
		return nil
	}
	f.away = true
	return f.yield(wire.Update{Kind: wire.UpdateInterrupted, Cursor: f.cursor, Err: err})
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// connection follows over one connection, to its end.
func (f *follower) connection(ctx context.Context) error {
	s, err := f.client.dial(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if err := f.subscribe(s); err != nil {
		return f.client.ended(ctx, err)
	}
	for {
		got, err := s.read()
		if err != nil {
			return f.client.ended(ctx, err)
		}
		if got.SID != strconv.Itoa(f.sid) {
			continue // of a subscription that was given up, or of none
		}
		fits, err := f.take(ctx, got)
		if err != nil {
			return err
		}
		if !fits {
			if f.again { // a gateway that does it again is not asked in a circle
				return &lostError{fmt.Errorf("%w: its records do not follow the cursor", ErrProtocol), -1}
			}
			f.again = true
			err := s.write(wire.Message{Type: "unsubscribe", SID: strconv.Itoa(f.sid)})
			if err == nil {
				err = f.subscribe(s)
			}
			if err != nil {
				return f.client.ended(ctx, err)
			}
		}
	}
}

func (f *follower) subscribe(s *socket) error {
	f.sid++
	m := wire.Message{Type: "subscribe", SID: strconv.Itoa(f.sid), Topic: f.query.Topic, After: f.cursor, Limit: f.query.Limit}
	if !f.query.Filter.IsZero() {
		var err error
		if m.Filter, err = json.Marshal(f.query.Filter); err != nil {
			return err
		}
	}
	return s.write(m)
}

// take hands a frame on. What does not fit the cursor is not: something is lost between.
func (f *follower) take(ctx context.Context, got wire.Frame) (fits bool, err error) {
	switch got.Type {
	case "subscribed":
		f.delay = 0
		f.part, f.reason = 0, got.Reason
		return got.Mode == "snapshot" || got.Cursor == f.cursor, nil
	case "snapshot":
		return f.snapshot(got)
	case "records":
		if got.After != f.cursor {
			return false, nil
		}
		f.again, f.away = false, false
		return true, f.records(got)
	case "live":
		return true, f.live(ctx)
	case "error":
		return true, f.refusal(got)
	}
	return true, nil // of a later version of the protocol
}

// snapshot hands a part on. Parts that are missing are lost between, as records may be.
func (f *follower) snapshot(got wire.Frame) (fits bool, err error) {
	if got.Part != f.part+1 {
		return false, nil
	}
	views := within(f.query.Topic, got.Jobs)
	f.part = got.Part
	if got.Final {
		f.cursor, f.again = got.Cursor, false
	}
	u := wire.Update{
		Kind: wire.UpdateSnapshot, Cursor: f.cursor, Reason: f.reason, Jobs: views, Part: f.part, Final: got.Final, More: got.More,
	}
	if err := f.yield(u); err != nil || f.query.Filter.Job == "" || len(views) == 0 {
		return true, err
	}
	j, err := views[0].Job()
	if err == nil && j.State.Ended() {
		err = errEnded
	}
	return true, err
}

func (f *follower) records(got wire.Frame) error {
	for _, text := range got.Records {
		var r struct {
			ID wire.Cursor `json:"id"`
		}
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%w: a record: %w", ErrProtocol, err)
		}
		e := wire.Entry{Topic: f.query.Topic, ID: r.ID, JSON: text}
		if err := f.yield(wire.Update{Kind: wire.UpdateRecord, Cursor: cmp.Or(r.ID, f.cursor), Entry: e}); err != nil {
			return err
		}
		if kind := e.Type(); f.query.Filter.Job != "" && (kind.Terminal() || kind == wire.JobRemoved) {
			return errEnded
		}
	}
	f.cursor = got.Cursor
	return nil
}

// live tells that everything has been given. A reader that already holds the last
// record of the job that it follows would wait for ever, so that is looked up.
func (f *follower) live(ctx context.Context) error {
	f.away = false
	if f.query.Filter.Job != "" {
		v, err := f.job(ctx)
		if err != nil {
			return err
		}
		j, err := v.Job()
		if err != nil {
			return err
		}
		if j.State.Ended() && j.Rev <= f.cursor.N() {
			return errEnded
		}
	}
	return f.yield(wire.Update{Kind: wire.UpdateLive, Cursor: f.cursor})
}

// refusal says what an error frame means.
func (f *follower) refusal(got wire.Frame) error {
	e := &Error{Code: got.Code, Detail: "follow " + string(f.query.Topic) + ": " + got.Message}
	switch got.Code {
	case "unavailable": // the subscription continues
		e.kind = wire.ErrUnreachable
		return f.interrupted(e)
	case "not_found":
		return fmt.Errorf("follow job %s: %w", f.query.Filter.Job, wire.ErrNotFound)
	case "forbidden":
		e.kind = ErrRefused
	case "invalid":
		e.kind = wire.ErrInvalid
	default:
		e.kind = ErrProtocol
	}
	return e
}
