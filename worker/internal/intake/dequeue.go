package intake

import (
	"context"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/encoding/protowire"
)

// A source is one of asynq's queues, as a worker takes tasks from it.
type source struct {
	name string // asynq's
	// parent is the paused key of the queue that a rescue queue or a type queue belongs to: asynq's
	// tools pause that one, and nothing of it is to start then. "" for any other queue.
	parent string
	// shared says that tasks of another program may be there, which are left alone: what is taken
	// is the next of Tidemark's own. In any other queue the first task of another program ends the
	// intake from there.
	shared bool
}

// sharedWindow is how many of a shared queue's next tasks are looked at for one of Tidemark's own.
const sharedWindow = 64

// dequeue takes the next task as asynq's script of that name does, if it is an attempt that
// Tidemark dispatched: its ID names the job, and so does its payload. It does not touch any other
// task, so such a task loses neither its place nor a retry.
//
// KEYS: those of asynq's script (pending, paused, active, lease), then a source's parent, if any.
// ARGV: those of asynq's script (the lease's end, the prefix of tasks), then how many of the next
// tasks may be searched. It answers the task, nil for none, or, where only one may be searched and
// is another program's, a list of its ID and the first bytes of the task, which have its type. Of the
// tasks of other programs it reads one at most: their payloads may be long.
var dequeue = redis.NewScript(`
local TYPE_BYTES = 256
local call, prefix, window = redis.call, ARGV[2], tonumber(ARGV[3])
if call("EXISTS", KEYS[2]) == 1 or (KEYS[5] and call("EXISTS", KEYS[5]) == 1) then
  return nil
end
local ids = call("LRANGE", KEYS[1], -window, -1)
for i = #ids, 1, -1 do
  local id = ids[i]
  local key, job = prefix .. id, string.match(id, "^(%d%d%w+)%.%d+$")
  local dispatched = job and #job == 28
  local msg = dispatched and call("HGET", key, "msg")
  if dispatched and (not msg or string.find(msg, '"job":"' .. job .. '"', 1, true)) then
    if i == #ids then
      call("RPOPLPUSH", KEYS[1], KEYS[3])
    else
      call("LREM", KEYS[1], -1, id)
      call("LPUSH", KEYS[3], id)
    end
    call("HSET", key, "state", "active")
    call("HDEL", key, "pending_since")
    call("ZADD", KEYS[4], ARGV[1], id)
    return msg
  elseif window == 1 then
    return { id, string.sub(call("HGET", key, "msg") or "", 1, TYPE_BYTES) }
  end
end
return nil`)

// take runs dequeue in place of asynq's script.
func (c asynqClient) take(ctx context.Context, keys []string, args []any) *redis.Cmd {
	s, window := c.sources[keys[0]], 1
	if s.shared {
		window = sharedWindow
	}
	if s.parent != "" && c.cluster { // it is in another slot, and asked for only where there is a task
		waiting, err := c.UniversalClient.Exists(ctx, keys[0]).Result()
		paused := int64(0)
		if err == nil && waiting > 0 {
			paused, err = c.UniversalClient.Exists(ctx, s.parent).Result()
		}
		if err != nil {
			return redis.NewCmdResult(nil, err)
		}
		if waiting == 0 || paused > 0 {
			return nothing(ctx, keys[0])
		}
	} else if s.parent != "" {
		keys = append(slices.Clone(keys), s.parent)
	}
	cmd := dequeue.Run(ctx, c.UniversalClient, keys, append(slices.Clone(args), window)...)
	if found, foreign := cmd.Val().([]any); foreign && len(found) == 2 {
		id, _ := found[0].(string)
		task, _ := found[1].(string)
		c.refusals.refuse(Foreign{Queue: s.name, Task: id, Type: taskType(task)})
		return nothing(ctx, keys[0])
	}
	return cmd
}

// expired lists the tasks of a queue whose lease has run out, as asynq's script of that purpose
// does, without those of other programs: asynq charges the tasks with a retry.
//
// KEYS: the leases. ARGV: until when in seconds, the prefix of tasks.
var expired = redis.NewScript(`
local tasks = {}
for _, id in ipairs(redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", ARGV[1])) do
  local msg = string.match(id, "^%d%d%w+%.%d+$") and redis.call("HGET", ARGV[2] .. id, "msg")
  if msg then
    tasks[#tasks + 1] = msg
  end
end
return tasks`)

// A Foreign is a task of another program in a queue that a worker serves.
type Foreign struct {
	Queue string // by asynq's name
	Task  string // its ID
	Type  string
}

// refusals are the queues from which a worker takes nothing more. Its methods may be called
// concurrently.
type refusals struct {
	tell func(Foreign)

	mu   sync.Mutex
	held map[string]bool // by asynq's name
}

// refuse ends the intake from a queue. The first call for a queue tells.
func (r *refusals) refuse(f Foreign) {
	r.mu.Lock()
	known := r.held[f.Queue]
	r.held[f.Queue] = true
	r.mu.Unlock()
	if !known {
		r.tell(f)
	}
}

func (r *refusals) refused(queue string) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[queue]
}

// taskType reads the type of a task as asynq stores it: field 1 of a message of Protocol Buffers.
func taskType(task string) string {
	field, kind, n := protowire.ConsumeTag([]byte(task))
	if n < 0 || field != 1 || kind != protowire.BytesType {
		return ""
	}
	text, n := protowire.ConsumeBytes([]byte(task)[n:])
	if n < 0 {
		return ""
	}
	return string(text)
}
