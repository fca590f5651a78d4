// Package engine keeps jobs and the records of their progress in Redis. Producers enqueue jobs
// with it and control them; readers follow topics with it, and may come and go.
//
// # The promises
//
// Each accepted job reaches exactly one end. The percent that it shows never decreases. Redis
// accepts nothing from an attempt once another attempt is the current one. A reader that goes on
// from a cursor gets every later milestone and each job's newest tick, in order; where records
// are gone, it gets a snapshot and the reason. docs/guarantees.md says what each of these means,
// and which test holds it.
//
// # The cursor
//
// The records of a topic are numbered without a gap, and each knows the one before it. A reader's
// whole state is the ID of the last record that it holds: its cursor. A reader that comes back
// with a cursor gets one of three verdicts:
//
//	resumed     every record after the cursor follows
//	trimmed     the stream has dropped some of them: a snapshot takes their place
//	rewritten   the stream's history is not the cursor's: a snapshot takes its place
//
// A reader of a snapshot compares revisions: it applies a job's view when the view's Rev is higher
// than the one that it holds.
//
// # The outbox
//
// Who must not miss a milestone, such as an archive, declares a group with
// [Engine.DeclareGroup] and reads the outbox with a [Consumer]. Each shard has one reader at a time,
// by a lease:
//
//	claim a lease, with a fence ─▶ ask the store: where is this shard? ─▶ store the fence
//	read a page after the position ─▶ store records, position and fence in one transaction
//	acknowledge the position with the next page, which lets the outbox go
//
// The position lives in the store, with the effect. So a batch whose answer was lost, a
// reader that was killed and one that woke up after another had taken its shard
// neither lose nor repeat a record: the store refuses what does not continue its place. A lease
// that is lost early costs work and no truth.
//
// A position names a record and what it says. While the outbox holds that record, all that
// follow are there. Otherwise, and where the cap dropped records, Redis forgot the outbox, came
// back with an older state or may have, the batch has an [OutboxGap].
//
// # The parts
//
//	engine           what producers and readers call
//	engine/wire      the types that travel, their JSON, and the errors to branch on
//	engine/runtime   what workers ask: attempts, heartbeats, claims, families, schedules, adoption
//	engine/stream    what gateways ask: pages of snapshots and of records, and the tail of the log
//
// Packages runtime and stream promise no compatibility between versions. Each finds its part of an
// Engine with its function Of.
//
// # Shards
//
// A topic, its jobs and everything about them live in one of a fixed number of shards. The keys of
// a shard share a slot of Redis Cluster. A job's ID begins with its shard, so the engine finds its
// keys without a pointer.
package engine
