package runtime

import (
	"context"
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

// pins are the commit's fields that pin what the payload names when it creates the job.
func pins(topic wire.Topic, payload []byte) (fields []any) {
	named := blobs.NamedBy(topic, payload)
	if named.Upload != "" {
		fields = append(fields, "bl", string(named.Upload))
	}
	if named.Dataset != "" {
		fields = append(fields, "da", string(named.Dataset))
	}
	return fields
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
	scheduled, err := rt.namedBySchedules(ctx, topic)
	if err != nil {
		return nil, err
	}
	for _, named := range scheduled {
		held[named.Upload] = true
	}
	for _, id := range uploads {
		if held[id] {
			continue
		}
		if held[id], err = rt.pinnedByJobs(ctx, rt.g.Keys.Pins(topic, id), rt.kept); err != nil {
			return nil, err
		}
	}
	return held, nil
}

// namedBySchedules is what the topic's stored schedules name.
func (rt *Runtime) namedBySchedules(ctx context.Context, topic wire.Topic) ([]blobs.Named, error) {
	schedules, err := rt.Schedules(ctx, topic)
	if err != nil {
		return nil, err
	}
	all := make([]blobs.Named, 0, len(schedules))
	for _, s := range schedules {
		full, err := s.Spec().Prepared()
		if err != nil {
			return nil, fmt.Errorf("schedule %s of %s: %w", s.Name, topic, err)
		}
		all = append(all, blobs.NamedBy(topic, full.Payload.([]byte)))
	}
	return all, nil
}

// ArtifactsPinned reports whether a retry of a job, live or kept, goes on with the parts of the job's
// artifacts. It takes a round trip or two. Its error wraps ErrUnreachable.
func (rt *Runtime) ArtifactsPinned(ctx context.Context, job wire.JobID) (bool, error) {
	if !rt.g.Keys.Holds(job) {
		return false, nil
	}
	return rt.pinnedByJobs(ctx, rt.g.Keys.ArtifactPins(job), rt.kept)
}

// DatasetPinned reports whether a job that names a topic's dataset is live or can be retried. Schedules pin no
// dataset; see DatasetsScheduled. It takes a round trip or two. Its error wraps ErrUnreachable.
func (rt *Runtime) DatasetPinned(ctx context.Context, topic wire.Topic, id wire.JobID) (bool, error) {
	return rt.pinnedByJobs(ctx, rt.g.Keys.DatasetPins(topic, id), rt.Retryable)
}

// DatasetsScheduled returns the datasets that a topic's stored schedules name: their next job is refused once
// the dataset is gone. Configured schedules are unknown. Its error wraps ErrInvalidTopic or ErrUnreachable.
func (rt *Runtime) DatasetsScheduled(ctx context.Context, topic wire.Topic) (map[wire.JobID]bool, error) {
	scheduled, err := rt.namedBySchedules(ctx, topic)
	if err != nil {
		return nil, err
	}
	all := map[wire.JobID]bool{}
	for _, named := range scheduled {
		all[named.Dataset] = true
	}
	return all, nil
}

// DoomDataset makes the engine refuse jobs that name a topic's dataset, with ErrNoDataset, for as long as it
// keeps ended jobs. Retries of jobs that pin the dataset, and children of those, are created all the same.
// What DatasetPinned reports after it, no later job changes. Its error wraps ErrUnreachable.
func (rt *Runtime) DoomDataset(ctx context.Context, topic wire.Topic, id wire.JobID) error {
	err := rt.g.Redis.Set(ctx, rt.g.Keys.Doomed(topic, id), 1, rt.g.Opts.Retention).Err()
	return ground.Failure("mark dataset "+string(id), err)
}

// pinsPage is how many of a file's jobs one round trip reads.
const pinsPage = 250

// kept reports which of the jobs Redis has a record of.
func (rt *Runtime) kept(ctx context.Context, ids []wire.JobID) ([]bool, error) {
	states, err := rt.States(ctx, ids)
	if err != nil {
		return nil, err
	}
	there := make([]bool, len(states))
	for i, s := range states {
		there[i] = s != ""
	}
	return there, nil
}

// pinnedByJobs reports whether one of the jobs in a set of pins holds what they pin.
func (rt *Runtime) pinnedByJobs(ctx context.Context, key string, holds func(context.Context, []wire.JobID) ([]bool, error)) (bool, error) {
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
		held, err := holds(ctx, ids)
		if err != nil || slices.Contains(held, true) {
			return err == nil, err
		}
		if len(members) < pinsPage {
			return false, nil
		}
	}
}
