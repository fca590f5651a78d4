package engine

import (
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed scripts/common.lua
	commonLua string
	//go:embed scripts/state.lua
	stateLua string
	//go:embed scripts/family.lua
	familyLua string
	//go:embed scripts/commit.lua
	commitLua string
	//go:embed scripts/write.lua
	writeLua string
	//go:embed scripts/replay.lua
	replayLua string
	//go:embed scripts/list.lua
	listLua string
	//go:embed scripts/beat.lua
	beatLua string
	//go:embed scripts/silent.lua
	silentLua string
	//go:embed scripts/walk.lua
	walkLua string
	//go:embed scripts/due.lua
	dueLua string
	//go:embed scripts/tidy.lua
	tidyLua string
	//go:embed scripts/groups.lua
	groupsLua string
	//go:embed scripts/outbox.lua
	outboxLua string
	//go:embed scripts/lease.lua
	leaseLua string
	//go:embed scripts/consume.lua
	consumeLua string
	//go:embed scripts/aside.lua
	asideLua string
	//go:embed scripts/drop.lua
	dropLua string
	//go:embed scripts/schedule.lua
	scheduleLua string
	//go:embed scripts/tie.lua
	tieLua string
)

// operationTTL is how long the result of an operation is kept for a repetition.
const operationTTL = 24 * time.Hour

// ownOperationTTL is that of an operation whose key nobody but the client's own
// repetitions can know.
const ownOperationTTL = 10 * time.Minute

// headTTL is how long a topic's head outlives its stream.
const headTTL = 30 * 24 * time.Hour

type scripts struct {
	commit, replay, list, beat, silent, walk, due, tidy, outbox, lease, consume, aside, schedule, tie, drop *redis.Script
}

// loadScripts puts the limits in front of the scripts' text, so that they cost
// nothing a call.
func loadScripts(o Options) scripts {
	ms := time.Duration.Milliseconds
	limits := fmt.Sprintf(`local LOG_AGE_MS, LOG_ENTRIES, LOG_BYTES = %d, %d, %d
local TOPIC_ENTRIES, TOPIC_BYTES, TOPIC_TTL_MS, HEAD_TTL_MS = %d, %d, %d, %d
local RETENTION_MS, OP_TTL_MS, OWN_OP_TTL_MS, REFRESH_MS, OUT_ENTRIES, OUT_BYTES = %d, %d, %d, %d, %d, %d
local RETRY_FAILED_MS, RETRY_SUCCEEDED_MS, TOPIC_JOBS, CODE_CHILD_FAILED = %d, %d, %d, %q
`, ms(o.LogAge), o.LogEntries, o.LogBytes, o.TopicEntries, o.TopicBytes, ms(o.TopicTTL), ms(o.TopicTTL+headTTL),
		ms(o.Retention), ms(operationTTL), ms(ownOperationTTL), ms(min(time.Hour, o.TopicTTL/8)), o.OutboxEntries, o.OutboxBytes,
		ms(min(o.RetryFailed, o.Retention)), ms(min(o.RetrySucceeded, o.Retention)), o.TopicJobs, CodeChildFailed)
	script := func(body string) *redis.Script { return redis.NewScript(limits + commonLua + body) }
	return scripts{
		commit: script(stateLua + familyLua + commitLua + writeLua), replay: script(replayLua), list: script(listLua),
		beat: script(beatLua), silent: script(silentLua), walk: script(walkLua), due: script(dueLua), tidy: script(tidyLua), outbox: script(groupsLua + outboxLua),
		lease: script(leaseLua), consume: script(groupsLua + consumeLua), aside: script(groupsLua + asideLua),
		schedule: redis.NewScript(scheduleLua), tie: redis.NewScript(tieLua), // of no shard
		drop: redis.NewScript(dropLua), // of asynq's keys
	}
}
