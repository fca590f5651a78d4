package ground

import (
	"fmt"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Keys names every key of a namespace. All keys of a shard have its hash tag, and so share a slot
// of Redis Cluster.
//
//	{07}:log        stream   every record of the shard, short-lived; what gateways tail
//	{07}:none                never exists; scripts declare it, see Declared
//	{07}:head       hash     the log's last ID <ms>-<k>, how many heartbeats were counted, the outbox's groups, what its cap dropped, bytes and marks of both, Redis's identity, and what the outbox no longer has, see groups.lua
//	{07}:out        stream   milestones and notifications, while a group is declared
//	{07}:lease:<group> hash  a group's reader of the outbox, its fence and expiry, and the group's consumers, see lease.lua
//	{07}:aside:<group> hash  records of the outbox that a group's store cannot store, JSON by their IDs in the outbox
//	{07}:s:<topic>  stream   the topic's records; an entry's ID is the cursor
//	{07}:m:<topic>  hash     the topic's head: ID of its last record, bytes and records held
//	{07}:x:<topic>  zset     the topic's jobs: n of the record that ended it, +inf while it lives; n - 2^53 for a child
//	{07}:j:<job>    hash     the job
//	{07}:p:<job>    hash     an ended job's payload and checkpoint, while it can be tried again
//	{07}:a:<task>   string   the job of an asynq task that was adopted: "<length of queue>:<queue>:<ID>"
//	{07}:b:<job>    zset     the jobs whose payloads name the job's upload, by the ms in which their records go, +inf while they live
//	{07}:d:<topic>/<job> zset the jobs whose payloads name the dataset, as in b
//	{07}:z:<topic>/<job> string the dataset is being deleted: it has no new pins
//	{07}:k:<job>    zset     the job's children, by their place in its fan-out
//	{07}:w:<schedule> zset   the jobs of a schedule's ticks that have not ended, by tick: "<topic>|<name>"
//	{07}:live       zset     the shard's jobs that have not ended, by the ms of their creation
//	{07}:due        zset     the jobs with a deadline that wait, by its ms: those that no worker runs
//	{07}:walk:<who> hash     what is left of the round of workers (w) or adopters (a) over live, see walk.lua
//	{07}:removed    zset     the jobs that were removed, by the ms of that, for as long as an ended job is kept
//	{07}:beats      zset     the running jobs, by the count at their last heartbeat
//	{07}:probe               a sweep writes nothing to it, to find out whether Redis accepts writes
//	{00}:installation string a random text that identifies this Redis, made by the first worker that asks
//	{07}:op:<key>   string   the result of an operation, for 24 hours; one that made a job, as long as the job
//
// These keys belong to no shard: queues, a set of the queues that workers serve, refusals, a hash of
// the queues that workers take nothing from, and the schedules, since every worker reads all of them:
//
//	{schedules}        hash  the schedules, as JSON, by "<topic>|<name>"
//	{schedules}:times  hash  when each ticks: "<zone> <cron>"
//	{schedules}:ticks  hash  the last handled tick of each, in ms
//	{schedules}:held   hash  why the ticks of a schedule create no jobs, in words
//
// and watched downloads, which change with bytes and not with jobs. All of them go within a day:
//
//	{downloads}:due    zset  the downloads that are running, by the ms in which their lease ends
//	{downloads}:d:<id> hash  a download
//	{downloads}:u:<user> zset a user's downloads that are running, by the ms in which their hash goes
//	{downloads}:e:<user> zset a user's downloads that have ended, by the ms of that; at most 100
//
// and what credentials are revoked:
//
//	{control}:revoked  zset  c:<credential> and s:<subject>, by the ms until which the revocation is kept
//	{control}:log      stream the newest of them, as they came; each names the one before it
//	{control}:proof    string that gateways write, to know that Redis takes writes
type Keys struct {
	namespace string
	shards    []string // "tm:{07}:"
}

func newKeys(namespace string, shards int) Keys {
	k := Keys{namespace: namespace, shards: make([]string, shards)}
	for i := range k.shards {
		k.shards[i] = fmt.Sprintf("%s:{%02d}:", namespace, i)
	}
	return k
}

// Schema names the hash that says how the namespace is laid out.
func (k Keys) Schema() string { return k.namespace + ":schema" }

// Served names the set of the queues that workers have said they serve.
func (k Keys) Served() string { return k.namespace + ":queues" }

// Refusals names the hash of the queues from which workers take nothing: "<queue> <process> <worker>",
// with the ms until which that holds.
func (k Keys) Refusals() string { return k.namespace + ":refusals" }

// Control names the log of revocations and what is revoked.
func (k Keys) Control() (log, revoked string) {
	return k.namespace + ":{control}:log", k.namespace + ":{control}:revoked"
}

// ControlProof names what readers of revocations write.
func (k Keys) ControlProof() string { return k.namespace + ":{control}:proof" }

// Download names the hash of a watched download.
func (k Keys) Download(id string) string { return k.namespace + ":{downloads}:d:" + id }

// Downloads names the sorted set of a user's watched downloads that are running.
func (k Keys) Downloads(owner string) string { return k.namespace + ":{downloads}:u:" + owner }

// DownloadScript are the keys that the engine declares in a call of download.lua, as Declared has them.
func (k Keys) DownloadScript() []string {
	return []string{k.namespace + ":{downloads}:due", k.namespace + ":{downloads}:none"}
}

// Schedules names the hash of the stored schedules.
func (k Keys) Schedules() string { return k.namespace + ":{schedules}" }

// Held names the hash of why the ticks of schedules make no jobs.
func (k Keys) Held() string { return k.namespace + ":{schedules}:held" }

// Backlog names the sorted set of a schedule's jobs that have not ended.
func (k Keys) Backlog(s wire.Schedule) string { return k.of(s.Topic) + "w:" + ScheduleField(s) }

// Times names the hash of when schedules tick.
func (k Keys) Times() string { return k.namespace + ":{schedules}:times" }

// Ticks names the hash of the last tick of each schedule that a worker has handled.
func (k Keys) Ticks() string { return k.namespace + ":{schedules}:ticks" }

// Log names the shard's log.
func (k Keys) Log(shard int) string { return k.shards[shard] + "log" }

// Head names the hash of a shard's log and outbox.
func (k Keys) Head(shard int) string { return k.shards[shard] + "head" }

// Out names the shard's outbox.
func (k Keys) Out(shard int) string { return k.shards[shard] + "out" }

// Aside names the records of a shard that a group's consumers set aside.
func (k Keys) Aside(shard int, group string) string { return k.shards[shard] + "aside:" + group }

// Beats names the sorted set of a shard's heartbeats.
func (k Keys) Beats(shard int) string { return k.shards[shard] + "beats" }

// Removed names the sorted set of a shard's jobs that were removed.
func (k Keys) Removed(shard int) string { return k.shards[shard] + "removed" }

// Retention names the key that the worker has which deletes artifacts in the present interval.
func (k Keys) Retention() string { return k.shards[0] + "retention" }

// Installation names the key that identifies this Redis.
func (k Keys) Installation() string { return k.shards[0] + "installation" }

// None names the key that is never there; see Declared.
func (k Keys) None(shard int) string { return k.shards[shard] + "none" }

// Probe names the key that a sweep writes to see whether Redis takes writes.
func (k Keys) Probe(shard int) string { return k.shards[shard] + "probe" }

// Stream names the topic's stream.
func (k Keys) Stream(t wire.Topic) string { return k.of(t) + "s:" + string(t) }

// TopicHead names the hash of a topic's stream.
func (k Keys) TopicHead(t wire.Topic) string { return k.of(t) + "m:" + string(t) }

// Job names the job's hash.
func (k Keys) Job(id wire.JobID) string { return k.shards[id.Shard()] + "j:" + string(id) }

// Operation names the result of an operation.
func (k Keys) Operation(t wire.Topic, key string) string { return k.of(t) + "op:" + key }

// Shelf names the hash of an ended job's payload and checkpoint.
func (k Keys) Shelf(id wire.JobID) string { return k.shards[id.Shard()] + "p:" + string(id) }

// Children names the sorted set of a job's children.
func (k Keys) Children(id wire.JobID) string { return k.shards[id.Shard()] + "k:" + string(id) }

// Pins names the sorted set of the jobs whose payloads name an upload.
func (k Keys) Pins(t wire.Topic, id wire.JobID) string { return k.of(t) + "b:" + string(id) }

// DatasetPins names the sorted set of the jobs whose payloads name a dataset.
func (k Keys) DatasetPins(t wire.Topic, id wire.JobID) string {
	return k.of(t) + "d:" + string(t) + "/" + string(id)
}

// Doomed names the key that is there while a dataset is being deleted, and for some time after.
func (k Keys) Doomed(t wire.Topic, id wire.JobID) string {
	return k.of(t) + "z:" + string(t) + "/" + string(id)
}

// ArtifactPins names the sorted set of the retries that go on with a job's artifacts.
func (k Keys) ArtifactPins(id wire.JobID) string { return k.shards[id.Shard()] + "f:" + string(id) }

func (k Keys) of(t wire.Topic) string { return k.shards[ShardOf(t, len(k.shards))] }

// Declared are the keys that the engine declares in a call of a shard's script. They keep the script
// off a slot that Redis Cluster moves to another node, where it would find some keys and not
// others: while one of two declared keys is missing, both nodes refuse the call with TRYAGAIN
// before the script begins.
func (k Keys) Declared(shard int) []string {
	return []string{k.Log(shard), k.None(shard)}
}

// Task is the key that holds the job of an asynq task, by its queue and ID.
func (k Keys) Task(t wire.Topic, queue, id string) string {
	return fmt.Sprintf("%sa:%d:%s:%s", k.of(t), len(queue), queue, id)
}

// Holds reports whether the ID could be that of a job of this namespace. Only such an ID has a shard.
func (k Keys) Holds(id wire.JobID) bool {
	return id.WellFormed() && id.Shard() < len(k.shards)
}

// ScheduleField is a schedule's field in all hashes. No topic contains the separator.
func ScheduleField(s wire.Schedule) string { return string(s.Topic) + "|" + s.Name }

// LabelField precedes a label's name in a job's hash, by which lists filter.
const LabelField = "l:"
