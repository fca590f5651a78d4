package stream

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/internal/transport"
)

// Frames are put together by hand, since most of a frame is bytes that the stream
// holds and that are passed on as they are. A frame begins with its type, so that a
// person who reads a trace sees it first.

// frameBytes is the size from which records and jobs go into the next frame. With
// the largest record on top a frame stays far below the 256 KiB that the protocol
// allows.
const frameBytes = 64 << 10

// addressed is the part of a frame that says whose subscription it is for, with the
// client's own text quoted once.
func addressed(sid string) string {
	q, _ := json.Marshal(sid) // a string
	return `"sid":` + string(q) + `,`
}

func welcomeFrame(connection, principal string, ping time.Duration, expires time.Time) []byte {
	f := struct {
		Type       string  `json:"type"`
		Connection string  `json:"connection"`
		Principal  string  `json:"principal"`
		Ping       float64 `json:"ping_seconds"`
		Expires    string  `json:"session_expires_at,omitempty"`
	}{"welcome", connection, principal, ping.Seconds(), ""}
	if !expires.IsZero() {
		f.Expires = expires.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	b, _ := json.Marshal(f) // strings and a number
	return b
}

func subscribedFrame(to, mode string, reason engine.Verdict, cursor engine.Cursor) []byte {
	return []byte(`{"type":"subscribed",` + to + `"mode":"` + mode + `","reason":"` + string(reason) + `","cursor":"` + string(cursor) + `"}`)
}

func liveFrame(to string, cursor engine.Cursor, replayed int) []byte {
	return []byte(`{"type":"live",` + to + `"cursor":"` + string(cursor) + `","replayed":` + strconv.Itoa(replayed) + `}`)
}

// errorFrame is about a subscription; to is "" where it is about the connection.
func errorFrame(to, code, message string) []byte {
	m, _ := json.Marshal(message) // a string
	return []byte(`{"type":"error",` + to + `"code":"` + code + `","message":` + string(m) + `}`)
}

func goodbyeFrame(reason string, reconnect time.Duration) transport.Frame {
	return transport.Frame{
		Text:  []byte(`{"type":"goodbye","reason":"` + reason + `","reconnect_after_ms":` + strconv.FormatInt(reconnect.Milliseconds(), 10) + `}`),
		Retry: reconnect,
	}
}

var pongFrame = []byte(`{"type":"pong"}`)

const recordsHead = `{"type":"records",`

// appendRecords appends what follows a records frame's sid.
func appendRecords(b []byte, after, cursor engine.Cursor, records []json.RawMessage) []byte {
	b = append(b, `"after":"`...)
	b = append(b, after...)
	b = append(b, `","cursor":"`...)
	b = append(b, cursor...)
	b = append(b, `","records":[`...)
	for i, r := range records {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, r...)
	}
	return append(b, `]}`...)
}

// recordsFrame is a whole records frame.
func recordsFrame(to string, after, cursor engine.Cursor, records []json.RawMessage) []byte {
	size := len(recordsHead) + len(to) + 128
	for _, r := range records {
		size += len(r) + 1
	}
	b := append(make([]byte, 0, size), recordsHead...)
	b = append(b, to...)
	return appendRecords(b, after, cursor, records)
}

// recordsFrames are the records frames of the kept ones of some entries, for a client
// that is at after. The last one's cursor is that of the last entry.
func recordsFrames(to string, after engine.Cursor, entries []engine.Entry, keep []int) []passage {
	var all []passage
	for len(keep) > 0 {
		n, size := 0, 0
		for n < len(keep) && (n == 0 || size+len(entries[keep[n]].JSON) <= frameBytes) {
			size += len(entries[keep[n]].JSON)
			n++
		}
		records := make([]json.RawMessage, n)
		for i, k := range keep[:n] {
			records[i] = entries[k].JSON
		}
		cursor := entries[keep[n-1]].ID
		if n == len(keep) {
			cursor = entries[len(entries)-1].ID
		}
		all = append(all, passage{recordsFrame(to, after, cursor, records), cursor})
		after, keep = cursor, keep[n:]
	}
	return all
}

// snapshotHead is the part of a snapshot's frame before the jobs.
func snapshotHead(to string, part int, final bool, cursor engine.Cursor, more string) string {
	b := append(make([]byte, 0, len(to)+192), `{"type":"snapshot",`...)
	b = append(b, to...)
	b = append(b, `"part":`...)
	b = strconv.AppendInt(b, int64(part), 10)
	b = append(b, `,"final":`...)
	b = strconv.AppendBool(b, final)
	b = append(b, `,"cursor":"`...)
	b = append(b, cursor...)
	if final && more != "" {
		b = append(b, `","more":"`...)
		b = append(b, more...)
	}
	return string(append(b, `","jobs":[`...))
}

func snapshotFrame(head string, jobs []engine.View) []byte {
	size := len(head) + 2
	for _, j := range jobs {
		size += len(j.JSON) + 1
	}
	b := append(make([]byte, 0, size), head...)
	for i, j := range jobs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, j.JSON...)
	}
	return append(b, `]}`...)
}
