package runtime

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// TypeQueue is the name of the queue for jobs of a type that a worker of their own queue did not
// know. Only workers that know the type take jobs from it. Queue names have no dot, so the name
// belongs to one queue and one type.
func TypeQueue(queue, jobType string) string { return queue + "." + jobType }

// typeQueue says whether a name is one that TypeQueue gives, in the engine's namespace.
func (rt *Runtime) typeQueue(name string) bool {
	return strings.Contains(strings.TrimPrefix(name, rt.QueueName("")), ".")
}

// Park records that a worker took a waiting attempt whose job type it does not know: the job is
// queued, its message says so, and Attempt.Parked says since when. It uses no attempt. The first
// call writes a record; later calls change nothing. It returns the attempt's new state.
//
// The caller drops its task. Where some worker has ever known the type, see Known, it first
// moves the attempt to its TypeQueue. Otherwise the job has no task, so however many such
// jobs wait, they cost no worker anything. A reconciler moves them once a worker knows the
// type. Errors to branch on: those of Fail, and ErrState when the attempt does not wait any
// more.
func (rt *Runtime) Park(ctx context.Context, a Attempt) (Attempt, error) {
	if !a.Parked.IsZero() {
		return a, nil
	}
	a.Parked = rt.g.ReadNow(ctx).Truncate(time.Millisecond)
	_, err := rt.operate(ctx, operation{
		kind: wire.JobQueued, topic: a.Topic, job: a.Job, key: ground.NewKey(), attempt: a.Attempt, again: true,
		fields: []any{"un", strconv.Itoa(a.Attempt) + "." + strconv.FormatInt(a.Parked.UnixMilli(), 10)},
		shown:  &Shown{Message: fmt.Sprintf("waiting for a worker that knows %q", a.Type)},
	})
	return a, err
}

// parked reads since when an attempt is parked. It is zero for a mark of an earlier attempt.
func parked(mark string, attempt int) time.Time {
	of, since, _ := strings.Cut(mark, ".")
	ms, _ := strconv.ParseInt(since, 10, 64)
	if ms == 0 || of != strconv.Itoa(attempt) {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// Known reports which of the attempts are of a type that some worker of their queue knows, or
// has known: ServeQueues was called with their TypeQueue. Its error wraps ErrUnreachable.
func (rt *Runtime) Known(ctx context.Context, attempts ...Attempt) ([]bool, error) {
	if len(attempts) == 0 {
		return nil, nil
	}
	names := make([]any, len(attempts))
	for i, a := range attempts {
		names[i] = TypeQueue(a.Queue, a.Type)
	}
	known, err := rt.g.Redis.SMIsMember(ctx, rt.g.Keys.Served(), names...).Result()
	return known, ground.Failure("read which types workers know", err)
}
