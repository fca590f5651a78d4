package stream

import (
	"encoding/json"

	"github.com/tidemark-dev/tidemark/engine"
)

// A batch is some records of a topic on their way to all of its subscriptions. Most
// of these are at the same place, and many clients choose the same sid, so the last
// frame that was encoded is usually the next one's too. One goroutine uses it.
type batch struct {
	entries []engine.Entry
	bytes   int

	first, n int    // of the entries that body holds
	body     []byte // a records frame without its beginning; nil: none yet
	to       string // of the subscription that frame is for
	frame    []byte
}

// frameFor encodes n entries from first on, which continue each other.
func (b *batch) frameFor(to string, first, n int) []byte {
	if b.body == nil || b.first != first || b.n != n {
		records, size := make([]json.RawMessage, n), 128
		for i, e := range b.entries[first : first+n] {
			records[i] = e.JSON
			size += len(e.JSON) + 1
		}
		b.first, b.n, b.frame = first, n, nil
		b.body = appendRecords(make([]byte, 0, size), b.entries[first].Prev, b.entries[first+n-1].ID, records)
	}
	if b.frame == nil || b.to != to {
		f := make([]byte, 0, len(recordsHead)+len(to)+len(b.body))
		f = append(f, recordsHead...)
		f = append(f, to...)
		b.to, b.frame = to, append(f, b.body...)
	}
	return b.frame
}
