package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// An Ack answers a report.
type Ack struct {
	// ID is the record's.
	ID wire.Cursor
	// Duplicate says that the report had been committed before. ID is then that of its record, or
	// "" when Redis no longer knows it.
	Duplicate bool
	// Started goes with JobStarted.
	Started *Started
	// FollowUps are jobs for which the caller now calls Runtime.FollowUp.
	FollowUps []wire.JobID
	// Err says why the report was refused: it wraps ErrNotFound, ErrSuperseded,
	// ErrEnded, ErrState or ErrAppend, or is a *GapError. Nothing of a refused report was
	// applied.
	Err error
}

// Started is what an attempt gets when it starts.
type Started struct {
	Topic      wire.Topic
	Type       string
	Title      string
	Labels     map[string]string // nil: none
	Queue      string
	Payload    []byte
	Checkpoint []byte // nil: none
	// ArtifactState goes with Checkpoint; empty: none. Artifacts are what earlier attempts have closed.
	ArtifactState []byte
	Artifacts     []wire.Artifact
	// Tenths is the percent shown so far, CheckpointTenths the checkpoint's.
	Tenths, CheckpointTenths int
	// Share is how much of the bar, in percent, the arrival of the job's input has
	// filled; 0 for a job that was not received.
	Share int
	// MaxAttempts may fail; Retries is how many have, and were tried again.
	MaxAttempts, Retries int
	// Crashes counts lost workers since the last checkpoint.
	Crashes  int
	Deadline time.Time // zero: none
	// Depth is how many parents the job has above it.
	Depth int
}

// Commit sends reports of one run and returns one Ack for each, in order. A run may have only one
// call in progress, since each report must follow the one before it. Concurrent reports of all runs
// of a process go together.
//
// Its error says that the outcome of all reports is unknown (ErrUnreachable, the context's), that
// none was applied (ErrInvalid, ErrOutOfMemory), or that all were applied (ErrUnreplicated, beside
// the acks). After ErrUnreachable the caller may send the same reports again.
func (rt *Runtime) Commit(ctx context.Context, reports ...Report) ([]Ack, error) {
	type outcome struct {
		acks []Ack
		err  error
	}
	done := make(chan outcome, 1)
	err := rt.Submit(reports, func(acks []Ack, err error) { done <- outcome{acks, err} })
	if err != nil {
		return nil, err
	}
	select {
	case o := <-done:
		return o.acks, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// maxBatch is the most reports of a run in one call; the script keeps the IDs of
// that many.
const maxBatch = 64

// Submit is Commit without waiting. A goroutine of the engine calls done once; done must not block.
// After an error (ErrInvalid, ErrNotFound, ErrClosed) the engine does not call it.
func (rt *Runtime) Submit(reports []Report, done func([]Ack, error)) error {
	if len(reports) == 0 || len(reports) > maxBatch {
		return fmt.Errorf("%w batch of %d reports: want 1 to %d", wire.ErrInvalid, len(reports), maxBatch)
	}
	if job := reports[0].Job; !rt.g.Keys.Holds(job) {
		return fmt.Errorf("report of job %q: %w", excerpt.Of(string(job), 80), wire.ErrNotFound)
	}
	s := &ground.Submission{Shard: reports[0].Job.Shard(), Reports: len(reports), Args: make([]any, 0, 14*len(reports))}
	for i := range reports {
		r := &reports[i]
		if r.Job != reports[0].Job {
			return fmt.Errorf("%w batch: reports of jobs %s and %s; want one run's", wire.ErrInvalid, reports[0].Job, r.Job)
		}
		if err := r.validate(); err != nil {
			return fmt.Errorf("report %s of job %s: %w", r.Type, r.Job, err)
		}
		s.Milestone = s.Milestone || !r.Type.Tick()
		s.Args = r.encode(s.Args)
	}
	s.Done = func(answers []any, err error) {
		if answers == nil {
			done(nil, err)
			return
		}
		acks := make([]Ack, len(answers))
		for i, a := range answers {
			acks[i] = readAck(a)
		}
		done(acks, err)
	}
	return rt.g.Commits.Add(s)
}

// readAck reads one answer of commit.lua.
func readAck(answer any) Ack {
	var a Ack
	s, plain := answer.(string)
	if !plain {
		fields := answer.([]any)
		s = ground.Text(fields[len(fields)-1])
		a.Started = readStarted(fields)
	}
	s, a.FollowUps = cutTend(s)
	switch s[0] {
	case '+':
		a.ID = wire.Cursor(s[1:])
	case '=':
		a.ID, a.Duplicate = wire.Cursor(s[1:]), true
	default:
		a.Err = refusal(s)
	}
	return a
}

func readStarted(f []any) *Started {
	number := func(i int) int {
		n, _ := strconv.Atoi(ground.Text(f[i]))
		return n
	}
	s := &Started{
		Type: ground.Text(f[0]), Payload: []byte(ground.Text(f[1])), MaxAttempts: number(3), Retries: number(4),
		Crashes: number(5), Tenths: number(7), CheckpointTenths: number(8), Queue: ground.Text(f[9]),
		Topic: wire.Topic(ground.Text(f[10])), Share: number(11), Depth: number(12),
	}
	s.Title, s.Labels = readConstants(ground.Text(f[13]))
	if f[2] != nil {
		s.Checkpoint = []byte(ground.Text(f[2]))
	}
	if state := ground.Text(f[14]); state != "" {
		s.ArtifactState = []byte(state)
	}
	s.Artifacts = readArtifacts(ground.Text(f[15]))
	if ms := number(6); ms > 0 {
		s.Deadline = time.UnixMilli(int64(ms))
	}
	return s
}

// readConstants reads the texts in a job's constants, members that begin with a comma. An old
// version's are the same. Where Redis has lost them there are none.
func readConstants(members string) (title string, labels map[string]string) {
	var c struct {
		Title  string            `json:"title"`
		Labels map[string]string `json:"labels"`
	}
	if members == "" || json.Unmarshal([]byte("{"+members[1:]+"}"), &c) != nil {
		return "", nil
	}
	return c.Title, c.Labels
}

// readArtifacts reads the member of a view with its artifacts, which begins with a comma.
func readArtifacts(member string) []wire.Artifact {
	var v struct {
		Artifacts []wire.Artifact `json:"artifacts"`
	}
	if member == "" || json.Unmarshal([]byte("{"+member[1:]+"}"), &v) != nil {
		return nil
	}
	return v.Artifacts
}

// ErrAppend says that a topic's stream does not take records: its key holds another type, or newer
// records than its head knows. Redis applied none of that topic's reports.
var ErrAppend = errors.New("the topic's stream does not take records")

// refusal makes the error of "-<reason> <detail>" or "!<error of Redis>".
func refusal(s string) error {
	if s[0] == '!' {
		return fmt.Errorf("%w: %s", ErrAppend, s[1:])
	}
	reason, detail, _ := strings.Cut(s[1:], " ")
	switch reason {
	case "unknown":
		return wire.ErrNotFound
	case "dataset":
		return wire.ErrNoDataset
	case "superseded":
		return fmt.Errorf("%w: the current one is %s", ErrSuperseded, detail)
	case "ended":
		return fmt.Errorf("%w: it is %s", wire.ErrEnded, detail)
	case "full":
		return fmt.Errorf("%w: its topic has %s live jobs, which is the most; it takes more once some have ended", wire.ErrLimit, detail)
	case "gap":
		have, _ := strconv.ParseUint(detail, 10, 64)
		return &GapError{Have: have}
	}
	return fmt.Errorf("%w: it is %s", wire.ErrState, detail)
}
