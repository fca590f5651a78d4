package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Flag is what a heartbeat brings back.
type Flag string

// The flags of an attempt.
const (
	// FlagNone: go on.
	FlagNone Flag = ""
	// FlagSuperseded: another attempt is the current one, or the job has ended;
	// nothing that this one reports will be accepted.
	FlagSuperseded Flag = "superseded"
	// FlagCanceling: the job was asked to stop; stop, and report JobCanceled.
	FlagCanceling Flag = "canceling"
	// FlagPausing: the job was asked to rest; checkpoint, stop, and report JobPaused.
	FlagPausing Flag = "pausing"
)

// A Beat is a heartbeat of a running attempt.
type Beat struct {
	Job     JobID
	Attempt int
	Token   string
}

// Heartbeat says that the attempts are alive, and reads their flags, in the order of
// the beats: one round trip whatever their number, on connections that carry no
// reports. Its error wraps ErrUnreachable or ErrOutOfMemory; on a Cluster, where that
// may be of some nodes, the flags of the others stand beside it, and those of the rest
// are FlagNone.
func (e *Engine) Heartbeat(ctx context.Context, beats []Beat) ([]Flag, error) {
	flags := make([]Flag, len(beats))
	byShard := map[int][]int{}
	for i, b := range beats {
		if !e.keys.holds(b.Job) {
			flags[i] = FlagSuperseded
			continue
		}
		byShard[b.Job.Shard()] = append(byShard[b.Job.Shard()], i)
	}
	cmds := map[int]*redis.Cmd{}
	args := map[int][]any{}
	pipe := e.vital.Pipeline()
	for shard, indexes := range byShard {
		for _, i := range indexes {
			b := beats[i]
			args[shard] = append(args[shard], string(b.Job), b.Attempt, b.Token)
		}
		cmds[shard] = pipe.EvalSha(ctx, e.scripts.beat.Hash(), e.keys.declared(shard), args[shard]...)
	}
	_, _ = pipe.Exec(ctx) // each command's own error is read below
	var failed error
	for shard, indexes := range byShard {
		answers, err := cmds[shard].StringSlice()
		if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
			answers, err = e.scripts.beat.Eval(ctx, e.vital, e.keys.declared(shard), args[shard]...).StringSlice()
		}
		if err != nil {
			failed = errors.Join(failed, failure("heartbeat", err))
			continue
		}
		for k, i := range indexes {
			flags[i] = Flag(answers[k])
		}
	}
	return flags, failed
}

// Beats is what there is of a shard's heartbeats.
type Beats struct {
	// Mark counts the heartbeats of all runs of the shard, their starts among them. It
	// grows with each, so that marks order them.
	Mark uint64
	// Oldest is the mark of the oldest heartbeat that is some run's last one; 0: nothing
	// runs, and Mark is not told.
	Oldest uint64
	// Silent are the running jobs whose last heartbeat is no younger than was asked for,
	// with what Stall takes as its name.
	Silent map[JobID]string
	// Redis names the server behind the shard, see Identities; Silent does not ask.
	Redis string
	// Err says why the shard was not read; the other fields are zero then.
	Err error
}

// Silent reads every shard's heartbeats, and which runs have sent none since an earlier
// reading: since holds the marks of that one, by shard; nil asks for none. Its cost grows
// with the silent runs, not with those that beat. On one server it is one call, on a
// Cluster one a shard, on connections that carry no reports. On a Cluster where some nodes do
// not answer, their shards have an Err; the error is that no shard was read. Both wrap
// ErrUnreachable.
func (e *Engine) Silent(ctx context.Context, since []uint64) ([]Beats, error) {
	answers := e.shards(ctx, e.vital, e.scripts.silent, func(shard int) []any {
		if shard >= len(since) {
			return []any{""}
		}
		return []any{since[shard]}
	})
	beats, read := make([]Beats, len(answers)), false
	for i, a := range answers {
		b := &beats[i]
		if b.Err = failure("read heartbeats", a.err); b.Err != nil {
			continue
		}
		read = true
		b.Mark, _ = strconv.ParseUint(text(a.list[0]), 10, 64)
		b.Oldest, _ = strconv.ParseUint(text(a.list[1]), 10, 64)
		for run := range slices.Chunk(a.list[2:], 2) {
			if b.Silent == nil {
				b.Silent = map[JobID]string{}
			}
			b.Silent[JobID(text(run[0]))] = text(run[1])
		}
	}
	if !read {
		return nil, beats[0].Err
	}
	return beats, nil
}

// TryWrites finds out whether the Redis of each of the shards takes writes, by one write
// each, all in one round trip on the connections of heartbeats: in the order of the shards,
// nil or why it does not. Like the heartbeats' script it has a declared key that is missing,
// so a slot that is moving to another node refuses it too. Errors to branch on:
// ErrUnreachable, ErrOutOfMemory.
func (e *Engine) TryWrites(ctx context.Context, shards []int) []error {
	pipe := e.vital.Pipeline()
	cmds := make([]*redis.IntCmd, len(shards))
	for i, shard := range shards {
		cmds[i] = pipe.SInterStore(ctx, e.keys.probe(shard), e.keys.none(shard))
	}
	_, _ = pipe.Exec(ctx) // each command's own error is read below
	errs := make([]error, len(shards))
	for i, cmd := range cmds {
		errs[i] = failure("try a write", cmd.Err())
	}
	return errs
}

// Stall claims a running attempt whose worker was silent: beat is its last
// heartbeat, as Silent gave it. The claim holds only if there was none since. The
// fence is raised, so nothing that the silent worker still sends is accepted, and
// the next attempt becomes the current one; the caller dispatches it, unless the job is
// adopted and asynq comes with its next try. A job that was being canceled ends instead.
// It returns the attempt to dispatch; Waiting is
// false when the job has ended. Errors to branch on: ErrSuperseded (it lives, or
// another claimed it), ErrEnded, ErrNotFound, ErrUnreachable; after the last, read
// the heartbeats again.
func (e *Engine) Stall(ctx context.Context, id JobID, beat string) (Attempt, error) {
	return e.claim(ctx, id, beat, nil)
}

// Abandon is Stall for a job that lost its worker too often: it ends as failed, or as
// canceled if that was asked for.
func (e *Engine) Abandon(ctx context.Context, id JobID, beat string, why JobError) error {
	_, err := e.claim(ctx, id, beat, &why)
	return err
}

func (e *Engine) claim(ctx context.Context, id JobID, beat string, end *JobError) (Attempt, error) {
	a, err := e.Current(ctx, id)
	if err != nil {
		return Attempt{}, err
	}
	o := stalling(a)
	o.beat = cmp.Or(beat, "0") // which none has
	if end != nil {
		r := Report{Type: JobFailed, Error: end}
		o.kind, o.outcome = JobFailed, string(r.outcome())
	}
	if _, err := e.operate(ctx, o); err != nil {
		return Attempt{}, fmt.Errorf("claim job %s from its silent worker: %w", id, err)
	}
	return e.after(ctx, a)
}

// stalling raises the fence over a running attempt.
func stalling(a Attempt) operation {
	return operation{kind: JobStalled, topic: a.Topic, job: a.Job, key: newKey(), attempt: a.Attempt, fields: []any{"ra", 0}}
}

// after is where a job stands that was at a; it does not wait once it has ended.
func (e *Engine) after(ctx context.Context, a Attempt) (Attempt, error) {
	next, err := e.Current(ctx, a.Job)
	if errors.Is(err, ErrEnded) || errors.Is(err, ErrNotFound) {
		return Attempt{Job: a.Job, Topic: a.Topic}, nil
	}
	return next, err
}

// Fail ends a waiting job from outside a run. attempt guards it: only while that is
// the current one. Errors to branch on: ErrSuperseded, ErrEnded, ErrNotFound,
// ErrUnreachable.
func (e *Engine) Fail(ctx context.Context, id JobID, attempt int, why JobError) error {
	return e.endWaiting(ctx, id, JobFailed, attempt, why)
}

func (e *Engine) endWaiting(ctx context.Context, id JobID, kind RecordType, attempt int, why JobError) error {
	a, err := e.Current(ctx, id)
	if err != nil {
		return fmt.Errorf("end job %s: %w", id, err)
	}
	r := Report{Type: JobFailed, Error: &why}
	o := operation{kind: kind, topic: a.Topic, job: id, key: newKey(), attempt: attempt, outcome: string(r.outcome())}
	if a.Adopted() {
		o.fields = []any{"an", noTry}
	}
	_, err = e.operate(ctx, o)
	if err == nil && a.Waiting && !a.Adopted() {
		e.withdraw(a)
	}
	return err
}

// Withdraw ends a waiting job whose task was taken out of asynq: as canceled, with the
// reason. attempt guards it as Fail's does.
func (e *Engine) Withdraw(ctx context.Context, id JobID, attempt int, why JobError) error {
	return e.endWaiting(ctx, id, JobCanceled, attempt, why)
}

// Requeue says that a waiting job's task was lost, and why; the caller dispatches the
// attempt again. Errors are those of Fail, and ErrState when it does not wait any more.
func (e *Engine) Requeue(ctx context.Context, a Attempt, why JobError) error {
	r := Report{Type: JobFailed, Error: &why}
	_, err := e.operate(ctx, operation{
		kind: JobQueued, topic: a.Topic, job: a.Job, key: newKey(), attempt: a.Attempt, again: true, outcome: string(r.outcome()),
	})
	return err
}

// Lost makes a job visible that asynq has a task of and Redis no record: it ends as
// failed. Of the job nothing is known but what its task says. Its error wraps
// ErrInvalidTopic or ErrUnreachable; it does nothing to a job that is there.
func (e *Engine) Lost(ctx context.Context, p TaskPayload, jobType string, why JobError) error {
	s := Spec{Topic: p.Topic, Type: jobType}
	if _, err := ParseTopic(string(p.Topic)); err != nil {
		return err
	}
	if p.Job.Shard() != shardOf(p.Topic, e.opts.Shards) {
		return fmt.Errorf("%w topic %s: it is not job %s's", ErrInvalid, p.Topic, p.Job)
	}
	o, _, err := making(s, p.Job, time.Now(), origin{})
	if err != nil {
		return err
	}
	// Without a payload it is not tried again: nobody knows what it was.
	i := slices.Index(o.fields, any("pl"))
	o.fields = append(slices.Delete(o.fields, i, i+2), "@accepted", 1)
	r, err := e.operate(ctx, o)
	if err != nil || r.duplicate {
		return err
	}
	return e.endWaiting(ctx, p.Job, JobFailed, 1, why)
}

// Outlived says of a task, in the queue that asynq knows by that name, whose job has no
// record, that the record may be gone because the job ended and its retention has passed: asynq
// was given the task longer ago than that, or has archived it before, so the attempt had an
// end. Otherwise the record was lost. Its error wraps ErrUnreachable.
func (e *Engine) Outlived(queue string, p TaskPayload) (bool, error) {
	given := p.Job.Time()
	if p.At > 0 {
		given = time.UnixMilli(p.At)
	}
	if time.Since(given) >= e.opts.Retention {
		return true, nil
	}
	info, err := e.TaskInfo(Task{Queue: queue, ID: TaskID(p.Job, p.Attempt)})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && info.LastErr != "", err
}

// Tidy brings the lists of live jobs, of heartbeats and of deadlines in line with a job's hash. A job whose
// hash is gone, as when it was deleted by hand, leaves both; one that does not run leaves the
// heartbeats; one that runs without a heartbeat is given one, so that sweeps claim it unless
// its worker beats; one that waits is listed by its deadline. Its error wraps ErrUnreachable or ErrOutOfMemory.
func (e *Engine) Tidy(ctx context.Context, id JobID) error {
	if !e.keys.holds(id) {
		return nil
	}
	return failure("tidy job "+string(id), e.scripts.tidy.Run(ctx, e.redis, e.keys.declared(id.Shard()), string(id)).Err())
}

// Unwatched returns those of the jobs that have no heartbeat, in their order. All are read in
// one round trip. Its error wraps ErrUnreachable.
func (e *Engine) Unwatched(ctx context.Context, jobs []JobID) ([]JobID, error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	pipe := e.redis.Pipeline()
	marks := make([]*redis.FloatCmd, len(jobs))
	for i, id := range jobs {
		marks[i] = pipe.ZScore(ctx, e.keys.beats(id.Shard()), string(id))
	}
	_, _ = pipe.Exec(ctx) // each command's own error is read below
	var unwatched []JobID
	for i, mark := range marks {
		switch err := mark.Err(); {
		case errors.Is(err, redis.Nil):
			unwatched = append(unwatched, jobs[i])
		case err != nil:
			return nil, failure("look for heartbeats", err)
		}
	}
	return unwatched, nil
}
