package ground

import (
	"embed"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

//go:embed scripts/*.lua
var files embed.FS

// ScriptTexts are the texts of the scripts, by the names of their files.
func ScriptTexts() map[string]string {
	entries, err := files.ReadDir("scripts")
	if err != nil {
		panic(err) // they are embedded
	}
	texts := make(map[string]string, len(entries))
	for _, e := range entries {
		b, err := files.ReadFile("scripts/" + e.Name())
		if err != nil {
			panic(err)
		}
		texts[strings.TrimSuffix(e.Name(), ".lua")] = string(b)
	}
	return texts
}

// operationTTL is how long the result of an operation is kept for a repetition.
const operationTTL = 24 * time.Hour

// ownOperationTTL is that of an operation whose key nobody but the client's own
// repetitions can know.
const ownOperationTTL = 10 * time.Minute

// headTTL is how long a topic's head outlives its stream.
const headTTL = 30 * 24 * time.Hour

// Scripts are all that Redis runs.
type Scripts struct {
	Commit, Replay, List, Beat, Silent, Walk, Due, Tidy, Outbox, Lease, Consume, Aside, Schedule, Tie, Drop *redis.Script
}

// NewScripts puts scripts together from their texts, with the limits in front, so that these
// cost nothing a call.
func NewScripts(o Settings, text map[string]string) Scripts {
	ms := time.Duration.Milliseconds
	limits := fmt.Sprintf(`local LOG_AGE_MS, LOG_ENTRIES, LOG_BYTES = %d, %d, %d
local TOPIC_ENTRIES, TOPIC_BYTES, TOPIC_TTL_MS, HEAD_TTL_MS = %d, %d, %d, %d
local RETENTION_MS, OP_TTL_MS, OWN_OP_TTL_MS, REFRESH_MS, OUT_ENTRIES, OUT_BYTES = %d, %d, %d, %d, %d, %d
local RETRY_FAILED_MS, RETRY_SUCCEEDED_MS, TOPIC_JOBS, CODE_CHILD_FAILED = %d, %d, %d, %q
`, ms(o.LogAge), o.LogEntries, o.LogBytes, o.TopicEntries, o.TopicBytes, ms(o.TopicTTL), ms(o.TopicTTL+headTTL),
		ms(o.Retention), ms(operationTTL), ms(ownOperationTTL), ms(min(time.Hour, o.TopicTTL/8)), o.OutboxEntries, o.OutboxBytes,
		ms(min(o.RetryFailed, o.Retention)), ms(min(o.RetrySucceeded, o.Retention)), o.TopicJobs, wire.CodeChildFailed)
	script := func(names ...string) *redis.Script {
		body := limits + text["common"]
		for _, name := range names {
			body += text[name]
		}
		return redis.NewScript(body)
	}
	return Scripts{
		Commit: script("state", "family", "commit", "write"), Replay: script("replay"), List: script("list"), Beat: script("beat"),
		Silent: script("silent"), Walk: script("walk"), Due: script("due"), Tidy: script("tidy"), Outbox: script("groups", "outbox"),
		Lease: script("lease"), Consume: script("groups", "consume"), Aside: script("groups", "aside"),
		Schedule: redis.NewScript(text["schedule"]), Tie: redis.NewScript(text["tie"]), // of no shard
		Drop: redis.NewScript(text["drop"]), // of asynq's keys
	}
}
