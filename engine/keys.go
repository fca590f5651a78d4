package engine

import "fmt"

// keys names every key of a namespace. All keys of a shard carry its hash tag and
// so share a slot of Redis Cluster.
//
//	{07}:log        stream   every record of the shard, short-lived; what gateways tail
//	{07}:none                never there; scripts declare it, see declared
//	{07}:head       hash     the log's last ID <ms>-<k>, how many heartbeats were counted, the outbox's groups, what its cap dropped, bytes and marks of both, which Redis this is, and what the outbox no longer has, see groups.lua
//	{07}:out        stream   milestones and notifications, while a group is declared
//	{07}:lease:<group> hash  who reads the outbox for a group, its fence, until when, and which consumers there are, see lease.lua
//	{07}:aside:<group> hash  records of the outbox that a group's store cannot store, JSON by their IDs in the outbox
//	{07}:s:<topic>  stream   the topic's records; an entry's ID is the cursor
//	{07}:m:<topic>  hash     the topic's head: ID of its last record, bytes and records held
//	{07}:x:<topic>  zset     the topic's jobs: n of the record that ended it, +inf while it lives; n - 2^53 for a child
//	{07}:j:<job>    hash     the job
//	{07}:p:<job>    hash     an ended job's payload and checkpoint, while it can be tried again
//	{07}:a:<task>   string   the job of an asynq task that was adopted: "<length of queue>:<queue>:<ID>"
//	{07}:b:<job>    zset     the jobs whose payloads name the job's upload, by the ms in which their records go, +inf while they live
//	{07}:k:<job>    zset     the job's children, by their place in its fan-out
//	{07}:w:<schedule> zset   the jobs of a schedule's ticks that have not ended, by tick: "<topic>|<name>"
//	{07}:live       zset     the shard's jobs that have not ended, by the ms of their creation
//	{07}:due        zset     the jobs with a deadline that wait, by its ms: those that no worker runs
//	{07}:walk:<who> hash     what is left of the round of workers (w) or adopters (a) over live, see walk.lua
//	{07}:beats      zset     the running jobs, by the count at their last heartbeat
//	{07}:probe               what a sweep writes nothing to, to see whether writes are taken
//	{07}:op:<key>   string   the result of an operation, for 24 hours; one that made a job, as long as the job
//
// Of no shard is queues, a set: the queues that workers have said they serve. So are schedules,
// since every worker reads all of them:
//
//	{schedules}        hash  the schedules, as JSON, by "<topic>|<name>"
//	{schedules}:times  hash  when each ticks: "<zone> <cron>"
//	{schedules}:ticks  hash  how far the ticks of each were seen to, in ms
//	{schedules}:held   hash  why the ticks of a schedule make no jobs, in words
type keys struct {
	namespace string
	shards    []string // "tm:{07}:"
}

func newKeys(namespace string, shards int) keys {
	k := keys{namespace: namespace, shards: make([]string, shards)}
	for i := range k.shards {
		k.shards[i] = fmt.Sprintf("%s:{%02d}:", namespace, i)
	}
	return k
}

func (k keys) schema() string                       { return k.namespace + ":schema" }
func (k keys) served() string                       { return k.namespace + ":queues" }
func (k keys) schedules() string                    { return k.namespace + ":{schedules}" }
func (k keys) held() string                         { return k.namespace + ":{schedules}:held" }
func (k keys) backlog(s Schedule) string            { return k.of(s.Topic) + "w:" + scheduleField(s) }
func (k keys) times() string                        { return k.namespace + ":{schedules}:times" }
func (k keys) ticks() string                        { return k.namespace + ":{schedules}:ticks" }
func (k keys) log(shard int) string                 { return k.shards[shard] + "log" }
func (k keys) head(shard int) string                { return k.shards[shard] + "head" }
func (k keys) out(shard int) string                 { return k.shards[shard] + "out" }
func (k keys) aside(shard int, group string) string { return k.shards[shard] + "aside:" + group }
func (k keys) beats(shard int) string               { return k.shards[shard] + "beats" }
func (k keys) none(shard int) string                { return k.shards[shard] + "none" }
func (k keys) probe(shard int) string               { return k.shards[shard] + "probe" }
func (k keys) topicHead(t Topic) string             { return k.of(t) + "m:" + string(t) }
func (k keys) job(id JobID) string                  { return k.shards[id.Shard()] + "j:" + string(id) }
func (k keys) operation(t Topic, key string) string { return k.of(t) + "op:" + key }
func (k keys) shelf(id JobID) string                { return k.shards[id.Shard()] + "p:" + string(id) }

func (k keys) children(id JobID) string      { return k.shards[id.Shard()] + "k:" + string(id) }
func (k keys) pins(t Topic, id JobID) string { return k.of(t) + "b:" + string(id) }
func (k keys) of(t Topic) string             { return k.shards[shardOf(t, len(k.shards))] }

// declared are the keys that a script of a shard is called with. On Redis Cluster they
// keep it off a slot that is moving to another node, where it would find some keys and
// not others: while one of two declared keys is missing, Redis refuses the call with
// TRYAGAIN before the script has begun, on either node.
func (k keys) declared(shard int) []string {
	return []string{k.log(shard), k.none(shard)}
}

// task names the key that holds the job of an asynq task.
func (k keys) task(t Topic, of Task) string {
	return fmt.Sprintf("%sa:%d:%s:%s", k.of(t), len(of.Queue), of.Queue, of.ID)
}

// holds reports whether the ID could be of a job here. Only then it has a shard.
func (k keys) holds(id JobID) bool {
	return id.WellFormed() && id.Shard() < len(k.shards)
}

// scheduleField is a schedule's in all hashes. No topic has the character between.
func scheduleField(s Schedule) string { return string(s.Topic) + "|" + s.Name }
