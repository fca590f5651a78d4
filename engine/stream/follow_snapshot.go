package stream

import (
	"context"
	"errors"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// snapshot yields a snapshot part by part, and reads each when the caller has taken the one before.
func (f *follower) snapshot(ctx context.Context, why wire.Verdict) error {
	f.mu.Lock()
	before := f.position.Cursor()
	f.mu.Unlock()
	for {
		held := before
		if why != wire.Trimmed {
			held = "" // there is none, or its numbers are of another history
		}
		p, err := NewPaging(held, f.limit, f.filter)
		if err != nil {
			return err
		}
		err = f.parts(ctx, why, before, &p)
		if !errors.Is(err, wire.ErrRewritten) {
			return err
		}
		why = wire.Rewritten
	}
}

func (f *follower) parts(ctx context.Context, why wire.Verdict, before wire.Cursor, p *Paging) error {
	for part, final := 1, false; !final; {
		var jobs []wire.View
		err := f.retry(ctx, func() (err error) {
			jobs, final, err = f.st.SnapshotPart(ctx, f.topic, p)
			return err
		})
		if err != nil {
			return err
		}
		u := wire.Update{Kind: wire.UpdateSnapshot, Cursor: before, Reason: why, Jobs: jobs, Part: part, Final: final}
		if final {
			f.reset(p.Cursor())
			u.Cursor, u.More = p.Cursor(), p.More()
		}
		if len(jobs) > 0 || final {
			if err := f.yield(u); err != nil {
				return err
			}
			part++
		}
	}
	return nil
}

// reset makes the reader go on from a snapshot's cursor.
func (f *follower) reset(c wire.Cursor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.position.Reset(c)
	f.buffer = nil
}
