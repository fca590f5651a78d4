package runtime

import (
	"context"
	"strings"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// An operation is any change that comes from outside a run. Redis applies it once per key, and
// keeps its result for a day for repetitions.
type operation struct {
	kind    wire.RecordType
	topic   wire.Topic
	job     wire.JobID // "": a notification
	key     string     // "": creating a job, which its own ID makes idempotent
	attempt int        // -1: any
	fence   string     // of a job's receiver
	beat    string     // "": any; otherwise the attempt's last heartbeat
	outcome string
	extra   string
	again   bool   // a waiting job's task was lost
	passing bool   // its record goes into no stream, and it is not repeated
	fields  []any  // names and values
	tenths  int    // 0: the job's stays
	shown   *Shown // nil: the job's stays
}

// result is what became of an operation: the job that it is about, and the n of
// its record. standing is nil, or ErrUnreplicated: what the operation began goes on
// all the same, and its caller gets the error at the end.
type result struct {
	job       wire.JobID
	rev       string
	duplicate bool
	tend      []wire.JobID
	standing  error
}

func (rt *Runtime) operate(ctx context.Context, o operation) (result, error) {
	s := &ground.Submission{Shard: ground.ShardOf(o.topic, rt.g.Opts.Shards), Reports: 1, Milestone: !o.passing, Args: o.encode(nil)}
	type reply struct {
		answer string
		err    error
	}
	done := make(chan reply, 1)
	s.Done = func(answers []any, err error) {
		if answers == nil {
			done <- reply{"", err}
			return
		}
		done <- reply{ground.Text(answers[0]), err}
	}
	if err := rt.g.Commits.Add(s); err != nil {
		return result{}, err
	}
	select {
	case r := <-done:
		if r.answer == "" {
			return result{}, r.err
		}
		got, err := readResult(r.answer)
		if err != nil {
			return result{}, err
		}
		got.standing = r.err
		rt.tendAll(ctx, got.tend)
		return got, nil
	case <-ctx.Done():
		return result{}, context.Cause(ctx)
	}
}

// encode appends the operation in the form that commit.lua reads.
func (o *operation) encode(args []any) []any {
	with := append([]any{"@topic", string(o.topic)}, o.fields...)
	if o.key != "" {
		with = append(with, "@op", o.key)
	}
	if o.attempt >= 0 {
		with = append(with, "@attempt", o.attempt)
	}
	if o.beat != "" {
		with = append(with, "@beat", o.beat)
	}
	if o.outcome != "" {
		with = append(with, "@outcome", o.outcome)
	}
	if o.extra != "" {
		with = append(with, "@extra", o.extra)
	}
	if o.again {
		with = append(with, "@again", 1)
	}
	if o.passing {
		with = append(with, "@passing", 1)
	}
	progress := ""
	if o.shown != nil {
		progress = string(o.shown.append(nil))
	}
	args = append(args, string(o.kind), string(o.job), o.fence, "", o.tenths, progress, len(with)/2)
	return append(args, with...)
}

// readResult reads the answer to an operation.
func readResult(answer string) (result, error) {
	answer, tend := cutTend(answer)
	if answer[0] == '-' || answer[0] == '!' {
		return result{}, refusal(answer)
	}
	job, rev, _ := strings.Cut(answer[1:], " ")
	return result{job: wire.JobID(job), rev: rev, duplicate: answer[0] == '=', tend: tend}, nil
}
