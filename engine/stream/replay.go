package stream

import (
	"context"
	"encoding/json"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A Page is a part of a topic's stream after a cursor.
type Page struct {
	Verdict wire.Verdict
	// Head is the topic's newest record when the page was read; Beginning when the topic has none.
	Head wire.Cursor
	// Entries follow the cursor without a gap. There are none unless the verdict is Resumed.
	Entries []wire.Entry
}

// Bounds of a page.
const (
	pageEntries = 500
	pageBytes   = 256 << 10
)

// Replay reads the records after a cursor in a topic's stream: at most 500 records and 256 KiB, but
// at least one record if there is one. Errors to branch on: ErrInvalidTopic, ErrInvalidCursor,
// ErrUnreachable.
func (st *Stream) Replay(ctx context.Context, topic wire.Topic, after wire.Cursor) (Page, error) {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return Page{}, err
	}
	if _, err := wire.ParseCursor(string(after)); err != nil {
		return Page{}, err
	}
	answer, err := st.g.Scripts.Replay.Run(ctx, st.g.Redis, st.g.Keys.Declared(ground.ShardOf(topic, st.g.Opts.Shards)),
		string(topic), string(after), pageEntries, pageBytes).StringSlice()
	if err != nil {
		return Page{}, ground.Failure("replay of "+string(topic), err)
	}
	p := Page{Verdict: wire.Verdict(answer[0]), Head: wire.Cursor(answer[1])}
	prev := after
	for i := 2; i+1 < len(answer); i += 2 {
		p.Entries = append(p.Entries, wire.Entry{Topic: topic, ID: wire.Cursor(answer[i]), Prev: prev, JSON: json.RawMessage(answer[i+1])})
		prev = wire.Cursor(answer[i])
	}
	return p, nil
}
