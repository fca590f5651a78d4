// Package runtime is what a worker asks of an engine: attempts and their reports, heartbeats and
// claims, the dispatch to asynq, families, ticks of schedules, and adopted tasks. Uploads use it
// too, since receiving is attempt 0 of a job. It promises no compatibility between versions:
// programs use packages engine and worker.
//
// # Fences
//
// A run's report carries a fence: the attempt's number, its secret token, and a sequence number.
// Redis has committed a lower or equal number before and answers it as it did then. It refuses a
// gap, and it refuses another attempt's report for ever. So a client that retries, or a network
// that repeats, may send a report any number of times. Whatever does not come from a run, such as
// a cancellation, carries an operation key instead. Redis applies it once per key.
//
// # Claims
//
// A running attempt has a heartbeat. Each shard counts the heartbeats of all its runs, so marks
// order them. [Runtime.Silent] lists the runs that have sent none since an earlier reading, and
// [Runtime.Stall] claims such a run: it raises the fence and makes the next attempt the current
// one, if there was no heartbeat since.
//
// # Reception
//
// [Runtime.Receive] makes a job whose input is still to arrive. The job is Receiving under attempt
// 0. Its receiver reports with a fence, as a run does; a receiver that takes another's place asks
// [Runtime.Receiver] for the fence. [Runtime.Received] queues the job; any process may call it,
// any number of times. What arrived counts as the checkpoint of attempt 1, so no attempt begins before it. A job
// that is canceled meanwhile ends at once.
//
// # Dispatch
//
// Each attempt is an asynq task of its own, named by [TaskID]. asynq carries attempts; this package
// decides about them. Dispatching an attempt again is no error. A task whose attempt is not the
// current one acknowledges itself.
package runtime
