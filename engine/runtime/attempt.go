package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
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
	Job     wire.JobID
	Attempt int
	Token   string
}

// Heartbeat says that the attempts are alive, and reads their flags, in the order of
// the beats: one round trip whatever their number, on connections that carry no
// reports. Its error wraps ErrUnreachable or ErrOutOfMemory; on a Cluster, where that
// may be of some nodes, the flags of the others stand beside it, and those of the rest
// are FlagNone.
func (rt *Runtime) Heartbeat(ctx context.Context, beats []Beat) ([]Flag, error) {
	flags := make([]Flag, len(beats))
	byShard := map[int][]int{}
	for i, b := range beats {
		if !rt.g.Keys.Holds(b.Job) {
			flags[i] = FlagSuperseded
			continue
		}
		byShard[b.Job.Shard()] = append(byShard[b.Job.Shard()], i)
	}
	cmds := map[int]*redis.Cmd{}
	args := map[int][]any{}
	pipe := rt.g.Vital.Pipeline()
	for shard, indexes := range byShard {
		for _, i := range indexes {
			b := beats[i]
			args[shard] = append(args[shard], string(b.Job), b.Attempt, b.Token)
		}
		cmds[shard] = pipe.EvalSha(ctx, rt.g.Scripts.Beat.Hash(), rt.g.Keys.Declared(shard), args[shard]...)
	}
	_, _ = pipe.Exec(ctx) // each command's own error is read below
	var failed error
	for shard, indexes := range byShard {
		answers, err := cmds[shard].StringSlice()
		if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
			answers, err = rt.g.Scripts.Beat.Eval(ctx, rt.g.Vital, rt.g.Keys.Declared(shard), args[shard]...).StringSlice()
		}
		if err != nil {
			failed = errors.Join(failed, ground.Failure("heartbeat", err))
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
	Silent map[wire.JobID]string
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
func (rt *Runtime) Silent(ctx context.Context, since []uint64) ([]Beats, error) {
	answers := rt.g.Shards(ctx, rt.g.Vital, rt.g.Scripts.Silent, func(shard int) []any {
		if shard >= len(since) {
			return []any{""}
		}
		return []any{since[shard]}
	})
	beats, read := make([]Beats, len(answers)), false
	for i, a := range answers {
		b := &beats[i]
		if b.Err = ground.Failure("read heartbeats", a.Err); b.Err != nil {
			continue
		}
		read = true
		b.Mark, _ = strconv.ParseUint(ground.Text(a.List[0]), 10, 64)
		b.Oldest, _ = strconv.ParseUint(ground.Text(a.List[1]), 10, 64)
		for run := range slices.Chunk(a.List[2:], 2) {
			if b.Silent == nil {
				b.Silent = map[wire.JobID]string{}
			}
			b.Silent[wire.JobID(ground.Text(run[0]))] = ground.Text(run[1])
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
func (rt *Runtime) TryWrites(ctx context.Context, shards []int) []error {
	pipe := rt.g.Vital.Pipeline()
	cmds := make([]*redis.IntCmd, len(shards))
	for i, shard := range shards {
		cmds[i] = pipe.SInterStore(ctx, rt.g.Keys.Probe(shard), rt.g.Keys.None(shard))
	}
	_, _ = pipe.Exec(ctx) // each command's own error is read below
	errs := make([]error, len(shards))
	for i, cmd := range cmds {
		errs[i] = ground.Failure("try a write", cmd.Err())
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
func (rt *Runtime) Stall(ctx context.Context, id wire.JobID, beat string) (Attempt, error) {
	return rt.claim(ctx, id, beat, nil)
}

// Abandon is Stall for a job that lost its worker too often: it ends as failed, or as
// canceled if that was asked for.
func (rt *Runtime) Abandon(ctx context.Context, id wire.JobID, beat string, why wire.JobError) error {
	_, err := rt.claim(ctx, id, beat, &why)
	return err
}

func (rt *Runtime) claim(ctx context.Context, id wire.JobID, beat string, end *wire.JobError) (Attempt, error) {
	a, err := rt.Current(ctx, id)
	if err != nil {
		return Attempt{}, err
	}
	o := stalling(a)
	o.beat = cmp.Or(beat, "0") // which none has
	if end != nil {
		r := Report{Type: wire.JobFailed, Error: end}
		o.kind, o.outcome = wire.JobFailed, string(r.outcome())
	}
	if _, err := rt.operate(ctx, o); err != nil {
		return Attempt{}, fmt.Errorf("claim job %s from its silent worker: %w", id, err)
	}
	return rt.after(ctx, a)
}

// stalling raises the fence over a running attempt.
func stalling(a Attempt) operation {
	return operation{kind: wire.JobStalled, topic: a.Topic, job: a.Job, key: ground.NewKey(), attempt: a.Attempt, fields: []any{"ra", 0}}
}

// after is where a job stands that was at a; it does not wait once it has ended.
func (rt *Runtime) after(ctx context.Context, a Attempt) (Attempt, error) {
	next, err := rt.Current(ctx, a.Job)
	if errors.Is(err, wire.ErrEnded) || errors.Is(err, wire.ErrNotFound) {
		return Attempt{Job: a.Job, Topic: a.Topic}, nil
	}
	return next, err
}

// Fail ends a waiting job from outside a run. attempt guards it: only while that is
// the current one. Errors to branch on: ErrSuperseded, ErrEnded, ErrNotFound,
// ErrUnreachable.
func (rt *Runtime) Fail(ctx context.Context, id wire.JobID, attempt int, why wire.JobError) error {
	return rt.endWaiting(ctx, id, wire.JobFailed, attempt, why)
}

func (rt *Runtime) endWaiting(ctx context.Context, id wire.JobID, kind wire.RecordType, attempt int, why wire.JobError) error {
	a, err := rt.Current(ctx, id)
	if err != nil {
		return fmt.Errorf("end job %s: %w", id, err)
	}
	r := Report{Type: wire.JobFailed, Error: &why}
	o := operation{kind: kind, topic: a.Topic, job: id, key: ground.NewKey(), attempt: attempt, outcome: string(r.outcome())}
	if a.Adopted() {
		o.fields = []any{"an", noTry}
	}
	_, err = rt.operate(ctx, o)
	if err == nil && a.Waiting && !a.Adopted() {
		rt.withdraw(a)
	}
	return err
}

// Withdraw ends a waiting job whose task was taken out of asynq: as canceled, with the
// reason. attempt guards it as Fail's does.
func (rt *Runtime) Withdraw(ctx context.Context, id wire.JobID, attempt int, why wire.JobError) error {
	return rt.endWaiting(ctx, id, wire.JobCanceled, attempt, why)
}

// Requeue says that a waiting job's task was lost, and why; the caller dispatches the
// attempt again. Errors are those of Fail, and ErrState when it does not wait any more.
func (rt *Runtime) Requeue(ctx context.Context, a Attempt, why wire.JobError) error {
	r := Report{Type: wire.JobFailed, Error: &why}
	_, err := rt.operate(ctx, operation{
		kind: wire.JobQueued, topic: a.Topic, job: a.Job, key: ground.NewKey(), attempt: a.Attempt, again: true, outcome: string(r.outcome()),
	})
	return err
}

// Lost makes a job visible that asynq has a task of and Redis no record: it ends as
// failed. Of the job nothing is known but what its task says. Its error wraps
// ErrInvalidTopic or ErrUnreachable; it does nothing to a job that is there.
func (rt *Runtime) Lost(ctx context.Context, p TaskPayload, jobType string, why wire.JobError) error {
	s := wire.Spec{Topic: p.Topic, Type: jobType}
	if _, err := wire.ParseTopic(string(p.Topic)); err != nil {
		return err
	}
	if p.Job.Shard() != ground.ShardOf(p.Topic, rt.g.Opts.Shards) {
		return fmt.Errorf("%w topic %s: it is not job %s's", wire.ErrInvalid, p.Topic, p.Job)
	}
	o, _, err := making(s, p.Job, time.Now(), origin{})
	if err != nil {
		return err
	}
	// Without a payload it is not tried again: nobody knows what it was.
	i := slices.Index(o.fields, any("pl"))
	o.fields = append(slices.Delete(o.fields, i, i+2), "@accepted", 1)
	r, err := rt.operate(ctx, o)
	if err != nil || r.duplicate {
		return err
	}
	return rt.endWaiting(ctx, p.Job, wire.JobFailed, 1, why)
}

// Outlived says of a task, in the queue that asynq knows by that name, whose job has no
// record, that the record may be gone because the job ended and its retention has passed: asynq
// was given the task longer ago than that, or has archived it before, so the attempt had an
// end. Otherwise the record was lost. Its error wraps ErrUnreachable.
func (rt *Runtime) Outlived(queue string, p TaskPayload) (bool, error) {
	given := p.Job.Time()
	if p.At > 0 {
		given = time.UnixMilli(p.At)
	}
	if time.Since(given) >= rt.g.Opts.Retention {
		return true, nil
	}
	info, err := rt.TaskInfo(Task{Queue: queue, ID: TaskID(p.Job, p.Attempt)})
	if errors.Is(err, wire.ErrNotFound) {
		return false, nil
	}
	return err == nil && info.LastErr != "", err
}

// Tidy brings the lists of live jobs, of heartbeats and of deadlines in line with a job's hash. A job whose
// hash is gone, as when it was deleted by hand, leaves both; one that does not run leaves the
// heartbeats; one that runs without a heartbeat is given one, so that sweeps claim it unless
// its worker beats; one that waits is listed by its deadline. Its error wraps ErrUnreachable or ErrOutOfMemory.
func (rt *Runtime) Tidy(ctx context.Context, id wire.JobID) error {
	if !rt.g.Keys.Holds(id) {
		return nil
	}
	return ground.Failure("tidy job "+string(id), rt.g.Scripts.Tidy.Run(ctx, rt.g.Redis, rt.g.Keys.Declared(id.Shard()), string(id)).Err())
}

// Unwatched returns those of the jobs that have no heartbeat, in their order. All are read in
// one round trip. Its error wraps ErrUnreachable.
func (rt *Runtime) Unwatched(ctx context.Context, jobs []wire.JobID) ([]wire.JobID, error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	pipe := rt.g.Redis.Pipeline()
	marks := make([]*redis.FloatCmd, len(jobs))
	for i, id := range jobs {
		marks[i] = pipe.ZScore(ctx, rt.g.Keys.Beats(id.Shard()), string(id))
	}
	_, _ = pipe.Exec(ctx) // each command's own error is read below
	var unwatched []wire.JobID
	for i, mark := range marks {
		switch err := mark.Err(); {
		case errors.Is(err, redis.Nil):
			unwatched = append(unwatched, jobs[i])
		case err != nil:
			return nil, ground.Failure("look for heartbeats", err)
		}
	}
	return unwatched, nil
}
