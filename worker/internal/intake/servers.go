// Package intake is asynq's side of a worker: the servers that take tasks, and the client that
// spares Redis their questions.
package intake

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// How often a worker has asynq look into its queues, when they were empty. These decide how
// much an idle worker asks of Redis; a busy one does not wait for them. asynq waits for half
// of an interval to one and a half.
const (
	taskCheck = 100 * time.Millisecond
	// rescueCheck is for the slots that are reserved for rescue queues. The others look into
	// these too, while they are free.
	rescueCheck = 250 * time.Millisecond
	// delayedCheck is for tasks that come due, at whole seconds. The first server looks for
	// those of all queues.
	delayedCheck = 750 * time.Millisecond
	// retryCheck is for asynq's own retries, on a Cluster. Tidemark's tasks have none.
	retryCheck = 5 * time.Second
	// typeCheck is for type queues: what other workers do not know.
	typeCheck = time.Second
	// seldom is for what no option of a server turns off: the others' look for tasks that come
	// due, and the removal of results, of which Tidemark's tasks have none.
	seldom = time.Minute
)

// maxTakers bounds takers: beyond it Redis is busy anyway.
const maxTakers = 4

// takers is how many tasks are taken from the queues at once, for a concurrency. An
// asynq server takes one at a time, each a round trip, which bounds it at a fraction
// of what Redis does; several make the commits of the jobs travel together too.
func takers(concurrency int) int { return min(max(concurrency/5, 1), maxTakers) }

// rarely is how much more often than into its rescue queue the slots of a queue look
// into the queue itself first: each look at an empty one is a round trip.
const rarely = 8

// Options say what is taken from asynq.
type Options struct {
	Engine *engine.Engine
	// Queues are named as jobs name them. Weights are their shares; 1 where there is none.
	Queues  []string
	Weights map[string]int
	// Types are type queues, likewise: see runtime.TypeQueue.
	Types []string
	// Shared are queues that another program may use too: only Tidemark's own tasks are taken from
	// them.
	Shared []string
	// Foreign is called with the first task of another program in each other queue: nothing more is
	// taken from there. It must not block.
	Foreign func(Foreign)
	// Concurrency is how many tasks of all queues are held at once, RescueSlots how many further
	// ones of rescue queues.
	Concurrency, RescueSlots int
	// Drain is how long Shutdown may wait for handlers.
	Drain  time.Duration
	Logger *slog.Logger
}

// A Server is one of asynq's, and the slots that its handlers run in. Several share their slots.
type Server struct {
	*asynq.Server
	Slots Slots
}

// Slots hold a value for each handler that runs. asynq has as many, but forgets a handler when
// its own lease ends, as after a long freeze of Redis; a slot of ours is taken until the
// handler has returned.
type Slots chan struct{}

// Servers makes the asynq servers of a worker, which the caller starts. Some are for the rescue
// queues alone, whose slots are reserved. The others take from these too, when they draw them
// or find nothing else: what a large worker left behind is not to wait for the few
// reserved slots beside free ones. They share the engine's connections. asynq's own
// retries, deadlines and signals are not used: it carries attempts, and that is all.
func Servers(o Options) (servers []Server) {
	e := runtime.Of(o.Engine)
	all, rescue, typed, shared := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	sources := map[string]source{}
	add := func(to map[string]int, weight int, s source) {
		to[s.name] = weight
		sources[asynqKey(s.name, "pending")] = s
	}
	for _, q := range slices.Concat(o.Queues, o.Shared) {
		name, weight := e.QueueName(q), cmp.Or(o.Weights[q], 1)
		if slices.Contains(o.Shared, q) {
			add(shared, 1, source{name: name, shared: true})
		} else {
			add(all, rarely*weight, source{name: name})
		}
		add(rescue, weight, source{name: e.QueueName(runtime.RescueQueue(q)), parent: asynqKey(name, "paused")})
	}
	maps.Copy(all, rescue)
	for _, name := range o.Types {
		of, _, _ := strings.Cut(name, ".")
		add(typed, 1, source{name: e.QueueName(name), parent: asynqKey(e.QueueName(of), "paused")})
	}
	level := asynq.FatalLevel // asynq formats its lines even if no handler takes them
	if o.Logger.Enabled(context.Background(), slog.LevelDebug) {
		level = asynq.InfoLevel // its only debug line says at each look that the queues are empty
	}
	client := asynqClient{
		UniversalClient: byRedisClock{o.Engine.Redis(), e},
		polls:           pollGroups(all, rescue, typed, shared, e.Cluster()),
		sources:         sources,
		refusals:        &refusals{tell: o.Foreign, held: map[string]bool{}},
		cluster:         e.Cluster(),
	}
	maps.Copy(all, typed)
	maps.Copy(all, shared)
	delayed := delayedCheck
	serve := func(queues map[string]int, concurrency, takers int, check time.Duration) {
		slots := make(Slots, concurrency)
		for i := range takers {
			servers = append(servers, Server{asynq.NewServerFromRedisClient(client, asynq.Config{
				Concurrency: (concurrency + i) / takers, Queues: queues,
				TaskCheckInterval: check, DelayedTaskCheckInterval: delayed, JanitorInterval: seldom,
				Logger: asynqLog{o.Logger}, LogLevel: level, ShutdownTimeout: o.Drain,
			}), slots})
			delayed = seldom
		}
	}
	n := takers(o.Concurrency)
	serve(all, o.Concurrency, n, time.Duration(n)*taskCheck)
	serve(rescue, o.RescueSlots, takers(o.RescueSlots), rescueCheck)
	return servers
}

// asynqKey is a key of one of asynq's queues.
func asynqKey(queue, kind string) string { return "asynq:{" + queue + "}:" + kind }

// asynqLog logs asynq's lines at debug, for those who debug asynq. A job's records and the worker's own
// lines say what concerns the job.
type asynqLog struct{ l *slog.Logger }

func (a asynqLog) say(level string, args []any) {
	a.l.Debug("asynq: "+fmt.Sprint(args...), "asynq_level", level)
}

func (a asynqLog) Debug(args ...any) { a.say("debug", args) }
func (a asynqLog) Info(args ...any)  { a.say("info", args) }
func (a asynqLog) Warn(args ...any)  { a.say("warn", args) }
func (a asynqLog) Error(args ...any) { a.say("error", args) }
func (a asynqLog) Fatal(args ...any) { a.say("fatal", args) }
