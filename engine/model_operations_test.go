package engine_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// The operations.

func (s *modelShard) enqueue(id engine.JobID, spec engine.Spec) {
	payload, _ := json.Marshal(spec.Payload)
	j := &modelJob{id: id, spec: spec, payload: payload, state: engine.Queued, at: 1}
	s.jobs[id], s.live[id] = j, true
	s.order = append(s.order, id)
	s.topics[spec.Topic].index[id] = true
	if spec.Key != "" {
		s.ops["enqueue:"+string(spec.Topic)+":"+spec.Key] = id
	}
	s.write(j, engine.JobQueued, nil)
}

// receive makes a job that waits for its input.
func (s *modelShard) receive(id engine.JobID, spec engine.Spec, share int, fence runtime.Fence, shown runtime.Shown) {
	payload, _ := json.Marshal(spec.Payload)
	j := &modelJob{
		id: id, spec: spec, payload: payload, state: engine.Receiving, share: share, shown: shown,
		fence: fence, answered: map[uint64]*modelRecord{},
	}
	s.jobs[id], s.live[id] = j, true
	s.order = append(s.order, id)
	s.topics[spec.Topic].index[id] = true
	s.write(j, engine.JobReceiving, nil)
}

// received queues a job that has its input; one that is further stays as it is.
func (s *modelShard) received(id engine.JobID, shown runtime.Shown) error {
	j := s.find(id)
	switch {
	case j == nil:
		return engine.ErrNotFound
	case j.state.Ended():
		return engine.ErrEnded
	case j.state != engine.Receiving:
		return nil
	}
	j.tenths = max(j.tenths, 10*j.share)
	kind := j.wait(s, engine.JobQueued, engine.Queued, runtime.Report{})
	j.shown = shown
	s.write(j, kind, nil)
	return nil
}

func (s *modelShard) notify(topic engine.Topic, key, text string) {
	if key != "" {
		op := "notify:" + string(topic) + ":" + key
		if _, done := s.ops[op]; done {
			return
		}
		s.ops[op] = ""
	}
	r := &modelRecord{kind: engine.NotificationCreated, text: text}
	s.topics[topic].append(r)
	s.fresh = append(s.fresh, r)
}

func (s *modelShard) cancel(id engine.JobID) error {
	j := s.find(id)
	switch {
	case j == nil:
		return engine.ErrNotFound
	case j.state.Ended():
		return engine.ErrEnded
	case j.state != engine.Running:
		j.end(s, engine.Canceled, runtime.Report{})
		s.write(j, engine.JobCanceled, nil)
	case !j.canceling:
		j.canceling = true
		s.write(j, engine.JobCanceling, nil)
	}
	return nil
}

func (s *modelShard) pause(id engine.JobID) error {
	j := s.find(id)
	switch {
	case j == nil:
		return engine.ErrNotFound
	case j.state.Ended():
		return engine.ErrEnded
	case j.canceling:
		return engine.ErrState
	case j.pausing || j.state == engine.Paused:
	case j.active():
		j.pausing = true
		s.write(j, engine.JobPausing, nil)
	default:
		j.state, j.outcome.RetryAt, j.parked = engine.Paused, time.Time{}, 0
		s.write(j, engine.JobPaused, nil)
	}
	return nil
}

// park says that a worker does not know the job's type.
func (s *modelShard) park(id engine.JobID) error {
	j := s.find(id)
	switch {
	case j == nil:
		return engine.ErrNotFound
	case j.state.Ended():
		return engine.ErrEnded
	case !j.waiting():
		return engine.ErrState
	case j.parked != j.at:
		j.parked, j.state, j.outcome.RetryAt = j.at, engine.Queued, time.Time{}
		j.shown = runtime.Shown{Message: fmt.Sprintf("waiting for a worker that knows %q", j.spec.Type)}
		s.write(j, engine.JobQueued, nil)
	}
	return nil
}

func (s *modelShard) resume(id engine.JobID) error {
	j := s.find(id)
	switch {
	case j == nil:
		return engine.ErrNotFound
	case j.state.Ended():
		return engine.ErrEnded
	case j.state == engine.Paused:
		j.state = engine.Queued
		s.write(j, engine.JobQueued, nil)
	case j.pausing:
		j.pausing = false
		s.write(j, engine.JobResumed, nil)
	}
	return nil
}

// retryable tells why a job cannot be tried again, or nil.
func (s *modelShard) retryable(id engine.JobID) error {
	j := s.find(id)
	switch {
	case j == nil:
		return engine.ErrNotFound
	case !j.state.Ended():
		return engine.ErrState
	case j.at == 0:
		return engine.ErrInvalid
	case j.bare:
		return engine.ErrState
	}
	return nil
}

// retry makes the job that tries another one again.
func (s *modelShard) retry(old, id engine.JobID, q engine.RetryQuery) {
	was := s.jobs[old]
	j := &modelJob{
		id: id, spec: was.spec, payload: was.payload, state: engine.Queued, at: 1, retryOf: old, share: was.share,
		inherits: was.share > 0, checkpointTenths: 10 * was.share,
	}
	if was.checkpoint != nil && !q.FromStart {
		j.inherits, j.checkpoint, j.artifactState, j.checkpointTenths = true, was.checkpoint, was.artifactState, was.checkpointTenths
	}
	j.tenths, j.spec.KeyLife = j.checkpointTenths, ""
	s.jobs[id], s.live[id] = j, true
	s.order = append(s.order, id)
	s.topics[was.spec.Topic].index[id] = true
	s.ops["retry:"+string(old)+":"+q.Key] = id
	s.write(j, engine.JobQueued, nil)
}

// stall claims a job from its worker; with an error, the job ends.
func (s *modelShard) stall(id engine.JobID, beat string, why *engine.JobError) error {
	j := s.find(id)
	switch {
	case j == nil:
		return engine.ErrNotFound
	case j.state.Ended():
		return engine.ErrEnded
	case j.state != engine.Running || j.beat != beat:
		return runtime.ErrSuperseded
	}
	kind := engine.JobStalled
	if why != nil && j.canceling {
		kind = engine.JobCanceled
		j.end(s, engine.Canceled, runtime.Report{})
	} else if why != nil {
		kind = engine.JobFailed
		j.end(s, engine.Failed, runtime.Report{Error: why})
	} else {
		kind = j.wait(s, kind, engine.Retrying, runtime.Report{})
	}
	s.write(j, kind, nil)
	return nil
}

func (s *modelShard) fail(id engine.JobID, attempt int, why engine.JobError) error {
	j := s.find(id)
	switch {
	case j == nil:
		return engine.ErrNotFound
	case j.state.Ended():
		return engine.ErrEnded
	case j.at != attempt:
		return runtime.ErrSuperseded
	}
	j.end(s, engine.Failed, runtime.Report{Error: &why})
	s.write(j, engine.JobFailed, nil)
	return nil
}

// heartbeat gives the flag of a beat.
func (s *modelShard) heartbeat(b runtime.Beat) runtime.Flag {
	j := s.find(b.Job)
	if j == nil || j.state != engine.Running || j.fence.Attempt != b.Attempt || j.fence.Token != b.Token {
		return runtime.FlagSuperseded
	}
	s.marks++
	j.beat = strconv.Itoa(s.marks)
	switch {
	case j.canceling:
		return runtime.FlagCanceling
	case j.pausing:
		return runtime.FlagPausing
	}
	return runtime.FlagNone
}
