package engine

import (
	"context"
	"encoding/json"
)

// A Page is part of a topic's stream after a cursor.
type Page struct {
	Verdict Verdict
	// Head is the topic's newest record when the page was read; Beginning when it
	// has none.
	Head Cursor
	// Entries are contiguous from the cursor on; none unless Resumed.
	Entries []Entry
}

// Bounds of a page.
const (
	pageEntries = 500
	pageBytes   = 256 << 10
)

// Replay reads what follows a cursor in a topic's stream: at most 500 records and
// 256 KiB, at least one record if there is one. Errors to branch on:
// ErrInvalidTopic, ErrInvalidCursor, ErrUnreachable.
func (e *Engine) Replay(ctx context.Context, topic Topic, after Cursor) (Page, error) {
	if _, err := ParseTopic(string(topic)); err != nil {
		return Page{}, err
	}
	if _, err := ParseCursor(string(after)); err != nil {
		return Page{}, err
	}
	answer, err := e.scripts.replay.Run(ctx, e.redis, e.keys.declared(shardOf(topic, e.opts.Shards)),
		string(topic), string(after), pageEntries, pageBytes).StringSlice()
	if err != nil {
		return Page{}, failure("replay of "+string(topic), err)
	}
	p := Page{Verdict: Verdict(answer[0]), Head: Cursor(answer[1])}
	prev := after
	for i := 2; i+1 < len(answer); i += 2 {
		p.Entries = append(p.Entries, Entry{Topic: topic, ID: Cursor(answer[i]), Prev: prev, JSON: json.RawMessage(answer[i+1])})
		prev = Cursor(answer[i])
	}
	return p, nil
}

// StreamKey names a topic's stream in Redis, for tools: entry IDs are cursors, and
// the field r is the record.
func (e *Engine) StreamKey(topic Topic) string { return e.keys.of(topic) + "s:" + string(topic) }
