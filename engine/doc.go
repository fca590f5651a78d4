// Package engine keeps jobs and the records of their progress in Redis, and gives
// them to readers that may come and go. Producers and readers import it; workers
// write through it.
//
// # The promises
//
// Once a job is accepted it reaches exactly one end. The percent that it shows never
// decreases. Once an attempt is superseded nothing that it writes is accepted. A
// reader that goes on from a cursor gets every later milestone and each job's newest
// tick, in order, or is told that it cannot and given a snapshot. docs/guarantees.md
// says what each of these means, and which test holds it.
//
// # The write path
//
// Everything that happens to a job is one run of one script, scripts/commit.lua,
// over a batch of reports. It decides about all of them first, then appends the
// records to the topics' streams and the shard's log, then moves the jobs:
//
//	decide: fence, sequence, state ─▶ append: stream, log, outbox ─▶ move: job, head, indexes
//
// Redis does not roll a script back. The first append is the first write, and the
// one that fails when memory is short, so a refused batch has moved nothing.
//
// A run's report carries a fence: the attempt, the attempt's secret token, and a
// sequence number. A lower or equal number was committed before and is answered as
// it was; a gap is refused; another attempt's is refused for ever. So a report may
// be sent any number of times, by a client that retries or a network that repeats.
// Everything that does not come from a run, such as a cancellation, carries an
// operation key instead, and is applied once per key.
//
// # Reception
//
// A job whose input is still to arrive is made by [Engine.Receive]. It is Receiving under
// attempt 0, whose reports its receiver fences like a run's; a receiver that takes
// another's place asks [Engine.Receiver] for the fence. [Engine.Received] queues it,
// whoever calls it and how often: what arrived counts as the checkpoint of attempt 1 and
// those that follow, so none of them begins before it. Nobody's grace is waited for when a
// job is canceled or failed meanwhile.
//
// # The cursor
//
// A topic's records are numbered without a gap, and each knows the one before it.
// A reader's whole state is the ID of the last record that it holds, its cursor.
// What the tail of the log brings continues a cursor exactly if its predecessor is
// the cursor. If not, a page of the topic's stream is read, with a verdict:
//
//	resumed     every record after the cursor follows
//	trimmed     some of them are gone from the stream: a snapshot stands in
//	rewritten   the stream's history is not the cursor's: a snapshot stands in
//
// [Position] is that decision as a state machine, without input or output; Follow
// and gateways run it.
//
// A reader of a snapshot compares revisions: a job's view is applied when its Rev is
// higher than the one held.
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
// # Shards
//
// A topic, its jobs and everything about them live in one of a fixed number of
// shards, whose keys share a slot of Redis Cluster; keys.go lists them. A job's ID
// begins with its shard, so it is found without a pointer.
package engine
