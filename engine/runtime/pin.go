package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
)

// UploadKey is the key, in the blob store, of the bytes that were uploaded for a job. A
// payload names them as its member blob, and so does that of any other job of the topic
// that works on them.
func UploadKey(topic wire.Topic, job wire.JobID) string { return blobs.Upload(topic, job) }

// pinned is the upload of the topic that a payload names, by its job; "" for none. The job
// of the payload pins it in the commit that makes the job.
func pinned(topic wire.Topic, payload []byte) wire.JobID {
	var named struct{ Blob string }
	if json.Unmarshal(payload, &named) != nil {
		return "" // not JSON, which is the handler's to read
	}
	id, ok := strings.CutPrefix(named.Blob, UploadKey(topic, ""))
	if job, err := wire.ParseJobID(id); ok && err == nil {
		return job
	}
	return ""
}

// pin is the field that has a job's making pin its upload.
func pin(topic wire.Topic, payload []byte) []any {
	if job := pinned(topic, payload); job != "" {
		return []any{"bl", string(job)}
	}
	return nil
}

// Pinned tells which of a topic's uploads, named by their jobs, somebody still refers to:
// a job that lives or is kept, be it the upload's own, a retry or another whose payload
// names the upload; or a stored schedule. Payloads of asynq's own tasks, and of configured
// schedules between two of their jobs, are not known and pin nothing. It takes a round trip
// for 100 uploads, and reads the topic's schedules. Its error wraps ErrInvalidTopic or
// ErrUnreachable.
func (rt *Runtime) Pinned(ctx context.Context, topic wire.Topic, uploads []wire.JobID) (map[wire.JobID]bool, error) {
	held := map[wire.JobID]bool{}
	if len(uploads) == 0 {
		return held, nil
	}
	schedules, err := rt.Schedules(ctx, topic)
	if err != nil {
		return nil, err
	}
	for _, s := range schedules {
		full, err := s.Spec().Prepared()
		if err != nil {
			return nil, fmt.Errorf("schedule %s of %s: %w", s.Name, topic, err)
		}
		if job := pinned(topic, full.Payload.([]byte)); job != "" {
			held[job] = true
		}
	}
	for _, id := range uploads {
		if held[id] {
			continue
		}
		if held[id], err = rt.pinnedByJobs(ctx, rt.g.Keys.Pins(topic, id)); err != nil {
			return nil, err
		}
	}
	return held, nil
}

// pinsPage is how many jobs that pin an upload are looked at with one round trip.
const pinsPage = 250

func (rt *Runtime) pinnedByJobs(ctx context.Context, key string) (bool, error) {
	// Those that live come first; those whose record has gone are not read.
	since := strconv.FormatInt(rt.g.ReadNow(ctx).Add(-time.Hour).UnixMilli(), 10)
	for from := int64(0); ; from += pinsPage {
		members, err := rt.g.Redis.ZRevRangeByScore(ctx, key, &redis.ZRangeBy{Min: since, Max: "+inf", Offset: from, Count: pinsPage}).Result()
		if err != nil {
			return false, ground.Failure("read who refers to an upload", err)
		}
		ids := make([]wire.JobID, len(members))
		for i, m := range members {
			ids[i] = wire.JobID(m)
		}
		states, err := rt.States(ctx, ids)
		if err != nil {
			return false, err
		}
		for _, s := range states {
			if s != "" {
				return true, nil
			}
		}
		if len(members) < pinsPage {
			return false, nil
		}
	}
}
