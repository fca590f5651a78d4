package stream

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
)

// A need is what a subscription must read next to come closer to its topic's head: the first page of a
// snapshot, if due is set, another page of one, or a page of the stream behind the cursor.
// Subscriptions with equal needs share a reading.
type need struct {
	topic  engine.Topic
	cursor engine.Cursor
	job    engine.JobID   // that must be one of the topic's; "": none
	due    engine.Verdict // the snapshot's reason
	paged  bool
	part   stream.SnapshotQuery // with due or paged
}

// A reading is the page that a need asked for, of the stream or of a snapshot. All subscriptions with
// that need get it.
type reading struct {
	need need
	page stream.Page
	part stream.SnapshotPage

	began, ended time.Time

	mu sync.Mutex
	// frames are of the whole reading, for the subscription that got it last. Many clients choose the
	// same sid, and then the next subscription's frames are the same.
	to     string
	frames []passage
}

// A passage is a frame, and the cursor after it.
type passage struct {
	text   []byte
	cursor engine.Cursor
}

// read reads what n needs. It may return a page of a snapshot that it read a moment ago for another
// subscription, but not before after. Its error wraps engine.ErrNotFound if the job is not one of the
// topic's.
func (h *Hub) read(ctx context.Context, n need, after time.Time) (*reading, error) {
	r := &reading{need: n, began: time.Now()}
	if n.paged {
		if kept := h.pages.find(n, after, r.began); kept != nil {
			return kept, nil
		}
	}
	err := h.fetch(ctx, r)
	r.ended = time.Now()
	if err == nil && n.paged {
		h.pages.keep(r)
	}
	return r, err
}

func (h *Hub) fetch(ctx context.Context, r *reading) (err error) {
	n := r.need
	h.metrics.pagesRead.Inc()
	if n.job != "" {
		v, err := h.engine.Job(ctx, n.job)
		if err != nil {
			return err
		}
		if v.Topic != n.topic {
			return engine.ErrNotFound
		}
	}
	if n.due == "" && !n.paged {
		r.page, err = h.records.Replay(ctx, n.topic, n.cursor)
	} else {
		r.part, err = h.records.SnapshotPage(ctx, n.topic, n.part)
	}
	return err
}

// fly reads what a flight's subscriptions need, and gives it to each.
func (h *Hub) fly(ctx context.Context, f *flight) {
	r, err := h.read(ctx, f.need, f.after)
	for _, sub := range f.subs {
		sub.session.land(sub, r, err)
	}
	h.catchUps.landed(f)
}

// land gives a reading to one of the session's subscriptions. A session has one reading under way at
// a time, so it costs one page.
func (s *Session) land(sub *subscription, r *reading, err error) {
	s.mu.Lock()
	s.catching = false
	ended := false
	if !sub.over && !s.closed {
		sub.waiting = false
		ended = !sub.apply(r, err)
	}
	s.schedule()
	s.mu.Unlock()
	if ended {
		s.hub.unfollow(sub)
	}
}

// next takes the first subscription that is behind.
func (s *Session) next() (*subscription, need) {
	for len(s.behind) > 0 {
		sub := s.behind[0]
		s.behind[0] = nil
		s.behind = s.behind[1:]
		if !sub.over {
			return sub, sub.need()
		}
	}
	s.behind = nil
	return nil, need{}
}

// apply takes a reading or its error. It reports whether the subscription continues.
func (sub *subscription) apply(r *reading, err error) bool {
	switch {
	case errors.Is(err, engine.ErrNotFound):
		sub.session.refuse(sub.sid, sub.to, codeNotFound, "there is no such job in this topic")
		sub.session.drop(sub)
		return false
	case err != nil:
		sub.fail(err)
	default:
		sub.known, sub.outage = true, false
		sub.take(r)
	}
	sub.settle()
	return true
}

// fail has the subscription read again later, and sends its client one error an outage.
func (sub *subscription) fail(err error) {
	s := sub.session
	s.rest()
	s.hub.opts.Failed(err)
	if errors.Is(err, context.Canceled) || errors.Is(err, engine.ErrClosed) || sub.outage {
		return
	}
	sub.outage = true
	sub.said = false // the client gets live again after the outage, even if it has missed nothing
	if !errors.Is(err, engine.ErrUnreachable) {
		s.hub.opts.Logger.Error("subscription cannot be caught up", "topic", sub.topic.name, "error", err)
	}
	s.hub.metrics.refusals.WithLabelValues(codeUnavailable).Inc()
	sub.send(errorFrame(sub.to, codeUnavailable, "the records cannot be read at the moment; the subscription continues when they can"))
}

func (sub *subscription) replay(r *reading) {
	page := r.page
	if !sub.begun {
		sub.begun = true
		sub.send(subscribedFrame(sub.to, "replay", engine.Resumed, sub.told))
	}
	empty := len(page.Entries) == 0
	var keep []int
	keep, page.Entries = sub.choose(page)
	sub.position.Advance(page)
	sub.giveEntries(r, page.Entries, keep)
	switch {
	case sub.position.Live():
		sub.barren = false
		sub.sayLive()
	case empty && sub.barren:
		// The log has a record that the stream does not hold. The tail is about to notice a failover.
		sub.session.rest()
	default:
		sub.barren = empty
	}
}

// choose cuts a page to what the session has room for, at least one record, and returns the indexes of
// the records to send. It sends all that the client misses if that fits. Otherwise it leaves out ticks
// for which the page has a later record of their job, which has the job's whole view.
func (sub *subscription) choose(page stream.Page) (keep []int, taken []engine.Entry) {
	entries := page.Entries
	room, size := sub.session.room(), 0
	for _, e := range entries {
		size += len(e.JSON) + 1
	}
	whole := size <= room && (len(entries) == 0 || entries[len(entries)-1].ID == page.Head)
	last := map[engine.JobID]int{}
	if !whole {
		for i, e := range entries {
			last[e.JobID()] = i
		}
	}
	keep = make([]int, 0, len(entries))
	size = 0
	for i, e := range entries {
		if !sub.filter.Match(e) {
			continue
		}
		if !whole && e.Type().Tick() && last[e.JobID()] != i {
			sub.session.hub.metrics.conflated.Inc()
			continue
		}
		if size += len(e.JSON) + 1; size > room && len(keep) > 0 {
			return keep, entries[:i]
		}
		keep = append(keep, i)
	}
	return keep, entries
}

// giveEntries sends the kept ones of the entries of r that the position has just
// passed.
func (sub *subscription) giveEntries(r *reading, entries []engine.Entry, keep []int) {
	sub.replayed += len(keep)
	sub.session.hub.metrics.replayed.Add(float64(len(keep)))
	var passages []passage
	switch {
	case len(keep) == 0:
	case len(keep) < len(r.page.Entries) || sub.told != entries[0].Prev:
		passages = recordsFrames(sub.to, sub.told, entries, keep)
	default:
		if r.frames == nil || r.to != sub.to {
			r.to, r.frames = sub.to, recordsFrames(sub.to, sub.told, entries, keep)
		}
		passages = r.frames
	}
	for _, p := range passages {
		sub.told = p.cursor
		sub.send(p.text)
	}
	if sub.told != sub.position.Cursor() {
		sub.lag()
	}
}
