// Package ground is the engine's access to Redis: connections, the schema and the keys of a
// namespace, the scripts, and the group commit. It handles bytes and strings; packages runtime and
// stream know their meaning.
//
// # The write path
//
// One run of one script, scripts/commit.lua, applies everything that happens to a job, as a batch
// of reports. The script first decides about all of them, then appends the records to the topics'
// streams and the shard's log, then changes the jobs:
//
//	decide: fence, sequence, state ─▶ append: stream, log, outbox ─▶ move: job, head, indexes
//
// Redis does not roll a script back. The first append is the first write, and it is the one that
// fails when memory is short, so a refused batch has changed nothing.
//
// A Committer sends the reports of all callers of a process. While a call is in progress, further
// reports wait, and the next call takes all of them.
//
// # Connections
//
// A Ground has three pools. Redis is for commits and reads. Blocking is for readers that block in
// Redis. Vital is for heartbeats and their readers, so a heartbeat never waits behind reports.
//
// # Time
//
// All times in records are Redis's. Clock follows Redis's clock on this process's monotonic one and
// notices when it jumps.
package ground
