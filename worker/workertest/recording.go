package workertest

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
)

// A Recording is what a handler reported, in order, and what became of its job.
type Recording struct {
	// State is the job's when the handler has returned: engine.Succeeded, Failed or Canceled
	// if the job has ended; Retrying after an error with attempts left; Queued where a draining
	// worker hands the job back; Paused; Awaiting; Running if the run was superseded, since
	// another attempt decides then.
	State engine.State
	// Err is what the handler returned in the last attempt; of a panic, an error with its text.
	Err error
	// Error is why the job failed or is retried, with its code; nil otherwise.
	Error *engine.JobError
	// RetryAfter is about how long the next attempt of a job that is Retrying waits.
	RetryAfter time.Duration
	// Result is the job's, as JSON, if it succeeded; nil: it has none.
	Result json.RawMessage

	// Percents are the values that the bar took, in tenths of a percent as Job.Percent has
	// them, each once.
	Percents []float64
	// Progress is each count that was reported.
	Progress []engine.Progress
	// Stages are the names of the stages that the run entered.
	Stages []string
	// Messages are the lines of text that it showed.
	Messages []string
	// Log is its lines in the job's log.
	Log []engine.LogLine
	// Checkpoints are its checkpoints, encoded.
	Checkpoints [][]byte
	// Artifacts are those that it closed; see Artifact.
	Artifacts []engine.Artifact
	// FanOuts are the children that it made.
	FanOuts []FanOut
	// Attempts is how many attempts the recording is of.
	Attempts int

	topic   engine.Topic
	job     engine.JobID
	blobs   *blob.Bucket
	attempt int // the last one's number
	kept    *checkpoint
	planned *runtime.FanOut // the last fan-out
}

// FanOut is a fan-out of a recorded run.
type FanOut struct {
	Name     string
	Children []engine.Child
	// Outcomes are what became of the children, in their order; nil without Option Outcomes.
	Outcomes []engine.Job

	plan runtime.FanOut
}

type checkpoint struct {
	state     []byte
	artifacts []byte
	tenths    int
}

// Percent is the last value of the bar.
func (r *Recording) Percent() float64 {
	if len(r.Percents) == 0 {
		return 0
	}
	return r.Percents[len(r.Percents)-1]
}

// Checkpoint decodes the last checkpoint into state, a pointer, as worker.Run.Resume does. It
// reports false when there is none. Its error says that the checkpoint does not fit.
func (r *Recording) Checkpoint(state any) (bool, error) {
	if r.kept == nil {
		return false, nil
	}
	decode := func() error { return json.Unmarshal(r.kept.state, state) }
	if u, ok := state.(encoding.BinaryUnmarshaler); ok {
		decode = func() error { return u.UnmarshalBinary(r.kept.state) }
	}
	if err := decode(); err != nil {
		return false, fmt.Errorf("decode the checkpoint of %d bytes into %T: %w", len(r.kept.state), state, err)
	}
	return true, nil
}

// Artifact returns the bytes of an artifact that the handler closed.
func (r *Recording) Artifact(ctx context.Context, name string) ([]byte, error) {
	for _, a := range r.Artifacts {
		if a.Name != name {
			continue
		}
		m, err := artifacts.Find(ctx, r.blobs, artifacts.Place{Topic: r.topic, Job: r.job, Name: name}, a)
		if err != nil {
			return nil, fmt.Errorf("read artifact %s: %w", name, err)
		}
		file := artifacts.NewReader(ctx, r.blobs, m)
		b, err := io.ReadAll(file)
		return b, errors.Join(err, file.Close())
	}
	return nil, fmt.Errorf("read artifact %.128q: the handler has closed none of the name", name)
}

// take records a report.
func (r *Recording) take(report runtime.Report) {
	r.percent(min(report.Tenths, 999))
	if s := report.Shown; s != nil {
		if s.Progress != (engine.Progress{}) {
			r.Progress = appended(r.Progress, s.Progress)
		}
		if s.Stage.Name != "" {
			r.Stages = appended(r.Stages, s.Stage.Name)
		}
		if s.Message != "" {
			r.Messages = appended(r.Messages, s.Message)
		}
	}
	if report.FanOut != nil {
		r.planned = report.FanOut
	}
	switch report.Type {
	case engine.JobCheckpoint:
		r.Checkpoints = append(r.Checkpoints, report.Checkpoint)
		files := report.ArtifactState
		if r.kept != nil && len(files) == 0 {
			files = r.kept.artifacts
		}
		r.kept = &checkpoint{report.Checkpoint, files, max(report.Tenths, r.tenths())}
	case engine.JobArtifact:
		r.Artifacts = append(r.Artifacts, report.Artifacts...)
	case engine.JobLog:
		r.Log = append(r.Log, *report.Log)
	case engine.JobSucceeded:
		r.State, r.Result = engine.Succeeded, report.Result
		r.percent(1000)
	case engine.JobFailed:
		r.State, r.Error = engine.Failed, report.Error
	case engine.JobCanceled:
		r.State = engine.Canceled
	case engine.JobRetrying:
		r.State, r.Error = engine.Retrying, report.Error
		r.RetryAfter = max(0, time.Until(report.RetryAt))
	case engine.JobQueued:
		r.State = engine.Queued
	case engine.JobPaused:
		r.State = engine.Paused
	case engine.JobAwaiting:
		r.State = engine.Awaiting
	}
}

func (r *Recording) tenths() int { return int(r.Percent()*10 + 0.5) }

// percent raises the bar, which never goes back.
func (r *Recording) percent(tenths int) {
	if tenths > r.tenths() || len(r.Percents) == 0 {
		r.Percents = append(r.Percents, float64(tenths)/10)
	}
}

// appended is values with v behind them, unless it is the last one.
func appended[T comparable](values []T, v T) []T {
	if n := len(values); n > 0 && values[n-1] == v {
		return values
	}
	return append(values, v)
}
