// Package engine keeps jobs and the records of their progress in Redis. Producers enqueue and
// control jobs with it. Readers follow topics with it, and may disconnect and return at any time.
//
// # The promises
//
// Each accepted job reaches exactly one end. The percent that it shows never decreases. Once a new
// attempt of a job has begun, Redis rejects all writes of older attempts. A reader that goes on
// from a cursor gets every later milestone and each job's newest tick, in order. If records are
// gone, it gets a snapshot and the reason. docs/guarantees.md says what each promise means, and
// which test holds it.
//
// # The cursor
//
// The records of a topic are numbered without a gap, and each names the one before it. A reader's
// whole state is its cursor: the ID of the last record that it holds. A reader that returns with a
// cursor gets one of three verdicts:
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
// A reader that must not miss a milestone, such as an archive, declares a group with
// [Engine.DeclareGroup] and reads the outbox with a [Consumer]. Each shard has one reader at a
// time, by a lease:
//
//	claim a lease, with a fence ─▶ ask the store: where is this shard? ─▶ store the fence
//	read a page after the position ─▶ store records, position and fence in one transaction
//	acknowledge the position with the next page, which lets the outbox go
//
// The store keeps the position together with the effect, and refuses a batch that does not continue
// its place. So no record is lost or repeated when a batch's answer is lost, when a reader is
// killed, or when a reader wakes up after another one has taken its shard. A lease that expires
// early costs work, never correctness.
//
// A position names a record and its content. While the outbox holds that record, it holds all that
// follow. Otherwise the batch has an [OutboxGap]: the cap dropped records, or Redis forgot the
// outbox, returned with an older state, or may have.
//
// # The parts
//
//	engine           what producers and readers call
//	engine/wire      the types that travel, their JSON, and the errors to branch on
//	engine/runtime   what workers call: attempts, heartbeats, claims, families, schedules, adoption
//	engine/stream    what gateways call: pages of snapshots and records, and the tail of the log
//
// Packages runtime and stream promise no compatibility between versions. Their function Of returns
// their part of an Engine.
//
// # Shards
//
// A topic, its jobs and everything about them live in one of a fixed number of shards. The keys of
// a shard share a slot of Redis Cluster. A job's ID begins with its shard, so the engine finds its
// keys without a pointer.
package engine
