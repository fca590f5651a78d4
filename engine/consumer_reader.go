package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// A shardReader reads a shard's outbox while its consumer has the lease.
type shardReader struct {
	*consuming
	shard     int
	fence     int64
	installed bool // the store has stored the fence

	lost    context.CancelCauseFunc
	expiry  *time.Timer   // ends the reader when its lease is not renewed
	leave   func()        // ends the reader after its batch
	leaving chan struct{} // closed by leave
	more    chan struct{} // has an element when there may be something to read
	at      atomic.Pointer[string]
}

// read starts a reader whose lease lasts until the given time.
func (r *consuming) read(ctx context.Context, shard int, fence int64, until time.Time) *shardReader {
	reader := &shardReader{consuming: r, shard: shard, fence: fence, leaving: make(chan struct{}), more: make(chan struct{}, 1)}
	ctx, reader.lost = context.WithCancelCause(ctx)
	reader.leave = sync.OnceFunc(func() { close(reader.leaving) })
	reader.expiry = time.AfterFunc(time.Until(until), func() { reader.lost(errLeaseLost) })
	r.work.Go(func() {
		reader.run(ctx)
		reader.expiry.Stop()
		reader.lost(nil)
		r.bells.remove(shard)
		r.ended <- reader
	})
	return reader
}

// told updates the reader with its lease as Redis has it. If the reader still holds it, it lasts
// until the given time.
func (r *shardReader) told(l lease, until time.Time) {
	switch {
	case errors.Is(l.err, ErrOutOfMemory):
		// Redis is full, so no consumer can renew or take a lease. Nobody else can take the shard,
		// and reading on lets Redis free the outbox's memory.
		r.expiry.Reset(time.Until(until))
	case l.err != nil:
	case l.fence == 0:
		r.lost(errLeaseLost)
	default:
		r.expiry.Reset(time.Until(until))
		if at := r.at.Load(); at != nil && l.last != "" && l.last != *at {
			r.wake()
		}
	}
}

// isLeaving reports whether the reader ends after its present batch.
func (r *shardReader) isLeaving() bool {
	select {
	case <-r.leaving:
		return true
	default:
		return false
	}
}

func (r *shardReader) wake() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// run reads until the lease is lost or given back, or the consumer ends.
func (r *shardReader) run(ctx context.Context) {
	log := r.e.g.Opts.Logger.With("group", r.c.o.Group, "shard", r.shard)
	delay, failing := time.Duration(0), false
	for {
		err := r.readOn(ctx, func() {
			if failing {
				log.Info("the consumer reads again")
			}
			delay, failing = 0, false
		})
		switch {
		case ctx.Err() != nil, errors.Is(err, errLeaseLost):
			return
		case err == nil:
			r.giveBack(ctx, r.shard)
			return
		case errors.Is(err, ErrInvalid), errors.Is(err, ErrGroupDropped), errors.Is(err, ErrClosed):
			r.end(err)
			return
		case errors.Is(err, ErrFenced) && delay == 0:
			log.Debug("the store has another reader's place; the reader reads it again")
		case !failing:
			failing = true
			log.Warn("the consumer cannot read; it tries again", "error", err)
		}
		delay = min(max(2*delay, 10*time.Millisecond), time.Second)
		select {
		case <-ctx.Done():
			return
		case <-r.leaving:
		case <-time.After(delay):
		}
	}
}

// readOn takes the shard over in the store, and hands batches over until an error, or until the
// reader is to leave, which returns nil. It calls well after each stored batch.
func (r *shardReader) readOn(ctx context.Context, well func()) error {
	text, err := r.takeOver(ctx)
	if err != nil {
		return err
	}
	for {
		if r.isLeaving() {
			return nil
		}
		at, err := parsePosition(text)
		if err != nil {
			return fmt.Errorf("shard %d: %w", r.shard, err)
		}
		r.at.Store(&at.id)
		p, err := r.page(ctx, at)
		if err != nil {
			return err
		}
		b := r.batch(text, at, p)
		if b.Through == b.After {
			well()
			r.bells.add(r.shard, at.id, r)
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-r.leaving:
			case <-r.more:
			}
			continue
		}
		if err := r.commit(ctx, b); err != nil {
			return err
		}
		well()
		text = b.Through
	}
}

// takeOver asks the store for the shard's position. After that, the store refuses readers with a
// lower fence.
func (r *shardReader) takeOver(ctx context.Context) (OutboxPosition, error) {
	place, err := r.store.Place(ctx, r.shard)
	if err != nil {
		return "", fmt.Errorf("ask the store for the place of shard %d: %w", r.shard, err)
	}
	if _, err := parsePosition(place.Position); err != nil {
		return "", fmt.Errorf("shard %d: %w", r.shard, err)
	}
	// A Redis that was restored has lower fences than the store.
	if place.Fence >= r.fence && !r.installed {
		if r.fence, err = r.claim(ctx, r.shard, place.Fence); err != nil {
			return "", err
		}
	}
	if place.Fence != r.fence {
		b := OutboxBatch{Shard: r.shard, Fence: r.fence, After: place.Position, Through: place.Position}
		if err := r.store.Commit(ctx, b); err != nil {
			return "", fmt.Errorf("take shard %d over in the store: %w", r.shard, err)
		}
	}
	r.installed = true
	return place.Position, nil
}

// batch makes the OutboxBatch of a page that follows a position.
func (r *shardReader) batch(after OutboxPosition, at position, p page) OutboxBatch {
	b := OutboxBatch{Shard: r.shard, Fence: r.fence, After: after, Through: after, Records: p.records}
	through := at
	switch p.verdict {
	case "held":
	case "fresh":
		through = position{id: p.from}
	case "rewritten":
		through = position{id: p.from}
		b.Gaps = []OutboxGap{{Reason: GapRewritten, After: at.id}}
	default:
		through = position{id: p.from}
		b.Gaps = []OutboxGap{{Reason: GapReason(p.verdict), After: at.id, Through: p.from}}
	}
	if at.history != "" && p.history != "" && at.history != p.history && p.verdict != "rewritten" {
		b.Gaps = append(b.Gaps, OutboxGap{Reason: GapRestarted, After: at.id})
	}
	if n := len(p.records); n > 0 {
		through = position{id: p.records[n-1].OutboxID, content: contentOf(p.records[n-1])}
	}
	if through.history = p.history; p.history == "" {
		through.history = at.history
	}
	if through != at {
		b.Through = through.text()
	}
	return b
}

// commit hands a batch to the store, and again without each record that the store calls poison.
func (r *shardReader) commit(ctx context.Context, b OutboxBatch) error {
	for {
		err := r.store.Commit(ctx, b)
		if err == nil {
			r.c.batches.Add(1)
			r.c.records.Add(int64(len(b.Records)))
			r.c.gaps.Add(int64(len(b.Gaps)))
			r.c.aside.Add(int64(len(b.Aside)))
			return nil
		}
		var poison *PoisonError
		if !errors.As(err, &poison) || poison.Record < 0 || poison.Record >= len(b.Records) {
			return fmt.Errorf("store %d records of shard %d: %w", len(b.Records), r.shard, err)
		}
		aside := AsideRecord{OutboxRecord: b.Records[poison.Record], Shard: r.shard, Reason: excerpt.Of(poison.Reason, maxAsideReason)}
		if err := r.setAside(ctx, aside); err != nil {
			return err
		}
		b.Records = slices.Delete(slices.Clone(b.Records), poison.Record, poison.Record+1)
		b.Aside = append(slices.Clip(b.Aside), aside)
	}
}
