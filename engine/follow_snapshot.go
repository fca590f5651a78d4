package engine

import (
	"context"
	"errors"
)

// snapshot gives a snapshot part by part, each read when the one before was taken.
func (f *follower) snapshot(ctx context.Context, why Verdict) error {
	f.mu.Lock()
	before := f.position.Cursor()
	f.mu.Unlock()
	for {
		held := before
		if why != Trimmed {
			held = "" // none, or its numbers are from another history
		}
		p, err := NewPaging(held, f.limit, f.filter)
		if err != nil {
			return err
		}
		err = f.parts(ctx, why, before, &p)
		if !errors.Is(err, ErrRewritten) {
			return err
		}
		why = Rewritten
	}
}

func (f *follower) parts(ctx context.Context, why Verdict, before Cursor, p *Paging) error {
	for part, final := 1, false; !final; {
		var jobs []View
		err := f.retry(ctx, func() (err error) {
			jobs, final, err = f.e.SnapshotPart(ctx, f.topic, p)
			return err
		})
		if err != nil {
			return err
		}
		u := Update{Kind: UpdateSnapshot, Cursor: before, Reason: why, Jobs: jobs, Part: part, Final: final}
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

// reset has the reader go on behind a snapshot's cursor.
func (f *follower) reset(c Cursor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.position.Reset(c)
	f.buffer = nil
}
