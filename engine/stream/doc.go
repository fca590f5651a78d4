// Package stream is what a gateway calls of an engine: pages of snapshots and of records, and the
// tail of the log. [engine.Engine.Follow] uses it. It promises no compatibility between versions.
//
// A snapshot is the present state of a topic's jobs. A replay is what the topic's stream holds
// after a cursor. The tail reads the logs of all shards as they grow, once for the whole process.
// [Position] joins replay and tail: a tailed record continues a cursor exactly if its predecessor
// is the cursor. Otherwise the reader takes a page of the topic's stream. [Paging] builds a
// snapshot from pages between which jobs begin, change and end. Both decide, and do no input or
// output.
//
// The tail starts from positions that it has read. It makes all listeners of a shard verify their
// cursors when it starts, when a number is missing in the log, when its position is beyond the
// log's end, and when Redis is another process or has another replication history than before.
//
// [engine.Engine.Follow]: https://pkg.go.dev/github.com/tidemark-dev/tidemark/engine#Engine.Follow
package stream
