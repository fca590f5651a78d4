package stream

import "github.com/tidemark-dev/tidemark/engine/wire"

// A Position is where a reader of a topic stands: a cursor, and whether what the
// tail brings continues it (live) or a page of the stream must be read first
// (behind). It decides; it does no input or output, and it is not safe for
// concurrent use. Replay and live delivery are this one state machine:
//
//	       Advance: the page reached the newest record known
//	behind ────────────────────────────────────────────────▶ live
//	   ▲   ◀──────────────────────────────────────────────── │
//	   │     Tailed: a record whose predecessor is not the cursor; Doubt │
//	   └── Reset: a snapshot stands in for what the stream no longer has
//
// Nothing is buffered at the seam. A record that the tail brings while the reader
// is behind is only remembered by its ID, and read from the stream like the rest.
type Position struct {
	cursor   wire.Cursor
	live     bool
	newest   wire.Cursor // tailed while behind; "": none
	expected wire.Cursor // the head when it was last compared; "": not compared
	doubted  bool        // since a page was taken: the next one may have been read before
}

// At returns a Position that is behind, at a cursor.
func At(c wire.Cursor) Position { return Position{cursor: c} }

// Cursor returns the ID of the last record that the reader holds.
func (p *Position) Cursor() wire.Cursor { return p.cursor }

// Live reports whether tailed records continue the cursor.
func (p *Position) Live() bool { return p.live }

// Tailed takes what the tail brings, and reports whether it is the reader's next
// record.
func (p *Position) Tailed(e wire.Entry) bool {
	if p.live {
		if e.Prev == p.cursor {
			p.cursor = e.ID
			return true
		}
		if e.ID.N() <= p.cursor.N() {
			return false // held already
		}
		p.live = false
	}
	if p.newest == "" || e.ID.N() > p.newest.N() {
		p.newest = e.ID
	}
	return false
}

// Advance takes a page that was read from the cursor on, with verdict Resumed.
func (p *Position) Advance(page Page) {
	if n := len(page.Entries); n > 0 {
		p.cursor = page.Entries[n-1].ID
	}
	if p.newest != "" {
		p.live = p.cursor.N() >= p.newest.N()
	} else {
		p.live = p.cursor == page.Head
	}
	// What the tail passed by when it was interrupted may be newer than this page.
	p.live, p.doubted = p.live && !p.doubted, false
	if p.live {
		p.newest = ""
	}
}

// Reset puts the reader at a snapshot's cursor, behind.
func (p *Position) Reset(c wire.Cursor) { *p = Position{cursor: c} }

// Doubt says that the tail was interrupted, or may have missed something: the
// reader is behind until a page has confirmed its cursor.
func (p *Position) Doubt() {
	p.live, p.newest, p.expected, p.doubted = false, "", "", true
}

// Compare takes the topic's head, read now and then beside the tail. What the head
// was the last time must have been tailed by now.
func (p *Position) Compare(head wire.Cursor) {
	if p.live && (head.N() < p.cursor.N() || (p.expected != "" && p.cursor.N() < p.expected.N())) {
		p.Doubt()
	}
	p.expected = head
}
