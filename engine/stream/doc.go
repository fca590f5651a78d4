// Package stream is what a gateway asks of an engine: pages of snapshots and of records, and the
// tail of the log. [engine.Engine.Follow] is built on it. It promises no compatibility between
// versions.
//
// A snapshot is the present state of a topic's jobs, a replay what its stream holds after a cursor,
// the tail all shards' logs as they grow, read once for a process. [Position] puts replay and tail
// together: a tailed record continues a cursor exactly if its predecessor is the cursor. Otherwise
// the reader takes a page of the topic's stream. [Paging] makes a snapshot of pages between which
// jobs begin, move and end. Both decide and do no input or output.
//
// The tail starts from positions that it has read. It makes all listeners of a shard verify their
// cursors when a number is missing in the log, when its position is beyond the log's end, when
// Redis is another process or has another replication history than before, and whenever it starts.
//
// [engine.Engine.Follow]: https://pkg.go.dev/github.com/tidemark-dev/tidemark/engine#Engine.Follow
package stream
