package engine

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/tidemark-dev/tidemark/engine/stream"
)

// Follow gives every record of a topic after a cursor, or those that match a filter, in order, as
// they are committed; where the stream no longer holds them it says so with a
// snapshot, which carries the latest state of every job, in parts that are read as the
// reader takes them. It survives cut connections and restarts of Redis. A reader that is
// slow costs bounded memory and is fed from the stream.
//
// A record may be older than the view of its job in a snapshot before it: compare
// Rev.
//
// It ends, with an error, only when ctx ends (its cause), when the engine is closed
// (ErrClosed), when the query is not valid (ErrInvalidTopic, ErrInvalidCursor,
// ErrInvalidJobID) or the job unknown (ErrNotFound); without one when the job that
// it follows has ended, or the caller stops.
func (e *Engine) Follow(ctx context.Context, q FollowQuery) iter.Seq2[Update, error] {
	return e.st.Follow(ctx, q)
}

// Snapshot reads the present state of a topic: all live jobs, the newest 100 ended
// ones, the newest 100 ended children, and, given the cursor that the reader holds, all that
// ended since. It holds all of them in memory: where there may be many, read it in parts,
// by a Paging. Errors to branch on: ErrInvalidTopic, ErrInvalidCursor, ErrUnreachable.
func (e *Engine) Snapshot(ctx context.Context, topic Topic, held Cursor) (stream.Snapshot, error) {
	return e.st.Snapshot(ctx, topic, held)
}

// Notify puts a notification into a topic's stream: body is its JSON, at most 16
// KiB. Calls with the same key, within a day and a topic, write one record; ""
// writes one a call. Errors to branch on: ErrInvalid, ErrInvalidTopic,
// ErrUnreachable, and ErrUnreplicated, with which it stands.
func (e *Engine) Notify(ctx context.Context, topic Topic, key string, body json.RawMessage) error {
	return e.rt.Notify(ctx, topic, key, body)
}

// StreamKey names a topic's stream in Redis, for tools: entry IDs are cursors, and
// the field r is the record.
func (e *Engine) StreamKey(topic Topic) string { return e.g.Keys.Stream(topic) }
