package engine_test

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// The model is what the engine promises, written down a second time, in memory and
// without looking at the scripts: the life of a job, its fence, what a record
// shows, the order of a topic, and which verdicts a reader may get. The model test
// (model_run_test.go) holds the engine against it.

// A modelRecord is a record that was committed, in the history that it belongs to.
type modelRecord struct {
	topic engine.Topic
	pos   int // in its history
	kind  engine.RecordType
	view  engine.Job // without times; no ID: a notification
	text  string     // of a log line or a notification
	began bool       // the job has: an attempt, or its input to arrive

	// Known once it has been read.
	id   engine.Cursor
	prev engine.Cursor
	json []byte
	job  []byte // the view, as the record holds it
}

// A modelJob is a job as it is promised to be.
type modelJob struct {
	id      engine.JobID
	spec    engine.Spec
	payload []byte
	state   engine.State
	at      int // the current attempt
	began   bool
	// fence is of the attempt that started last, and of its last report.
	fence runtime.Fence
	// answered are the records of the fence's reports; those from batch on are of
	// its last batch, with which Redis answers a repetition.
	answered  map[uint64]*modelRecord
	batch     uint64
	tenths    int
	canceling bool
	pausing   bool
	inherits  bool // a checkpoint, or a reception, of the job that it tries again
	retryOf   engine.JobID
	shown     runtime.Shown
	resumed   *float64
	outcome   runtime.Report // Error, RetryAt and Result

	parked           int // the attempt that waits for a worker that knows its type
	share            int
	checkpoint       []byte
	artifactState    []byte // goes with it
	artifacts        []engine.Artifact
	checkpointTenths int
	retries, crashes int
	beat             string

	last *modelRecord
	gone bool // its hash was deleted
	bare bool // its payload was, after its end
}

func (j *modelJob) clone() *modelJob {
	c := *j
	c.answered = maps.Clone(j.answered)
	return &c
}

func (j *modelJob) active() bool { return j.state == engine.Running || j.state == engine.Receiving }

func (j *modelJob) waiting() bool { return j.state == engine.Queued || j.state == engine.Retrying }

// A modelTopic is a topic's present history, and how much of it the stream holds.
type modelTopic struct {
	name  engine.Topic
	chain []*modelRecord
	first int // the stream holds chain[first:]
	kept  bool
	// touched: foreign hands were in the stream, so the engine's count of it is off.
	touched bool
	// bare: the stream was deleted by hand, under a head that stayed. What is written
	// next gets its time to live only when the engine next refreshes it.
	bare  bool
	index map[engine.JobID]bool
}

func (t *modelTopic) clone() *modelTopic {
	c := *t
	c.chain = slices.Clip(t.chain)
	c.index = maps.Clone(t.index)
	return &c
}

func (t *modelTopic) head() engine.Cursor {
	if len(t.chain) == 0 {
		return engine.Beginning
	}
	return t.chain[len(t.chain)-1].id
}

// lose is what follows when neither the stream nor the head knows the history.
func (t *modelTopic) lose() {
	if !t.kept && t.first == len(t.chain) {
		t.chain, t.first, t.touched = nil, 0, false
	}
}

func (t *modelTopic) append(r *modelRecord) *modelRecord {
	r.topic, r.pos = t.name, len(t.chain)
	t.chain, t.kept = append(t.chain, r), true
	return r
}

// A modelShard is everything that Redis keeps or loses together.
type modelShard struct {
	topics map[engine.Topic]*modelTopic
	jobs   map[engine.JobID]*modelJob
	order  []engine.JobID
	ops    map[string]engine.JobID
	live   map[engine.JobID]bool
	k      uint64 // of the log's last entry
	marks  int    // heartbeats counted
	bare   bool   // the log was deleted by hand, see modelTopic

	fresh []*modelRecord // appended, and not yet read
}

func newModelShard() *modelShard {
	return &modelShard{
		topics: map[engine.Topic]*modelTopic{}, jobs: map[engine.JobID]*modelJob{},
		ops: map[string]engine.JobID{}, live: map[engine.JobID]bool{},
	}
}

func (s *modelShard) clone() *modelShard {
	c := &modelShard{
		topics: map[engine.Topic]*modelTopic{}, jobs: map[engine.JobID]*modelJob{},
		order: slices.Clip(s.order), ops: maps.Clone(s.ops), live: maps.Clone(s.live), k: s.k, marks: s.marks, bare: s.bare,
	}
	for name, t := range s.topics {
		c.topics[name] = t.clone()
	}
	for id, j := range s.jobs {
		c.jobs[id] = j.clone()
	}
	return c
}

// held gives the job that a key points to, if it is not free.
func (s *modelShard) held(op string) (engine.JobID, bool) {
	id, found := s.ops[op]
	j := s.find(id)
	if !found || j == nil || j.frees() {
		return "", false
	}
	return id, true
}

// frees reports whether a job's end has freed its key.
func (j *modelJob) frees() bool {
	switch j.spec.KeyLife {
	case engine.KeyWhileLive:
		return j.state.Ended()
	case engine.KeyUntilFailed:
		return j.state == engine.Failed || j.state == engine.Canceled
	}
	return false
}

// find gives a job that is there.
func (s *modelShard) find(id engine.JobID) *modelJob {
	if j := s.jobs[id]; j != nil && !j.gone {
		return j
	}
	return nil
}

// write puts a record of the job's present view into its topic.
func (s *modelShard) write(j *modelJob, kind engine.RecordType, log *engine.LogLine) *modelRecord {
	j.began = j.began || j.state == engine.Receiving && j.shown.Progress.Done > 0
	r := &modelRecord{kind: kind, view: j.view(), began: j.began}
	if log != nil {
		r.text = valid(log.Text)
	}
	j.last = s.topics[j.spec.Topic].append(r)
	s.fresh = append(s.fresh, r)
	return r
}

// view is what the job shows, but for the times that only Redis knows.
func (j *modelJob) view() engine.Job {
	v := engine.Job{
		ID: j.id, Topic: j.spec.Topic, Type: j.spec.Type, Title: valid(j.spec.Title), Labels: j.spec.Labels, Queue: engine.DefaultQueue,
		State: j.state, Canceling: j.canceling && !j.state.Ended(), Pausing: j.pausing && !j.state.Ended(),
		RetryOf: j.retryOf, Percent: float64(j.tenths) / 10,
		Attempt: j.fence.Attempt, ResumedFrom: j.resumed,
		Indeterminate: j.shown.Indeterminate && !j.state.Ended(), Message: valid(j.shown.Message), Result: j.outcome.Result,
		Artifacts: slices.Clone(j.artifacts),
	}
	if p := j.shown.Progress; p != (engine.Progress{}) {
		v.Progress = &p
	}
	if g := j.shown.Stage; g.Name != "" {
		v.Stage = &g
	}
	if eta := j.shown.ETA; eta > 0 && j.active() {
		seconds := max(1, int64(math.Round(eta.Seconds())))
		v.ETASeconds = &seconds
	}
	if e := j.outcome.Error; e != nil {
		v.Error = &engine.JobError{Code: valid(e.Code), Message: excerpt.Of(e.Message, engine.MaxErrorBytes)}
	}
	if at := j.outcome.RetryAt; !at.IsZero() {
		at = at.UTC()
		v.RetryAt = &at
	}
	return v
}

// valid is s with each byte that is not UTF-8 replaced, as JSON has it.
func valid(s string) string { return string([]rune(s)) }

// An expected answer to a run's report.
type expected struct {
	record  *modelRecord // committed now or, as a duplicate, before
	dup     bool
	exact   bool    // the duplicate's ID must be known
	refused []error // one of these
	gap     uint64  // with a refusal by *GapError
	started *runtime.Started
}

func refuse(errs ...error) expected { return expected{refused: errs} }

var errGap = errors.New("a gap")

// batch is a run's reports, in order, in one call.
func (s *modelShard) batch(reports []runtime.Report) []expected {
	answers, opened := make([]expected, len(reports)), false
	for i, r := range reports {
		answers[i] = s.report(r)
		if a := answers[i]; a.record != nil && !a.dup && !opened {
			s.jobs[r.Job].batch, opened = r.Fence.Seq, true
		}
	}
	return answers
}

func (s *modelShard) report(r runtime.Report) expected {
	j := s.find(r.Job)
	if j == nil {
		return refuse(engine.ErrNotFound)
	}
	switch mine := j.fence.Attempt == r.Fence.Attempt && j.fence.Token == r.Fence.Token; {
	case mine && r.Fence.Seq <= j.fence.Seq:
		e := expected{record: j.answered[r.Fence.Seq], dup: true, exact: r.Fence.Seq >= j.batch}
		if r.Type == engine.JobStarted {
			e.started = j.given()
		}
		return e
	case j.state.Ended():
		return refuse(engine.ErrEnded)
	case mine && j.active() && r.Fence.Seq != j.fence.Seq+1:
		return expected{refused: []error{errGap}, gap: j.fence.Seq}
	case mine && j.active() && r.Type == engine.JobStarted:
		return refuse(engine.ErrState)
	case mine && j.state == engine.Receiving && (r.Type == engine.JobSucceeded || r.Type == engine.JobRetrying || r.Type == engine.JobPaused || r.Type == engine.JobAwaiting || r.Type == engine.JobArtifact):
		return refuse(engine.ErrState)
	case mine && j.active():
		return s.apply(j, r)
	case r.Type == engine.JobStarted && r.Fence.Attempt == j.at && j.waiting() && r.Fence.Seq == 1:
		return s.apply(j, r)
	case r.Type == engine.JobStarted:
		return refuse(runtime.ErrSuperseded, engine.ErrState)
	}
	return refuse(runtime.ErrSuperseded)
}

// apply is a run's report that is accepted.
func (s *modelShard) apply(j *modelJob, r runtime.Report) expected {
	kind := r.Type
	j.tenths = max(j.tenths, min(r.Tenths, 999))
	switch kind {
	case engine.JobStarted:
		j.fence, j.answered = r.Fence, map[uint64]*modelRecord{}
		j.state, j.shown, j.outcome = engine.Running, runtime.Shown{}, runtime.Report{}
		j.began = true
		s.marks++
		j.resumed, j.beat = nil, strconv.Itoa(s.marks)
		if j.at > 1 {
			kind = engine.JobResumed
		}
		if j.at > 1 || j.inherits {
			from := float64(j.checkpointTenths) / 10
			j.resumed = &from
		}
	case engine.JobCheckpoint:
		j.checkpoint, j.checkpointTenths, j.crashes = r.Checkpoint, j.tenths, 0
		if len(r.ArtifactState) > 0 {
			j.artifactState = r.ArtifactState
		}
	case engine.JobArtifact:
		j.enlist(r.Artifacts)
	case engine.JobRetrying:
		j.retries = r.Retries
		kind = j.wait(s, kind, engine.Retrying, r)
	case engine.JobQueued:
		kind = j.wait(s, kind, engine.Queued, r)
	case engine.JobPaused:
		kind = j.wait(s, kind, engine.Paused, r)
	case engine.JobAwaiting:
		if !j.canceling {
			j.crashes = 0
		}
		kind = j.wait(s, kind, engine.Awaiting, r)
	case engine.JobSucceeded:
		j.enlist(r.Artifacts)
		j.end(s, engine.Succeeded, r)
		j.tenths, j.checkpoint, j.artifactState, j.checkpointTenths = 1000, nil, nil, 0
	case engine.JobFailed:
		j.end(s, engine.Failed, r)
	case engine.JobCanceled:
		j.end(s, engine.Canceled, r)
	}
	if r.Shown != nil {
		j.shown = *r.Shown
	}
	e := expected{}
	if kind == engine.JobStarted || kind == engine.JobResumed {
		e.started = j.given()
	}
	e.record = s.write(j, kind, r.Log)
	j.fence.Seq = r.Fence.Seq
	j.answered[r.Fence.Seq] = e.record
	return e
}

// enlist adds artifacts to those that the job shows already, which stay as they are.
func (j *modelJob) enlist(all []engine.Artifact) {
	for _, a := range all {
		if !slices.ContainsFunc(j.artifacts, func(b engine.Artifact) bool { return a.ID == b.ID }) {
			j.artifacts = append(slices.Clip(j.artifacts), a)
		}
	}
}

// given is what a start gives to run with: nothing once its attempt is over.
func (j *modelJob) given() *runtime.Started {
	if j.state != engine.Running {
		return nil
	}
	return &runtime.Started{
		Topic: j.spec.Topic, Type: j.spec.Type, Title: valid(j.spec.Title), Labels: j.spec.Labels, Queue: engine.DefaultQueue, Payload: j.payload, Checkpoint: j.checkpoint, Tenths: j.tenths,
		CheckpointTenths: j.checkpointTenths, Share: j.share, MaxAttempts: engine.DefaultMaxAttempts, Retries: j.retries, Crashes: j.crashes,
		ArtifactState: j.artifactState, Artifacts: slices.Clone(j.artifacts),
	}
}

// wait closes the attempt; the next one is the current one from now on. A job that
// is being canceled ends instead, one that is asked to pause does, and one that pauses
// unasked, or awaits children that it has not, is queued.
func (j *modelJob) wait(s *modelShard, kind engine.RecordType, to engine.State, r runtime.Report) engine.RecordType {
	if j.canceling {
		j.end(s, engine.Canceled, runtime.Report{})
		return engine.JobCanceled
	}
	if j.state == engine.Receiving {
		j.checkpointTenths = j.tenths
		j.began = true
	}
	switch {
	case j.pausing:
		kind, to, j.pausing = engine.JobPaused, engine.Paused, false
	case kind == engine.JobPaused, kind == engine.JobAwaiting:
		kind, to = engine.JobQueued, engine.Queued
	case kind == engine.JobStalled:
		j.crashes++
	}
	j.state, j.at, j.beat = to, j.at+1, ""
	j.outcome = runtime.Report{Error: r.Error}
	if kind == engine.JobRetrying {
		j.outcome.RetryAt = r.RetryAt
	}
	return kind
}

func (j *modelJob) end(s *modelShard, to engine.State, r runtime.Report) {
	j.state, j.beat = to, ""
	j.outcome = runtime.Report{Error: r.Error, Result: r.Result}
	delete(s.live, j.id)
}
