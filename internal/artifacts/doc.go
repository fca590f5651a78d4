// Package artifacts keeps the files that jobs write, so that each is whole or not there however often
// its workers die.
//
// # Parts
//
// A [Writer] cuts what it is given into parts of 1 to 8 MiB, each a blob of its own that nothing writes
// again. What is left over at a checkpoint is a tail, a blob that the next checkpoint replaces with a
// longer one, until it is long enough to be a part. So an artifact that is checkpointed all the time still
// has room for 10 GB within its 10,000 parts, and one of 80 GB is the largest.
//
//	checkpoint:  parts and tail durable ─▶ State committed with the handler's ─▶ old tails deleted
//	next attempt:  State ─▶ tail read back ─▶ parts of its own
//	close:  last part durable ─▶ the attempt's manifest ─▶ commit names the artifact ─▶ manifest published
//
// A [State] names, for each attempt that contributed, how many parts of it count. An attempt that was
// frozen may go on writing: its parts beyond those, and its manifest, are named by nothing.
//
// # Visible
//
// An artifact is visible once a fenced commit has added it to its job, with its size and SHA-256. Readers
// use the manifest of that hash. It is published only after the commit, since an attempt that was frozen
// before its commit must not replace the manifest of the one that closed the artifact. A worker that dies in
// between leaves the publishing to [Find].
//
// The published manifest outlives the job's record in Redis. The blob of [blobs.Owner] then tells the topic.
package artifacts
