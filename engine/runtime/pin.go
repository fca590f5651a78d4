package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
)

// UploadKey is the blob store's key of the bytes that were uploaded for a job. Its payload names
// the key in its member blob, and so do payloads of other jobs of the topic that use the bytes.
func UploadKey(topic wire.Topic, job wire.JobID) string { return blobs.Upload(topic, job) }

// pinned returns the job whose upload, of the topic, a payload names; "" for none. The commit that
// creates the payload's job pins the upload.
func pinned(topic wire.Topic, payload []byte) wire.JobID {
	var named struct{ Blob string }
	if json.Unmarshal(payload, &named) != nil {
		return "" // not JSON: only the handler can read it
	}
	id, ok := strings.CutPrefix(named.Blob, UploadKey(topic, ""))
	if job, err := wire.ParseJobID(id); ok && err == nil {
		return job
	}
	return ""
}

// pin is the commit's field that pins the upload when it creates the job.
func pin(topic wire.Topic, payload []byte) []any {
	if job := pinned(topic, payload); job != "" {
		return []any{"bl", string(job)}
	}
	return nil
}

// jobsOf finds the jobs that a run's artifact state names: those whose parts a retry goes on with.
var jobsOf = regexp.MustCompile(`"job":"([0-9A-Z]{28})"`)

// pinArtifacts is the commit's field that pins the parts of earlier jobs' artifacts when it creates their
// retry.
func pinArtifacts(state string) []any {
	var jobs []string
	for _, m := range jobsOf.FindAllStringSubmatch(state, -1) {
		if !slices.Contains(jobs, m[1]) {
			jobs = append(jobs, m[1])
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	return []any{"ao", strings.Join(jobs, " ")}
}

// UploadOf returns the job for which the file was uploaded that a job's payload names, if that is
// one of the job's topic; "" for none, and for an unknown job. Its error wraps ErrUnreachable.
func (rt *Runtime) UploadOf(ctx context.Context, job wire.JobID) (wire.JobID, error) {
	id, err := rt.g.Redis.HGet(ctx, rt.g.Keys.Job(job), "bl").Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return wire.JobID(id), ground.Failure("read the upload of job "+string(job), err)
}

// Pinned reports which of a topic's uploads, given by their jobs, are in use: by a job that is live
// or kept, be it the upload's own, a retry, or another one whose payload names the upload, or by a
// stored schedule. Payloads of asynq's own tasks, and of configured schedules between two of their
// jobs, are unknown and pin nothing. Pinned takes a round trip for 100 uploads, and reads the
// topic's schedules. Its error wraps ErrInvalidTopic or ErrUnreachable.
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

// ArtifactsPinned reports whether a retry of a job, live or kept, goes on with the parts of the job's
// artifacts. It takes a round trip or two. Its error wraps ErrUnreachable.
func (rt *Runtime) ArtifactsPinned(ctx context.Context, job wire.JobID) (bool, error) {
	if !rt.g.Keys.Holds(job) {
		return false, nil
	}
	return rt.pinnedByJobs(ctx, rt.g.Keys.ArtifactPins(job))
}

// pinsPage is how many of an upload's jobs one round trip reads.
const pinsPage = 250

func (rt *Runtime) pinnedByJobs(ctx context.Context, key string) (bool, error) {
	// Live jobs come first. Jobs whose record has expired are not read.
	since := strconv.FormatInt(rt.g.ReadNow(ctx).Add(-time.Hour).UnixMilli(), 10)
	for from := int64(0); ; from += pinsPage {
		members, err := rt.g.Redis.ZRevRangeByScore(ctx, key, &redis.ZRangeBy{Min: since, Max: "+inf", Offset: from, Count: pinsPage}).Result()
		if err != nil {
			return false, ground.Failure("read the jobs that use a file", err)
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
