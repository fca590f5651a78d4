package engine

import (
	"context"
	"errors"
)

// snapshot gives a snapshot part by part, each read when the one before was taken.
func (f *follower) snapshot(ctx context.Context, why Verdict) error {
	if f.job != "" {
		return f.snapshotOfJob(ctx, why)
	}
	f.mu.Lock()
	before := f.position.Cursor()
	f.mu.Unlock()
	for {
		held := before
		if why != Trimmed {
			held = "" // none, or its numbers are from another history
		}
		p, err := NewPaging(held, f.limit)
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

func (f *follower) snapshotOfJob(ctx context.Context, why Verdict) error {
	var head Cursor
	var v View
	err := f.retry(ctx, func() error {
		page, err := f.e.Replay(ctx, f.topic, beyond)
		if err == nil {
			head = page.Head
			v, err = f.e.Job(ctx, f.job) // after the cursor, as a snapshot's jobs are
		}
		return err
	})
	if err != nil {
		return err
	}
	f.reset(head)
	u := Update{Kind: UpdateSnapshot, Cursor: head, Reason: why, Jobs: []View{v}, Part: 1, Final: true}
	if err := f.yield(u); err != nil {
		return err
	}
	j, err := v.Job()
	if err == nil && j.State.Ended() {
		err = errEnded
	}
	return err
}

// beyond is a cursor that no topic reaches: a replay from it answers with the head alone.
const beyond Cursor = "9007199254740992-9007199254740992"
