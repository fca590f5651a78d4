package stream

import (
	"sync"

	"github.com/tidemark-dev/tidemark/engine"
)

// Bounds of a topic's inbox. The topic drops what exceeds them, and each subscription reads it from the
// stream.
const (
	inboxEvents = 2048
	inboxBytes  = 2 << 20
)

// A topic is the engine's listener for all subscriptions that follow it.
type topic struct {
	name engine.Topic
	hub  *Hub
	stop func() // of the engine's listening; guarded by hub.mu
	left int    // how often its last subscription has left it; guarded by hub.mu

	mu   sync.Mutex // held while records are handed out
	subs []*subscription

	inbox struct {
		sync.Mutex
		events    []event
		bytes     int
		scheduled bool // with the hub's pool
	}
}

// An event is a call of the engine's tail.
type event struct {
	kind  eventKind
	entry engine.Entry
	head  engine.Cursor
}

type eventKind int

const (
	tailed eventKind = iota
	doubted
	compared
	passing // a record that is in no stream
)

// Tailed implements stream.Listener.
func (t *topic) Tailed(e engine.Entry) {
	kind := tailed
	if e.ID == "" {
		kind = passing
	}
	t.put(event{kind: kind, entry: e})
}

// Doubt implements stream.Listener.
func (t *topic) Doubt() { t.put(event{kind: doubted}) }

// Compare implements stream.Listener.
func (t *topic) Compare(head engine.Cursor) { t.put(event{kind: compared, head: head}) }

func (t *topic) put(e event) {
	in := &t.inbox
	in.Lock()
	if len(in.events) >= inboxEvents || in.bytes+len(e.entry.JSON) > inboxBytes {
		in.events, in.bytes = append(in.events[:0], event{kind: doubted}), 0
	}
	in.events = append(in.events, e)
	in.bytes += len(e.entry.JSON)
	first := !in.scheduled
	in.scheduled = true
	in.Unlock()
	if first {
		t.hub.inboxes.add(t)
	}
}

// handOut gives the inbox's content to the subscriptions. One worker at a time has the topic.
func (t *topic) handOut() {
	in := &t.inbox
	in.Lock()
	events := in.events
	in.events, in.bytes = nil, 0
	in.Unlock()

	t.mu.Lock()
	for len(events) > 0 {
		events = events[t.step(events):]
	}
	t.mu.Unlock()

	in.Lock()
	again := len(in.events) > 0
	in.scheduled = again
	in.Unlock()
	if again {
		t.hub.inboxes.add(t) // behind the other topics
	}
}

// step hands out the first of some events, or all the records that they begin with
// and that go into one frame. It returns how many those were.
func (t *topic) step(events []event) int {
	switch e := events[0]; e.kind {
	case doubted:
		for _, sub := range t.subs {
			sub.change(func() { sub.position.Doubt() })
		}
		return 1
	case compared:
		for _, sub := range t.subs {
			sub.change(func() { sub.position.Compare(e.head) })
		}
		return 1
	case passing:
		for _, sub := range t.subs {
			sub.change(func() { sub.pass(e.entry) })
		}
		return 1
	}
	b := &batch{}
	for _, e := range events {
		if e.kind != tailed || (len(b.entries) > 0 && b.bytes+len(e.entry.JSON) > frameBytes) {
			break
		}
		b.entries = append(b.entries, e.entry)
		b.bytes += len(e.entry.JSON)
	}
	for _, sub := range t.subs {
		sub.change(func() { sub.tailed(b) })
	}
	return len(b.entries)
}

// add returns how many there are.
func (t *topic) add(sub *subscription) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	sub.index = len(t.subs)
	t.subs = append(t.subs, sub)
	return len(t.subs)
}

func (t *topic) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.subs) == 0
}

// remove returns how many are left.
func (t *topic) remove(sub *subscription) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(t.subs) - 1
	t.subs[sub.index] = t.subs[last]
	t.subs[sub.index].index = sub.index
	t.subs[last] = nil
	t.subs = t.subs[:last]
	return last
}
