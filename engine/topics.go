package engine

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/tidemark-dev/tidemark/engine/stream"
)

// Follow yields every record of a topic after a cursor, or those that match a filter, in order, as
// they are committed. If the stream no longer holds them, Follow yields a snapshot with the latest
// state of every job, in parts, and reads each part when the caller asks for it. Follow survives
// cut connections and restarts of Redis. A slow caller costs bounded memory: Follow reads on from
// the stream for it.
//
// A record may be older than the view of its job in an earlier snapshot: compare Rev.
//
// The iterator ends with an error only when ctx ends (its cause), when the engine is closed
// (ErrClosed), when the query is not valid (ErrInvalidTopic, ErrInvalidCursor, ErrInvalidJobID) or
// when the job is unknown (ErrNotFound). It ends without one when the followed job has ended, or
// the caller stops.
func (e *Engine) Follow(ctx context.Context, q FollowQuery) iter.Seq2[Update, error] {
	return e.st.Follow(ctx, q)
}

// Snapshot reads the present state of a topic: all live jobs, the newest 100 ended ones, the newest
// 100 ended children, and all jobs that ended since held, the reader's cursor, if there is one. It
// holds all of them in memory. If there may be many, read the snapshot in parts with a Paging.
// Errors to branch on: ErrInvalidTopic, ErrInvalidCursor, ErrUnreachable.
func (e *Engine) Snapshot(ctx context.Context, topic Topic, held Cursor) (stream.Snapshot, error) {
	return e.st.Snapshot(ctx, topic, held)
}

// Notify writes a notification into a topic's stream. body is its JSON, at most 16 KiB. Calls with
// the same key, within a day and a topic, write one record; with the key "", each call writes one.
// Errors to branch on: ErrInvalid, ErrInvalidTopic, ErrUnreachable, and ErrUnreplicated, with which
// Notify has written it.
func (e *Engine) Notify(ctx context.Context, topic Topic, key string, body json.RawMessage) error {
	return e.rt.Notify(ctx, topic, key, body)
}

// StreamKey is the key of a topic's stream in Redis, for tools. Entry IDs are cursors, and the
// field r is the record.
func (e *Engine) StreamKey(topic Topic) string { return e.g.Keys.Stream(topic) }
