package stream

import (
	"encoding/json"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
)

// A subscription is a client's place in a topic. All of it but topic and index is
// guarded by its session's lock.
type subscription struct {
	session *Session
	topic   *topic
	index   int // among the topic's; guarded by the topic's lock

	sid    string
	to     string         // the part of its frames that bears the sid
	filter engine.Filter  // which records and jobs it is about
	due    engine.Verdict // why a snapshot is to be begun next; "": none is

	limit    int       // the most live jobs of a snapshot; 0: all
	snapshot *snapshot // that is being given; nil: none

	position stream.Position
	// told is the client's cursor. The position is ahead of it only where records
	// that the filter does not pass were passed over.
	told engine.Cursor

	known    bool // the filter's job is one of the topic's
	begun    bool // the client has a verdict
	said     bool // the client knows that it is live
	replayed int  // records given since it was not
	waiting  bool // with the session, to be caught up
	lagging  bool // with the hub, to have told moved
	outage   bool // the client has had the error frame that says so
	barren   bool // the last page was empty, and yet not the head
	over     bool
}

// change changes the subscription under its session's lock, and queues it for catching up if it is
// then behind.
func (sub *subscription) change(do func()) {
	s := sub.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub.over || s.closed {
		return
	}
	do()
	sub.settle()
}

// settle queues the subscription for catching up when it is behind.
func (sub *subscription) settle() {
	if sub.waiting || (sub.position.Live() && sub.due == "") {
		return
	}
	sub.waiting = true
	sub.session.behind = append(sub.session.behind, sub)
	sub.session.schedule()
}

// tailed takes records as they are committed.
func (sub *subscription) tailed(b *batch) {
	if !sub.position.Live() {
		for _, e := range b.entries {
			sub.position.Tailed(e)
		}
		return
	}
	before := sub.position.Cursor()
	first, n, whole := 0, 0, true
	for i, e := range b.entries {
		if !sub.position.Tailed(e) {
			continue
		}
		if n == 0 {
			first = i
		}
		whole = whole && i == first+n
		n++
	}
	if n == 0 {
		return
	}
	s := sub.session
	switch {
	case !whole || !s.fits(b.bytes+256):
		// The stream has them. The position remembers the record's ID, so that the subscription is
		// not live before it holds that record.
		sub.position.Reset(before)
		for _, e := range b.entries {
			sub.position.Tailed(e)
		}
		s.hub.metrics.fellBehind.Inc()
	case sub.filter.IsZero():
		sub.told = sub.position.Cursor()
		sub.send(b.frameFor(sub.to, first, n))
		s.hub.metrics.delivered.Add(float64(n))
	default:
		var records []json.RawMessage
		for i := first; i < first+n; i++ {
			if sub.filter.Match(b.entries[i]) {
				records = append(records, b.entries[i].JSON)
			}
		}
		if len(records) == 0 {
			sub.lag()
			return
		}
		sub.giveRecords(records)
	}
}

// pass gives a client a passing record, which leaves its cursor where it is. One that gets a snapshot, or
// has no room, misses it.
func (sub *subscription) pass(e engine.Entry) {
	if !sub.begun || sub.snapshot != nil || sub.due != "" || !sub.session.fits(len(e.JSON)+256) || !sub.filter.Match(e) {
		return
	}
	sub.send(recordsFrame(sub.to, sub.told, sub.told, []json.RawMessage{e.JSON}))
	sub.session.hub.metrics.delivered.Inc()
}

// send sends a frame, after which the client holds told.
func (sub *subscription) send(text []byte) {
	sub.session.send(transport.Frame{Text: text, Sid: sub.sid, Topic: sub.topic.name, Cursor: sub.told})
}

// giveRecords sends records that end at the position.
func (sub *subscription) giveRecords(records []json.RawMessage) {
	cursor := sub.position.Cursor()
	text := recordsFrame(sub.to, sub.told, cursor, records)
	sub.told = cursor
	sub.send(text)
	sub.session.hub.metrics.delivered.Add(float64(len(records)))
}

// lag has the hub move the client's cursor after FilterLag.
func (sub *subscription) lag() {
	if !sub.lagging {
		sub.lagging = true
		sub.session.hub.laggards.put(sub)
	}
}

// moveCursor is called when a lag has lasted long enough.
func (sub *subscription) moveCursor() {
	sub.lagging = false
	if sub.told == sub.position.Cursor() || !sub.begun || sub.due != "" || sub.snapshot != nil {
		return
	}
	if !sub.session.fits(256) {
		sub.lag()
		return
	}
	sub.giveRecords(nil)
}

// sayLive tells the client that it holds everything, after it did not.
func (sub *subscription) sayLive() {
	if sub.said && sub.replayed == 0 {
		return // a doubt was unfounded: the client has missed nothing
	}
	if sub.told != sub.position.Cursor() {
		sub.giveRecords(nil)
	}
	sub.send(liveFrame(sub.to, sub.told, sub.replayed))
	sub.said, sub.replayed = true, 0
}
