package runtime

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A Flag is Redis's answer to a heartbeat.
type Flag string

// The flags of an attempt.
const (
	// FlagNone: go on.
	FlagNone Flag = ""
	// FlagSuperseded: another attempt is the present one, or the job has ended. Redis refuses all
	// further reports of this attempt.
	FlagSuperseded Flag = "superseded"
	// FlagCanceling: the job is asked to stop; stop, and report JobCanceled.
	FlagCanceling Flag = "canceling"
	// FlagPausing: the job is asked to pause; checkpoint, stop, and report JobPaused.
	FlagPausing Flag = "pausing"
)

// A Beat is a heartbeat of a running attempt.
type Beat struct {
	Job     wire.JobID
	Attempt int
	Token   string
}

// Heartbeat reports that the attempts are alive, and returns their flags, in the order of the
// beats. It takes one round trip, on connections without reports. Its error wraps ErrUnreachable or
// ErrOutOfMemory. On a Cluster some nodes may fail: the flags of the others are then valid, and
// those of the failed ones are FlagNone.
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

// Beats is the state of a shard's heartbeats.
type Beats struct {
	// Mark counts the heartbeats of all runs of the shard, their starts among them. It
	// grows with each, so that marks order them.
	Mark uint64
	// Oldest is the mark of the oldest heartbeat that is some run's last one. 0: nothing runs, and
	// Mark is unknown.
	Oldest uint64
	// Silent are the running jobs whose last heartbeat is no younger than the mark that the caller
	// gave, with what Stall takes as beat.
	Silent map[wire.JobID]string
	// Redis names the server behind the shard, see Identities; Silent does not ask.
	Redis string
	// Err says why the shard could not be read. The other fields are zero then.
	Err error
}

// Silent reads the heartbeats of every shard, and which runs have sent none since an earlier reading.
// since holds the marks of that reading, by shard; nil asks for no runs. Its cost grows with the
// silent runs, not with those that beat. It is one call, on a Cluster one a shard, on connections
// without reports. On a Cluster the shards of nodes that do not answer have an Err; Silent returns an
// error if no shard could be read. Both wrap ErrUnreachable.
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

// TryWrites tries one write for each shard, all in one round trip on the connections of heartbeats. In
// the order of the shards it returns nil, or why Redis does not take writes. Like the heartbeats'
// script it declares a key that is missing, so a slot that moves to another node refuses it too.
// Errors to branch on: ErrUnreachable, ErrOutOfMemory.
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

// Identities sets Redis of each of the beats that has no Err, as Identity names it, or Err. It asks
// each server once, all at the same time.
func (rt *Runtime) Identities(ctx context.Context, beats []Beats) {
	var servers sync.WaitGroup
	for _, shards := range rt.g.ByNode(ctx, rt.g.Vital) {
		if !slices.ContainsFunc(shards, func(shard int) bool { return beats[shard].Err == nil }) {
			continue
		}
		servers.Go(func() {
			id, err := rt.g.IdentityOf(ctx, rt.g.Vital, shards[0])
			for _, shard := range shards {
				if b := &beats[shard]; b.Err == nil {
					b.Redis, b.Err = id, ground.Failure("ask Redis for its identity", err)
				}
			}
		})
	}
	servers.Wait()
}
