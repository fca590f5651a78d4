// Package ground is the engine's access to Redis: connections, the schema and the keys of a
// namespace, the scripts, and the group commit. It knows bytes and strings. What they mean is the
// business of packages runtime and stream.
//
// # The write path
//
// Everything that happens to a job is one run of one script, scripts/commit.lua, over a batch of
// reports. The script decides about all of them first, then appends the records to the topics'
// streams and the shard's log, then changes the jobs:
//
//	decide: fence, sequence, state ─▶ append: stream, log, outbox ─▶ move: job, head, indexes
//
// Redis does not roll a script back. The first append is the first write, and the one that fails
// when memory is short, so a refused batch has changed nothing.
//
// A Committer sends the reports of all callers of a process. While a call is under way, further
// reports wait, and the next call takes all of them.
//
// # Connections
//
// A Ground has three pools. Redis is for commits and reads, Blocking for readers that wait in
// Redis, Vital for heartbeats and those who read them: a heartbeat never waits behind reports.
//
// # Time
//
// All times that records show are Redis's. Clock follows Redis's clock on this process's monotonic
// one and notices when it jumps.
package ground
