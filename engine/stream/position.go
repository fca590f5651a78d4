package stream

import "github.com/tidemark-dev/tidemark/engine/wire"

// A Position is a reader's state in a topic: a cursor, and whether the next tailed record may
// continue it (live) or the reader must first read a page of the stream (behind). It decides; it
// does no input or output, and it is not safe for concurrent use. Replay and live delivery are this
// one state machine:
//
//	       Advance: the page reached the newest record known
//	behind ────────────────────────────────────────────────▶ live
//	   ▲   ◀──────────────────────────────────────────────── │
//	   │     Tailed: a record whose predecessor is not the cursor; Doubt │
//	   └── Reset: a snapshot stands in for what the stream no longer has
//
// Nothing is buffered between replay and tail. While the reader is behind, a Position remembers
// only the ID of the newest tailed record; the reader reads the record itself from the stream.
type Position struct {
	cursor   wire.Cursor
	live     bool
	newest   wire.Cursor // the newest record tailed while behind; "" for none
	expected wire.Cursor // the head at the last Compare; "" before the first
	doubted  bool        // Doubt came since the last page; the next page may be older than it
}

// At returns a Position at a cursor, behind.
func At(c wire.Cursor) Position { return Position{cursor: c} }

// Cursor returns the ID of the last record that the reader holds.
func (p *Position) Cursor() wire.Cursor { return p.cursor }

// Live reports whether tailed records continue the cursor.
func (p *Position) Live() bool { return p.live }

// Tailed takes a tailed record, and reports whether it is the reader's next one.
func (p *Position) Tailed(e wire.Entry) bool {
	if p.live {
		if e.Prev == p.cursor {
			p.cursor = e.ID
			return true
		}
		if e.ID.N() <= p.cursor.N() {
			return false // the reader holds it
		}
		p.live = false
	}
	if p.newest == "" || e.ID.N() > p.newest.N() {
		p.newest = e.ID
	}
	return false
}

// Advance takes a page that was read after the cursor, with verdict Resumed.
func (p *Position) Advance(page Page) {
	if n := len(page.Entries); n > 0 {
		p.cursor = page.Entries[n-1].ID
	}
	if p.newest != "" {
		p.live = p.cursor.N() >= p.newest.N()
	} else {
		p.live = p.cursor == page.Head
	}
	// The tail may have missed records that are newer than this page.
	p.live, p.doubted = p.live && !p.doubted, false
	if p.live {
		p.newest = ""
	}
}

// Reset moves the reader to a snapshot's cursor, behind.
func (p *Position) Reset(c wire.Cursor) { *p = Position{cursor: c} }

// Doubt says that the tail was interrupted, or may have missed records: the reader is behind until
// a page has confirmed its cursor.
func (p *Position) Doubt() {
	p.live, p.newest, p.expected, p.doubted = false, "", "", true
}

// Compare takes the topic's head, which the caller reads from time to time. By now the tail must
// have delivered the head of the previous call.
func (p *Position) Compare(head wire.Cursor) {
	if p.live && (head.N() < p.cursor.N() || (p.expected != "" && p.cursor.N() < p.expected.N())) {
		p.Doubt()
	}
	p.expected = head
}
