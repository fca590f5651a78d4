package multipart

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// patience is how long a holder is asked for the state before it is passed over.
	patience = 5 * time.Second
	// lookInterval is the time between two looks of a holder, and of one that waits at most.
	lookInterval = time.Second
	waitInterval = 250 * time.Millisecond
)

// A Hold is the right to change a state. One goroutine at a time calls its methods, but for Watch
// and State.
type Hold struct {
	s     *Store
	mu    sync.Mutex
	state *State
	// kept: the store has the state as held by this one.
	kept bool
	// spent: a part may still come under the next number.
	spent bool
}

// Lock waits until nobody holds the state, or passes over who does and does not answer, and holds
// it. The error is the context's when that ends first, and wraps fs.ErrNotExist when there is no state.
func (s *Store) Lock(ctx context.Context, name string) (*Hold, error) { return s.lock(ctx, name, true) }

// Quiet is Lock for a reader: it waits in the same way, and holds nothing. Release has nothing to do.
func (s *Store) Quiet(ctx context.Context, name string) (*Hold, error) {
	return s.lock(ctx, name, false)
}

func (s *Store) lock(ctx context.Context, name string, hold bool) (*Hold, error) {
	fence, since := int64(-1), time.Time{}
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, waitInterval) {
		st, err := s.Read(ctx, name)
		if err != nil {
			return nil, err
		}
		if !st.Held && !hold {
			return &Hold{s: s, state: st}, nil
		}
		now := time.Now()
		if st.Fence != fence {
			fence, since = st.Fence, now
		}
		next := st.clone()
		passed := now.Sub(since) > s.patience || !st.Asked.IsZero() && now.Sub(st.Asked) > s.patience
		switch {
		case !st.Held || passed:
			if st.Held {
				next.Next++ // which the lost holder may have sent
			}
			next.Fence++
			next.Held, next.Asked, next.Base = hold, time.Time{}, nil
			if hold {
				next.Base = st.Tail
			}
			next, err = s.swap(ctx, next)
			if err == nil {
				return &Hold{s: s, state: next, kept: hold}, nil
			}
		case st.Asked.IsZero():
			err = s.ask(ctx, next, now)
		}
		if err != nil && !errors.Is(err, ErrLost) {
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// ask notes in a state that somebody waits for it.
func (s *Store) ask(ctx context.Context, st *State, now time.Time) error {
	st.Asked = now.UTC()
	text, err := json.Marshal(st)
	if err == nil {
		_, err = s.put(ctx, s.key(st.name), text, st.etag)
	}
	if conflict(err) {
		return nil // somebody else did
	}
	return err
}

// State is what is durable.
func (h *Hold) State() *State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// Watch calls wanted once another process wants the state, or has it. It returns then, or with ctx.
func (h *Hold) Watch(ctx context.Context, wanted func()) {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		mine := h.State()
		if _, _, err := h.s.get(ctx, h.s.key(mine.name), mine.etag); err != nil {
			continue // not changed, or not known
		}
		st, err := h.s.Read(ctx, mine.name)
		if err == nil && (st.Fence != mine.Fence || !st.Asked.IsZero()) {
			wanted()
			return
		}
	}
}

// Release lets go. A state that was removed is no error.
func (h *Hold) Release(ctx context.Context) error {
	if !h.kept {
		return nil
	}
	err := h.change(ctx, func(st *State) { h.letGo(st) })
	if errors.Is(err, ErrLost) {
		return nil
	}
	return err
}

// letGo has a change end the hold as well.
func (h *Hold) letGo(st *State) {
	st.Held, st.Asked, st.Base = false, time.Time{}, nil
	if h.spent {
		st.Next++
	}
}

// change changes the state, if it is still held. f may be called again, on a newer state.
func (h *Hold) change(ctx context.Context, f func(*State)) error {
	if !h.kept {
		return ErrLost
	}
	from := h.State()
	for {
		next := from.clone()
		f(next)
		is, err := h.s.swap(ctx, next)
		switch {
		case err == nil:
			h.mu.Lock()
			h.state = is
			h.mu.Unlock()
			h.kept = is.Held
			return nil
		case !errors.Is(err, ErrLost):
			return err
		case is == nil, is.Fence != from.Fence || !is.Held:
			h.kept = false
			return ErrLost
		}
		from = is // asked for, or changed by a write of this holder whose answer was lost
	}
}

func (st *State) clone() *State {
	next := *st
	next.Parts = slices.Clip(next.Parts) // an append copies
	return &next
}
