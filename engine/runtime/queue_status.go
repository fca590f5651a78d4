package runtime

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A QueueRef names a queue as a job's view does.
type QueueRef struct {
	Name string
	// Foreign says that it is another program's queue, by asynq's name.
	Foreign bool
}

// QueueRef names the attempt's queue.
func (a Attempt) QueueRef() QueueRef { return QueueRef{Name: a.Queue, Foreign: a.Adopted()} }

// statusAge is for how long a process answers from what it has read. So any number of readers cost
// Redis a few calls a second.
const statusAge = time.Second

// queueStatus is what a process knows of queues. Who has taken the element of read may use it and read more.
type queueStatus struct {
	read chan struct{} // has one element; the field never changes
	queuesKnown
}

// queuesKnown is what one reading has found out, and what was asked for since.
type queuesKnown struct {
	readAt time.Time
	fleet  fleet
	queues map[QueueRef]wire.Queue
	all    []QueueRef // nil: not read yet
}

func newQueueStatus() *queueStatus {
	s := &queueStatus{read: make(chan struct{}, 1)}
	s.read <- struct{}{}
	return s
}

// fleet is who serves queues.
type fleet struct {
	servers  []asynqServer
	refusing map[string][]string // by queue, as jobs name it: processes
	names    map[string]bool     // of all queues of asynq
}

// Queues returns how queues are served, in the order of refs, each once. What it returns is up to a
// second old. It costs three round trips a second at most, whatever the number of jobs; queues that
// no caller asks for cost nothing. The error wraps ErrUnreachable.
func (rt *Runtime) Queues(ctx context.Context, refs ...QueueRef) ([]wire.Queue, error) {
	if len(refs) == 0 {
		return []wire.Queue{}, nil
	}
	if err := rt.lockStatus(ctx); err != nil {
		return nil, err
	}
	defer rt.unlockStatus()
	return rt.queuesOf(ctx, refs)
}

// AllQueues returns all queues that Tidemark's workers serve, that its jobs wait in, and, in the
// default namespace, those of other programs on the same Redis; sorted by name. What it returns is
// up to a second old. Its error wraps ErrUnreachable.
func (rt *Runtime) AllQueues(ctx context.Context) ([]wire.Queue, error) {
	began := time.Now()
	if err := rt.lockStatus(ctx); err != nil {
		return nil, err
	}
	defer rt.unlockStatus()
	if rt.status.all == nil {
		// Who asks for a list may have made a queue a moment ago. Others may have asked for queues since.
		if rt.status.readAt.Before(began) {
			if err := rt.refresh(ctx); err != nil {
				return nil, err
			}
		}
		all, err := rt.listQueues(ctx)
		if err != nil {
			return nil, err
		}
		rt.status.all = all
	}
	queues, err := rt.queuesOf(ctx, rt.status.all)
	return slices.DeleteFunc(queues, rt.idleFormer), err
}

// idleFormer reports whether q is the former default queue, which workers look after for jobs of
// earlier versions, and has none.
func (rt *Runtime) idleFormer(q wire.Queue) bool {
	return q.Name == wire.FormerQueue && q.Name != rt.g.Opts.DefaultQueue && !q.Foreign && !q.Paused &&
		q.Counts.Waiting+q.Counts.Running+q.Counts.Delayed == 0
}

// lockStatus waits for the right to use the status, and drops what is too old.
func (rt *Runtime) lockStatus(ctx context.Context) error {
	select {
	case <-rt.status.read:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if time.Since(rt.status.readAt) < statusAge {
		return nil
	}
	err := rt.refresh(ctx)
	if err != nil {
		rt.unlockStatus()
	}
	return err
}

// refresh reads who serves queues, and drops what is known of queues. The caller holds the status.
func (rt *Runtime) refresh(ctx context.Context) error {
	began := time.Now()
	f, err := rt.readFleet(ctx)
	if err == nil {
		rt.status.queuesKnown = queuesKnown{readAt: began, fleet: f, queues: map[QueueRef]wire.Queue{}}
	}
	return err
}

func (rt *Runtime) unlockStatus() { rt.status.read <- struct{}{} }

func (rt *Runtime) readFleet(ctx context.Context) (fleet, error) {
	servers, err := rt.servers(ctx)
	if err != nil {
		return fleet{}, err
	}
	pipe := rt.g.Redis.Pipeline()
	refusals := pipe.HGetAll(ctx, rt.g.Keys.Refusals())
	names := pipe.SMembersMap(ctx, asynqQueues)
	if _, err := pipe.Exec(ctx); err != nil {
		return fleet{}, ground.Failure("read asynq's queues", err)
	}
	f := fleet{servers: servers, refusing: map[string][]string{}, names: map[string]bool{}}
	for name := range names.Val() {
		f.names[name] = true
	}
	for field, until := range refusals.Val() {
		if ms, _ := strconv.ParseInt(until, 10, 64); rt.g.Now().UnixMilli() < ms {
			queue, who, _ := strings.Cut(field, " ")
			process, _, _ := strings.Cut(who, " ")
			f.refusing[queue] = append(f.refusing[queue], process)
		}
	}
	return f, nil
}

// queuesOf is Queues for a caller that holds the status.
func (rt *Runtime) queuesOf(ctx context.Context, refs []QueueRef) ([]wire.Queue, error) {
	s := rt.status
	var missing []QueueRef
	queues := make([]wire.Queue, 0, len(refs))
	for _, ref := range refs {
		if _, known := s.queues[ref]; !known && !slices.Contains(missing, ref) {
			missing = append(missing, ref)
		}
	}
	if err := rt.readQueues(ctx, missing); err != nil {
		return nil, err
	}
	seen := map[QueueRef]bool{}
	for _, ref := range refs {
		if !seen[ref] {
			queues = append(queues, s.queues[ref])
		}
		seen[ref] = true
	}
	return queues, nil
}

// contents are the answers about one queue of asynq's.
type contents struct {
	queue            string // by asynq's name
	pending, active  *redis.IntCmd
	scheduled, retry *redis.IntCmd
	oldest, since    *redis.StringCmd
}

// readQueues reads queues into the status, in two round trips.
func (rt *Runtime) readQueues(ctx context.Context, refs []QueueRef) error {
	if len(refs) == 0 {
		return nil
	}
	pipe := rt.g.Redis.Pipeline()
	paused, held := make([]*redis.IntCmd, len(refs)), make([][]contents, len(refs))
	for i, ref := range refs {
		name := rt.asynqName(ref)
		paused[i] = pipe.Exists(ctx, asynqKey(name, "paused"))
		for _, q := range rt.together(ref) {
			held[i] = append(held[i], contents{
				queue: q, pending: pipe.LLen(ctx, asynqKey(q, "pending")), active: pipe.LLen(ctx, asynqKey(q, "active")),
				scheduled: pipe.ZCard(ctx, asynqKey(q, "scheduled")), retry: pipe.ZCard(ctx, asynqKey(q, "retry")),
				oldest: pipe.LIndex(ctx, asynqKey(q, "pending"), -1),
			})
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return ground.Failure("read queues", err)
	}
	pipe = rt.g.Redis.Pipeline()
	for _, all := range held {
		for i, c := range all {
			if id := c.oldest.Val(); id != "" {
				all[i].since = pipe.HGet(ctx, asynqKey(c.queue, "t:"+id), "pending_since")
			}
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return ground.Failure("read queues", err)
	}
	for i, ref := range refs {
		q := rt.served(ref)
		q.Paused, q.Counts = paused[i].Val() > 0, rt.count(held[i])
		rt.status.queues[ref] = q
	}
	return nil
}

func (rt *Runtime) asynqName(ref QueueRef) string {
	if ref.Foreign {
		return ref.Name
	}
	return rt.QueueName(ref.Name)
}

// together are the queues of asynq's that count as one: a queue, its rescue queue and its type
// queues.
func (rt *Runtime) together(ref QueueRef) []string {
	names := []string{rt.asynqName(ref)}
	if ref.Foreign {
		return names
	}
	for name := range rt.status.fleet.names {
		plain, ours := rt.plainName(name)
		if of, _ := companion(plain); ours && of == ref.Name {
			names = append(names, name)
		}
	}
	return names
}

// plainName takes the namespace off a name of asynq's; false for one that has another namespace.
func (rt *Runtime) plainName(name string) (string, bool) {
	return strings.CutPrefix(name, rt.QueueName(""))
}

// served says who serves a queue.
func (rt *Runtime) served(ref QueueRef) wire.Queue {
	q := wire.Queue{Name: ref.Name, Foreign: ref.Foreign, Types: []string{}}
	serving, types := map[string]bool{}, map[string]bool{}
	name := rt.asynqName(ref)
	for _, s := range rt.status.fleet.servers {
		own, other := s.serves(name)
		if ref.Foreign && other || !ref.Foreign && own {
			serving[s.process] = true
		}
		if ref.Foreign {
			continue
		}
		for served := range s.queues {
			if jobType, typed := strings.CutPrefix(served, TypeQueue(name, "")); typed {
				types[jobType] = true
			}
		}
	}
	if !ref.Foreign {
		for _, process := range rt.status.fleet.refusing[ref.Name] {
			if serving[process] {
				q.Refusing++
				delete(serving, process)
			}
		}
	}
	q.Workers, q.Types = len(serving), append(q.Types, slices.Sorted(maps.Keys(types))...)
	return q
}

// count adds up what asynq holds of queues that count as one.
func (rt *Runtime) count(all []contents) *wire.QueueCounts {
	n, now := &wire.QueueCounts{}, rt.g.Now()
	for _, c := range all {
		n.Waiting += c.pending.Val()
		n.Running += c.active.Val()
		n.Delayed += c.scheduled.Val() + c.retry.Val()
		if c.since == nil {
			continue
		}
		if since, err := c.since.Int64(); err == nil {
			n.OldestSeconds = max(n.OldestSeconds, int64(now.Sub(time.Unix(0, since))/time.Second))
		}
	}
	return n
}
