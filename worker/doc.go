// Package worker runs jobs. A Worker takes them from asynq's queues, calls the
// handlers that were registered with Handle, and gives each a Run to report with.
//
// # What is promised
//
//   - A job runs at least once, and ends exactly once. When a worker is lost, the next attempt
//     repeats what the handler did after its last checkpoint. That part must be safe to repeat:
//     write under names made from the job's ID, or check before acting.
//   - Checkpoint commits state and progress together. Once it has returned, the next attempt
//     continues from there or from a later checkpoint, on whichever worker.
//   - The worker commits the record of an attempt's outcome before it acknowledges the task.
//   - Redis refuses all reports of a superseded attempt. The attempt's context ends with
//     ErrSuperseded, at the latest with the next heartbeat.
//   - A crash, a drain, a pause, a restart of Redis and a worker that does not know the job's
//     type use no retry.
//   - An outage of Redis costs time: handlers continue, their reports wait, Checkpoint blocks,
//     and the worker commits all of it once when Redis is back.
//
// # Attempts, the fence and the lease
//
// asynq carries attempts; Tidemark decides about them. Each attempt is an asynq task of its own,
// <job>.<attempt>, that asynq never retries. The worker that takes it commits the attempt's start
// with a token that only its process knows. From then on (attempt, token) is the job's fence: each
// report carries it, and the number that follows the one before.
//
//	          start                     report, heartbeat
//	waiting ─────────▶ attempt n runs ◀──────────────────┐
//	   ▲               │   │   │   │                     │ fence (n, token)
//	   │               │   │   │   └─────────────────────┘
//	   │               │   │   └─ nil, Permanent, panic, canceled ──▶ the job's end
//	   │               │   └─ error with retries left ──┐
//	   │               └─ a lease of silence, drain ──┐ │
//	   │                 pause, children to await ──┐ │ │
//	   │                                            ▼ ▼ ▼
//	   └──────────────────── attempt n+1 is the current one; its task follows at once, or
//	                         when the job is resumed, or when its children have ended
//
// Raising the fence makes n+1 the current attempt. That is one atomic commit, as every report is:
// of two that contradict each other Redis refuses one. Four may raise it: the run itself, at its
// end; any worker, after a lease of silence; a cancel of a job that does not run; and a child
// whose failure fails its parent. There is no leader.
//
// Every HeartbeatInterval a worker reports that its runs are alive, and Redis answers which of them
// were superseded or are to stop. Every SweepInterval, or every quarter of a Lease while nothing
// runs, each worker asks which runs have sent no heartbeat for a lease. Both use connections
// without reports. Redis counts heartbeats. An answer holds the present count and the runs without
// a heartbeat since an earlier count, so it costs the same for ten runs and for ten thousand.
//
// Workers observe silence and do not compute it from clocks. A claim needs the same heartbeat over
// a whole Lease that the sweeper has watched on its own monotonic clock, without a failed read and
// without a change of the Redis server in between. Time in which the sweeper did not look, or got
// no answer, does not count; after it the sweeper watches at least half a lease and the time of
// two heartbeats before it claims anything. A Redis that answers reads may refuse writes, and
// heartbeats with them. So before a claim the shard must have taken the sweeper's writes for at
// least half a lease and the time of two heartbeats, and a refused write begins the lease anew.
// The claim holds only if the run's last heartbeat is still the same. So a Redis that restarts,
// freezes or refuses writes costs no living worker a run.
//
// # Artifacts
//
// [Run.Artifact] opens a file that the job writes. It survives its worker as the handler's state does:
//
//	out, err := run.Artifact(ctx, "report.csv", worker.ArtifactOptions{})
//	… run.Resume(&row), and out.Size() is where the checkpoint of that row left the file
//	for ; row < n; row++ {
//		fmt.Fprintln(out, …)
//		if run.CheckpointDue() { run.Checkpoint(row + 1) } // the file's bytes first, then both in one commit
//	}
//	out.Close() // whole and visible, or not there
//
// Its bytes go to Options.Blobs in parts that nothing writes again. A checkpoint commits which parts count,
// so what a superseded attempt goes on writing is named by nothing. Close commits a job.artifact record.
//
// # Middleware
//
// [Worker.Use] puts middleware around all handlers of a worker, for tracing, logging and limits. It
// runs in the job's slot and attempt, with the Run. The worker recovers its panics as a handler's.
//
// # Logs and metrics
//
// At info a worker logs each attempt's start and end, with job, attempt and type. The end has the
// outcome, the duration and, where the attempt failed, the code and the error; it is then at warn. An
// outcome is the last word of the record's type, such as "succeeded", "retrying" or "queued", or
// "superseded", "abandoned" by a drain, or "refused" by Redis. Options.Registry gets how many attempts
// run, and how many have ended with which outcome after how long. An [Adopter] does the same.
//
// # Ticks
//
// Progress notes in memory where the run is. The run reports it at most once a TickInterval, and all
// runs of a worker do so at common moments, in one call. The run reports stages, log lines,
// checkpoints and the end at once, together with the newest progress.
//
// # Schedules
//
// Every worker makes the jobs of every schedule that Redis stores, and of its own Options. A tick
// still makes one job, since the job's ID is made of the tick, and Redis's clock says when it is
// due. A handler gets the tick's time from its run's ID, with ID().Time().
//
// # What happens when
//
//   - The worker is killed: job.stalled after a lease and a sweep; the next attempt
//     goes to the queue's rescue queue, whose slots are reserved, and begins with the
//     checkpoint. Crashes without a checkpoint between them are counted.
//   - The process is killed by one of its jobs: after two crashes each of its jobs is a
//     suspect, and runs alone until its first checkpoint or its end. It begins when no other
//     handler runs in the process, and none begins beside it. CrashLimit crashes of a job that
//     ran alone end it with code "worker_lost"; its neighbours' crashes never do. A suspect
//     waits for others' runs for 10 seconds, then goes back to its queue, where another process
//     may take it; each time in vain doubles that, up to an hour, and costs the process at most
//     a tenth of its time. Where every process always has a run of more than an hour, a
//     suspect waits. Handlers of adopted tasks do not wait, not even for a suspect.
//   - The worker is frozen, and wakes: its first report or heartbeat is refused; the
//     run's context ends with ErrSuperseded.
//   - Redis is away: the worker sends the same numbered reports again until Redis answers.
//     Redis recognises those that it has committed.
//   - Redis has lost what it acknowledged, as in a failover: it names the number that it has, and
//     the run continues from there with what it shows now. If Redis has lost the start, the run
//     is superseded and its worker puts the task back, which starts the attempt again. A worker
//     never acknowledges a task whose attempt is the current one and waits.
//   - asynq has no task of a waiting job: a reconciler finds the job in the next round over all
//     live jobs. Workers share the rounds: one begins each interval, and takes some seconds where
//     many jobs live. The reconciler dispatches an attempt that asynq never got, gave up or lost;
//     the code is "task_lost" where it was lost. A task that an admin deleted ends its job as
//     canceled with code "task_deleted", one that an admin archived as failed with
//     "task_archived". The reconciler concludes a deletion only while the Redis server is the one
//     to which the task was dispatched: a restart or a failover may have lost that the attempt
//     began or ended. Two tasks of one attempt do no harm: one starts it.
//   - The gateway that receives a job's input is lost, and its folder with it: the reconciler
//     of any worker ends the job, as failed with code "upload_expired", when there was no report
//     for its idle limit and as long again, at most an hour more.
//   - asynq has handed a task out and no worker starts the attempt, since asynq's reply was lost
//     or the worker died: after a lease another worker dispatches it again, in the other queue.
//   - A task's job has no record, as after a failover of one node: the worker creates the job, as
//     failed with code "record_lost". Where the record may have expired, as that of a task that
//     an admin runs again out of asynq's archive, the worker drops the task.
//   - The handler returns an error: job.retrying with backoff, or the job's end; the
//     task goes to asynq's archive with the error. Its text is cut to engine.MaxErrorBytes
//     in records and to 1 KiB in asynq, and its control characters are replaced.
//   - The worker has no handler for the job's type: it parks the job, which begins no attempt
//     and costs no retry. The job's message says that it waits. Where a worker of its queue
//     knows the type, or has known it, the task moves to a queue that only such workers serve.
//     Otherwise the job has no task until such a worker starts; a reconciler then dispatches it.
//     After UnknownTypeWait the job fails with code "no_handler", unless a worker that knows the
//     type is up.
//   - A queue that the worker serves holds a task of another program, next in line: the task stays where
//     and as it is. The worker logs an error, and takes nothing more from that queue until it is
//     restarted. In engine.FormerQueue, which a worker of the default queue serves too, it passes such
//     tasks over.
//   - A queue is paused with asynq's tools: its rescue queue and its type queues rest with it.
//   - The handler panics or calls runtime.Goexit: the job fails with code "panic"; the
//     stack is in the worker's log only.
//   - The job is canceled: the context ends with ErrCanceled at the next heartbeat. The
//     handler's error then ends the job as canceled. If it returns nil it has done the
//     job, which succeeds.
//   - The job is to pause: the context ends with ErrPaused at the next heartbeat. The
//     handler checkpoints and returns, its error is no failure, and the job is paused until
//     somebody resumes it. There is no grace period: a handler that ignores the request
//     continues, and may finish. If the worker is lost meanwhile, the job is paused.
//   - The handler returns ErrAwaiting, which it got from FanOut: the attempt ends, and its slot
//     is free. The commit of the last child's end queues the next attempt.
//   - The deadline passes: the context ends with ErrDeadline, and the handler's error
//     ends the job as failed with code "deadline". A waiting job fails likewise, in the next pass
//     of any worker's reconciler, however many jobs live.
//   - The handler does not return: CancelGrace after a cancel or the deadline the worker commits
//     the job's end without it. Its slot stays taken until it returns.
//   - No worker is up when a schedule ticks: the next one makes the job, if it is within
//     ScheduleGrace. The schedule's Missed says what happens to older ticks.
//   - The worker stops: contexts end with ErrDraining, and a handler that returns an error hands
//     its job back to the rescue queue. After DrainGrace the worker leaves the rest to the lease.
//
// Jobs that have begun go through the rescue queues, which have slots of their own: those that were
// rescued, handed back or resumed, or that waited for their children.
//
// # Adopted tasks
//
// An [Adopter] gives the handlers of an asynq application a Run: asynq's task is the
// carrier, and its own retries are the attempts. Fence, checkpoints, heartbeats and the
// sweep are as above; raising the fence over a lost worker's attempt makes the next one
// the current one, and asynq's recovery brings it. An attempt that was superseded while
// asynq still leaves the task to its process is followed by the next one right there.
//
// # What is repeated, and how to bear it
//
// Once, however often workers die: every record, checkpoint and end; the roll-up of a child into its
// parent; the children of a fan-out. At least once: what the handler does after its last checkpoint.
// Four ways to make that safe:
//
//   - Write a file with [Run.Artifact].
//   - Write under a name that a repetition uses again: a file, row or object named for [Run.ID] and
//     the step, written whole and then renamed or upserted.
//   - Send with an idempotency key made of the job's ID and the step, as payment and mail services
//     take one.
//   - Do it right before a checkpoint that says it is done, where doing it twice after a rare crash
//     between the two is acceptable.
//
// Do not put the attempt's number into such names: the next attempt has another.
package worker
