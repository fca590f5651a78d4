// Package worker runs jobs. A Worker takes them from asynq's queues, calls the
// handlers that were registered with Handle, and gives each a Run to report with.
//
// # What is promised
//
//   - A job runs at least once, and ends exactly once. What a handler does after its
//     last checkpoint is repeated when its worker is lost, so that part must bear
//     repetition: write under names made from the job's ID, or ask before doing.
//   - Checkpoint commits state and progress together. Once it has returned, the job
//     goes on from there or from a later checkpoint, wherever it runs.
//   - The record of what became of an attempt is committed before asynq hears of it.
//   - Once an attempt is superseded, nothing that it reports is accepted, and its
//     context has ended with ErrSuperseded, or will with the next heartbeat.
//   - A crash, a drain, a pause, a restart of Redis and a worker that does not know the job's
//     type cost no retry.
//   - Losing Redis in the middle costs time: handlers go on, their reports wait,
//     Checkpoint blocks, and all of it is committed once when Redis is back.
//
// # Attempts, the fence and the lease
//
// asynq carries attempts; Tidemark decides. Each attempt is an asynq task of its own,
// <job>.<attempt>, that asynq never retries. Whoever takes it commits its start with
// a token that only this process knows. From then on (attempt, token) is the job's
// fence: a report must bear it, and the number that follows the one before.
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
// Raising the fence, which is making n+1 the current attempt, is one atomic commit,
// and so is every report: of two that contradict each other one is refused. Four may
// raise it: the run itself, at its end; any worker, after a lease of silence; a cancel of
// a job that nobody runs; and a child whose failure fails its parent. Nobody needs to be
// elected for that.
//
// A worker says every HeartbeatInterval that its runs are alive, and hears in return
// which were superseded or are to be canceled. Every worker asks each SweepInterval, or each
// quarter of a Lease while nothing runs, who has not beaten for a lease, both on connections
// that carry no reports. Redis counts beats, and
// an answer holds the count of the moment and the runs that have not beaten since an earlier
// one, so it costs the same for ten runs and for ten thousand. Silence is observed, not
// computed from clocks: a claim needs the same beat over a whole Lease of time that the
// observer has watched on its own monotonic clock, without a failed read in between and
// without a change of the Redis behind. Time in which it did not look, or got no answer,
// counts for nothing, and after that at least half a lease and the time of two beats are
// watched before anything is claimed. A Redis that answers reads may refuse writes, and
// beats with them: before a claim, the shard must have taken writes of the sweeper's for at
// least half a lease and the time of two beats, and a refused one begins the lease anew. The
// claim holds only if the beat is still that one. So a Redis that is restarted, freezes or
// refuses writes costs no living worker a run.
//
// # Middleware
//
// [Worker.Use] puts middleware around all handlers of a worker, for what concerns each of them,
// as tracing, logging and limits do. It runs in the slot and within the attempt of the job,
// with the Run, inside what recovers panics.
//
// # Ticks
//
// Progress only notes where the run is. At most once a TickInterval the run tells it, and
// all runs of a worker do so at common moments, in one call. Stages, log lines,
// checkpoints and the end go at once, and show the newest progress with them.
//
// # Schedules
//
// Every worker sees to the ticks of every schedule that is stored in Redis, and of its
// own Options. A tick makes one job all the same, since the job's ID is made of the tick,
// and Redis's clock says when it is. A handler finds the tick's time in its run's job,
// with Job().Time().
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
//   - Redis is away: the same numbered reports are sent again until they are answered.
//     Those that had been committed are recognised.
//   - Redis has lost what it acknowledged, as in a failover: it names the number that
//     it has, and the run goes on from there with what it shows now. If the start is
//     among what was lost, the run is superseded, and its worker puts the task back, which
//     starts the attempt again. A task whose attempt is the current one and waits is never
//     acknowledged.
//   - The task is missing in asynq while the job waits: a reconciler finds it in
//     the next round over all live jobs. Workers share the rounds: one begins each interval, and
//     takes some seconds where many jobs live. One that asynq was never given, gave up or lost is
//     handed over (again), with code "task_lost" where it was lost. One that somebody
//     deleted ends its job as canceled with code "task_deleted", one that somebody archived
//     as failed with "task_archived". A deletion is concluded only while the Redis behind is
//     the one that was there when asynq was given the task; a restart or a failover may have
//     lost that the attempt began or ended. Two tasks of one attempt do no harm: one starts it.
//   - The gateway that receives a job's input is lost, and its folder with it: the reconciler
//     of any worker ends the job, as failed with code "upload_expired", when nothing was
//     reported for its idle limit and as long again, at most an hour more.
//   - asynq has handed a task out and nobody starts the attempt, since its reply was lost
//     or the taker died: after a lease it is handed over again, in the other queue.
//   - A task comes whose job has no record, as after a failover of one node: the job
//     appears, as failed with code "record_lost". Where the record may have expired, as that
//     of a task that is run again out of asynq's archive, the task is dropped.
//   - The handler returns an error: job.retrying with backoff, or the job's end; the
//     task goes to asynq's archive with the error. Its text is cut to engine.MaxErrorBytes
//     in records and to 1 KiB in asynq, and its control characters are replaced.
//   - The worker has no handler for the job's type: it parks the job, which begins no attempt
//     and costs no retry. The job's message says that it waits. Where a worker of its queue
//     knows the type, or has known it, the task moves to a queue that only such workers take
//     tasks from. Otherwise the job has no task until one comes up; a reconciler then hands it
//     over. After UnknownTypeWait the job fails with code "no_handler", unless a worker that
//     knows the type is up.
//   - The handler panics or calls runtime.Goexit: the job fails with code "panic"; the
//     stack is in the worker's log only.
//   - The job is canceled: the context ends with ErrCanceled at the next heartbeat. The
//     handler's error then ends the job as canceled. If it returns nil it has done the
//     job, and job.succeeded stands.
//   - The job is to pause: the context ends with ErrPaused at the next heartbeat. The
//     handler checkpoints and returns, its error is no failure, and the job rests until it
//     is resumed. There is no grace period, since there is no hurry: a handler that does
//     not heed it goes on, and may finish. A lost worker's job that was to pause is paused.
//   - The handler returns ErrAwaiting, which FanOut gave it: the attempt ends, and its slot
//     is free. The last child's end queues the next attempt, in its own commit.
//   - The deadline passes: the context ends with ErrDeadline, and the handler's error
//     ends the job as failed with code "deadline". A waiting job fails likewise, in the next pass
//     of any worker's reconciler, however many jobs live.
//   - The handler does not return: CancelGrace after a cancel or the deadline the job's
//     end is committed without it. Its slot stays taken until it returns.
//   - No worker is there when a schedule ticks: the next that is makes the job, if it is
//     within ScheduleGrace, and does what the schedule says with what is older.
//   - The worker stops: contexts end with ErrDraining, a handler's error hands its job
//     back to the rescue queue. What takes longer than DrainGrace is left to the lease.
//
// Jobs that have begun go through the rescue queues, which have slots of their own: those
// that were rescued, handed back, resumed, or waited for their children.
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
// Once, however often workers die: every record, checkpoint and end; the roll-up of a
// child into its parent; the children of a fan-out. At least once: what the handler does
// after the checkpoint that it goes on from. Three ways to bear that:
//
//   - Do it under a name that repetition hits again: a file, row or object named for
//     [Run.ID] and the step, written whole and then renamed or upserted.
//   - Ask before doing: send with an idempotency key made of the job's ID and the step, as
//     payment and mail services take one.
//   - Make it the last thing before a checkpoint that says it is done, where doing it twice
//     in a rare crash between the two is acceptable.
//
// The attempt's number is no good for such names: the next attempt has another.
package worker
