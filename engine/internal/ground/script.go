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

// ScriptTexts returns the texts of the scripts, by file name.
func ScriptTexts() map[string]string {
	entries, err := files.ReadDir("scripts")
	if err != nil {
		panic(err) // cannot happen: they are embedded
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

// operationTTL is how long Redis keeps the result of an operation for repetitions.
const operationTTL = 24 * time.Hour

// ownOperationTTL is the same for an operation without a named key, which only the client itself
// can repeat.
const ownOperationTTL = 10 * time.Minute

// headTTL is how long Redis keeps a topic's head after its stream.
const headTTL = 30 * 24 * time.Hour

// downloadTTL is how long Redis keeps what it knows of a watched download.
const downloadTTL = 24 * time.Hour

// maxDownloadRanges bounds the ranges of a watched download that do not touch: a few KiB.
const maxDownloadRanges = 128

// Scripts are all scripts that the engine runs.
type Scripts struct {
	Commit, Replay, List, Beat, Silent, Walk, Due, Tidy, Outbox, Lease, Consume, Aside, Schedule, Tie, Drop, Download, Control *redis.Script
}

// NewScripts builds the scripts from their texts. It writes the limits in front, so that calls need
// not send them.
func NewScripts(o Settings, text map[string]string) Scripts {
	ms := time.Duration.Milliseconds
	limits := fmt.Sprintf(`local LOG_AGE_MS, LOG_ENTRIES, LOG_BYTES = %d, %d, %d
local TOPIC_ENTRIES, TOPIC_BYTES, TOPIC_TTL_MS, HEAD_TTL_MS = %d, %d, %d, %d
local RETENTION_MS, OP_TTL_MS, OWN_OP_TTL_MS, REFRESH_MS, OUT_ENTRIES, OUT_BYTES = %d, %d, %d, %d, %d, %d
local RETRY_FAILED_MS, RETRY_SUCCEEDED_MS, TOPIC_JOBS, ARTIFACTS, CODE_CHILD_FAILED, CODE_PARENT_ENDED = %d, %d, %d, %d, %q, %q
local DOWNLOAD_MS, DOWNLOADS, DOWNLOAD_RANGES = %d, %d, %d
`, ms(o.LogAge), o.LogEntries, o.LogBytes, o.TopicEntries, o.TopicBytes, ms(o.TopicTTL), ms(o.TopicTTL+headTTL),
		ms(o.Retention), ms(operationTTL), ms(ownOperationTTL), ms(min(time.Hour, o.TopicTTL/8)), o.OutboxEntries, o.OutboxBytes,
		ms(min(o.RetryFailed, o.Retention)), ms(min(o.RetrySucceeded, o.Retention)), o.TopicJobs, wire.MaxArtifacts, wire.CodeChildFailed, wire.CodeParentEnded,
		ms(downloadTTL), wire.MaxDownloads, maxDownloadRanges)
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
		Schedule: redis.NewScript(text["schedule"]), Tie: redis.NewScript(text["tie"]), // they belong to no shard
		Drop:     redis.NewScript(text["drop"]), // on asynq's keys
		Download: script("download"),            // of no shard too
		Control:  redis.NewScript(text["control"]),
	}
}
