package stream

import (
	"errors"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
)

// Bounds of the pages of snapshots that are kept for others who follow the same topic.
const (
	pagesKept = 64
	pageAge   = time.Second
)

// pages are those that were read of snapshots a moment ago. Many subscribe to a topic at
// the same time, and each takes the pages as fast as it can.
type pages struct {
	age time.Duration // at which a page is too old

	mu   sync.Mutex
	held map[need]*reading
}

// find gives a page that was read for another subscription, and neither before after nor
// too long ago; nil if there is none.
func (p *pages) find(n need, after, now time.Time) *reading {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.held[n]; r != nil && r.began.After(after) && now.Sub(r.began) < p.age {
		return r
	}
	return nil
}

func (p *pages) keep(r *reading) {
	p.expire(r.ended)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.held) < pagesKept || p.held[r.need] != nil {
		p.held[r.need] = r
	}
}

// expire lets go of pages that are too old to be given.
func (p *pages) expire(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, r := range p.held {
		if now.Sub(r.began) >= p.age {
			delete(p.held, n)
		}
	}
}

// A snapshot is a subscription's place in one that it is being given: no page of it.
type snapshot struct {
	stream.Paging
	part int       // the last that was given
	from time.Time // when its cursor had been read: pages must be younger
}

// need is what the subscription must read next.
func (sub *subscription) need() need {
	n := need{topic: sub.topic.name, due: sub.due}
	if !sub.known {
		n.job = sub.filter.Job
	}
	switch p := sub.snapshot; {
	case sub.due != "":
		fresh := sub.paging()
		n.part, _ = fresh.Next()
	case p != nil:
		if n.part, n.paged = p.Next(); n.paged {
			return n
		}
		n.cursor, n.part = p.Cursor(), stream.SnapshotQuery{}
	default:
		n.cursor = sub.position.Cursor()
	}
	return n
}

// paging begins the snapshot that is due.
func (sub *subscription) paging() stream.Paging {
	held := engine.Cursor("") // none, or its numbers are from another history
	if sub.due == engine.Trimmed {
		held = sub.position.Cursor()
	}
	p, _ := stream.NewPaging(held, sub.limit, sub.filter) // all were checked
	return p
}

// take takes what was read.
func (sub *subscription) take(r *reading) {
	switch {
	case r.need.due != "":
		sub.snapshot = &snapshot{Paging: sub.paging()}
		sub.session.hub.metrics.snapshots.WithLabelValues(string(sub.due)).Inc()
		sub.send(subscribedFrame(sub.to, "snapshot", sub.due, r.part.Head))
		sub.begun, sub.due = true, ""
		sub.page(r)
	case r.need.paged:
		sub.page(r)
	case sub.snapshot != nil:
		sub.decide(r)
	case r.page.Verdict != engine.Resumed:
		sub.due = r.page.Verdict
	default:
		sub.replay(r)
	}
}

// page gives a page of a snapshot.
func (sub *subscription) page(r *reading) {
	p := sub.snapshot
	before := p.Cursor()
	complete, err := p.Take(r.part)
	if errors.Is(err, engine.ErrRewritten) {
		sub.restart()
		return
	}
	if cursor := p.Cursor(); cursor != before {
		// A round begins. What the tail brings from here on is behind the cursor.
		sub.position.Reset(cursor)
		p.from = r.ended
	}
	if len(r.part.Jobs) > 0 || complete {
		sub.give(r, complete)
	}
}

// decide ends a snapshot whose pages were all given, if the records behind its cursor are
// there, and gives them.
func (sub *subscription) decide(r *reading) {
	complete, err := sub.snapshot.Decide(r.page.Verdict)
	switch {
	case errors.Is(err, engine.ErrRewritten):
		sub.restart()
	case complete:
		sub.give(&reading{}, true)
		sub.replay(r)
	}
}

// restart begins a snapshot anew: the one that was being given is of another history.
func (sub *subscription) restart() {
	sub.snapshot, sub.due = nil, engine.Rewritten
}

// give sends the part of a snapshot that a page is.
func (sub *subscription) give(r *reading, final bool) {
	p := sub.snapshot
	p.part++
	head := snapshotHead(sub.to, p.part, final, p.Cursor(), p.More())
	if final {
		sub.told, sub.snapshot = p.Cursor(), nil
		sub.said, sub.replayed = false, 0
	}
	sub.send(r.frameOf(head))
}

// frameOf is a snapshot's frame that begins with head.
func (r *reading) frameOf(head string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.to != head {
		r.to, r.frames = head, []passage{{text: snapshotFrame(head, r.part.Jobs)}}
	}
	return r.frames[0].text
}
