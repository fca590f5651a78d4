package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/option"
)

const (
	maxUnitBytes  = 32
	maxStageBytes = 64
	// maxArtifactBytes is above an artifact's with the longest name, see blobs.ArtifactNameForm.
	maxArtifactBytes = 520
)

// ErrSuperseded refuses a report: another attempt is the current one. Like ErrEnded and ErrState it
// is final, and the run must stop.
var ErrSuperseded = errors.New("the attempt is superseded")

// Stale reports whether err says that the job has moved on since the caller read it: another
// attempt is the current one, the job has ended or is in another state, or Redis has no record of it.
func Stale(err error) bool {
	return errors.Is(err, ErrSuperseded) || errors.Is(err, wire.ErrEnded) ||
		errors.Is(err, wire.ErrNotFound) || errors.Is(err, wire.ErrState)
}

// A GapError refuses a report that skips sequence numbers. Redis has lost commits that it
// acknowledged, in a failover or a restart. The run continues from Have + 1, with what it shows now.
type GapError struct{ Have uint64 }

func (e *GapError) Error() string {
	return fmt.Sprintf("Redis holds the attempt's reports only up to %d", e.Have)
}

// A Fence says which attempt reports, and what it has reported before. Attempts are numbered from 1;
// 0 receives an upload. Token is the attempt's secret. Seq counts its reports from 1 without a gap.
// Redis recognises a committed report by its fence and answers it again, so a run may send any
// report again.
type Fence struct {
	Attempt int
	Token   string
	Seq     uint64
}

// A Report is what happened to a job in an attempt. A commit makes a record of it.
type Report struct {
	Type  wire.RecordType
	Job   wire.JobID
	Fence Fence

	// Tenths is the percent in tenths, 0 to 1000. The job shows the highest that
	// any attempt reported, at most 99.9 before its end.
	Tenths int
	// Shown replaces what the job shows of the attempt; nil keeps it.
	Shown *Shown
	// Checkpoint, with JobCheckpoint, is the state for the next attempt: at most 1 MiB.
	Checkpoint []byte
	// ArtifactState, with JobCheckpoint, is where the run's artifacts stand: at most 1 MiB. Empty keeps
	// what the checkpoint before said.
	ArtifactState []byte
	// Artifacts, with JobArtifact and JobSucceeded, are what the job has written. Those that it shows
	// already do not change.
	Artifacts []wire.Artifact
	// Log goes with JobLog.
	Log *wire.LogLine
	// Error goes with JobFailed and JobRetrying. RetryAt, zero when it is unknown, and Retries, the
	// number of retries used, go with JobRetrying. Result goes with JobSucceeded.
	Error   *wire.JobError
	RetryAt time.Time
	Retries int
	Result  json.RawMessage
	// Try, with JobStarted of an adopted job, is which of its task's tries this is, from 1.
	Try int
	// FanOut, with JobProgress, plans children before Spawn creates the first of them.
	FanOut *FanOut
}

// Shown is what a job shows of its present attempt.
type Shown struct {
	Progress      wire.Progress
	Indeterminate bool
	Stage         wire.Stage // no name: the job has no stages
	Message       string
	ETA           time.Duration // 0: unknown
}

// validate names the field and the bound that the report breaks. It brings the result
// to one line.
func (r *Report) validate() error {
	switch r.Type {
	case wire.JobReceiving, wire.JobQueued, wire.JobStarted, wire.JobProgress, wire.JobCheckpoint, wire.JobStage, wire.JobLog, wire.JobArtifact, wire.JobPaused, wire.JobAwaiting, wire.JobRetrying,
		wire.JobSucceeded, wire.JobFailed, wire.JobCanceled:
	default:
		return fmt.Errorf("%w type %q: not one that a run reports", wire.ErrInvalid, excerpt.Of(string(r.Type), 80))
	}
	if r.Result != nil {
		var err error
		if r.Result, err = oneLine("result", r.Result); err != nil {
			return err
		}
	}
	if r.Tenths < 0 || r.Tenths > 1000 {
		return fmt.Errorf("%w percent %d tenths: want 0 to 1000", wire.ErrInvalid, r.Tenths)
	}
	if r.FanOut != nil {
		if err := r.FanOut.validate(); err != nil {
			return err
		}
	}
	if s := r.Shown; s != nil {
		if err := errors.Join(
			option.Bytes("message", len(s.Message), wire.MaxMessageBytes, "log longer texts"),
			option.Bytes("unit", len(s.Progress.Unit), maxUnitBytes, "use a word"),
			option.Bytes("stage name", len(s.Stage.Name), maxStageBytes, "use a word"),
		); err != nil {
			return err
		}
	}
	if err := errors.Join(
		option.Bytes("result", len(r.Result), wire.MaxResultBytes, "store it as an artifact and name that"),
		option.Bytes("checkpoint", len(r.Checkpoint), wire.MaxCheckpointBytes, "store the state as a blob and name that"),
		option.Bytes("state of the artifacts", len(r.ArtifactState), wire.MaxCheckpointBytes, "write fewer at a time"),
		r.validArtifacts(),
	); err != nil {
		return err
	}
	if r.Log != nil {
		return option.Bytes("log line", len(r.Log.Text), wire.MaxMessageBytes, "write long texts to a file")
	}
	return nil
}

func (r *Report) validArtifacts() error {
	if n := len(r.Artifacts); n > wire.MaxArtifacts {
		return fmt.Errorf("%w artifacts: %d, at most %d", wire.ErrInvalid, n, wire.MaxArtifacts)
	}
	for _, a := range r.Artifacts {
		text, err := json.Marshal(a)
		if err == nil {
			err = option.Bytes("artifact", len(text), maxArtifactBytes, "shorten its name or media type")
		}
		// The script takes the list apart at its braces.
		if err == nil && bytes.ContainsAny(text[1:len(text)-1], "{}") {
			err = fmt.Errorf("%w artifact %q: a brace in it", wire.ErrInvalid, excerpt.Of(a.Name, 80))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// oneLine checks JSON that a caller gave, and drops the space in it.
func oneLine(what string, raw json.RawMessage) (json.RawMessage, error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("%w %s: not UTF-8", wire.ErrInvalid, what)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, fmt.Errorf("%w %s: not JSON: %w", wire.ErrInvalid, what, err)
	}
	return b.Bytes(), nil
}

// encode appends the report in the form that commit.lua reads.
func (r *Report) encode(args []any) []any {
	progress := ""
	if r.Shown != nil {
		progress = string(r.Shown.append(make([]byte, 0, 192)))
	}
	fence := strconv.Itoa(r.Fence.Attempt) + "." + r.Fence.Token
	args = append(args, string(r.Type), string(r.Job), fence, r.Fence.Seq, r.Tenths, progress, 0)
	count := len(args) - 1
	with := func(name string, value any) { args = append(args, name, value) }
	switch r.Type {
	case wire.JobSucceeded, wire.JobFailed, wire.JobRetrying, wire.JobCanceled:
		with("@outcome", r.outcome())
	}
	if r.Log != nil {
		line, _ := json.Marshal(r.Log) // strings and a number
		with("@extra", `,"log":`+string(line))
	}
	if r.FanOut != nil {
		with("@fan", r.FanOut.encode())
	}
	if r.Try > 0 {
		with("an", r.Try)
	}
	if r.Type == wire.JobCheckpoint && r.Checkpoint != nil {
		with("cp", r.Checkpoint)
	}
	if r.Type == wire.JobCheckpoint && len(r.ArtifactState) > 0 {
		with("ca", r.ArtifactState)
	}
	if len(r.Artifacts) > 0 && (r.Type == wire.JobArtifact || r.Type == wire.JobSucceeded) {
		list, _ := json.Marshal(r.Artifacts) // strings and numbers
		with("@artifacts", list)
	}
	if r.Type == wire.JobRetrying {
		with("rt", r.Retries)
		with("ra", dueMillis(r.RetryAt))
	}
	args[count] = (len(args) - count - 1) / 2
	return args
}

// dueMillis is 0 for an unknown time.
func dueMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// append appends the members that s shows. For nothing it appends a space, since the script takes an
// empty fragment for no change.
func (s *Shown) append(b []byte) []byte {
	if *s == (Shown{}) {
		return append(b, ' ')
	}
	if s.Indeterminate {
		b = append(b, `,"indeterminate":true`...)
	}
	if p := s.Progress; p != (wire.Progress{}) {
		b = append(b, `,"progress":{"done":`...)
		b = strconv.AppendInt(b, p.Done, 10)
		if p.Total > 0 {
			b = append(b, `,"total":`...)
			b = strconv.AppendInt(b, p.Total, 10)
		}
		if p.Unit != "" {
			b = append(b, `,"unit":`...)
			b = appendString(b, p.Unit)
		}
		b = append(b, '}')
	}
	if g := s.Stage; g.Name != "" {
		b = append(b, `,"stage":{"name":`...)
		b = appendString(b, g.Name)
		b = append(b, `,"index":`...)
		b = strconv.AppendInt(b, int64(g.Index), 10)
		if g.Count > 0 {
			b = append(b, `,"count":`...)
			b = strconv.AppendInt(b, int64(g.Count), 10)
		}
		b = append(b, '}')
	}
	if s.Message != "" {
		b = append(b, `,"message":`...)
		b = appendString(b, s.Message)
	}
	if s.ETA > 0 {
		b = append(b, `,"eta_seconds":`...)
		// To the nearest second: rounded up, what is left of a job of seconds would always be too much.
		b = strconv.AppendInt(b, max(1, int64(s.ETA.Round(time.Second)/time.Second)), 10)
	}
	return b
}

// outcome is what an attempt, or the job, came to, as the view shows it.
func (r *Report) outcome() (b []byte) {
	if e := r.Error; e != nil && r.Type != wire.JobSucceeded {
		b = append(b, `,"error":{"code":`...)
		b = appendString(b, excerpt.Of(e.Code, 64))
		b = append(b, `,"message":`...)
		b = appendString(b, clipJSON(e.Message, wire.MaxErrorBytes))
		b = append(b, '}')
	}
	if r.Type == wire.JobRetrying && !r.RetryAt.IsZero() {
		b = append(b, `,"retry_at":"`...)
		b = r.RetryAt.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
		b = append(b, '"')
	}
	if r.Result != nil && r.Type == wire.JobSucceeded {
		b = append(b, `,"result":`...)
		b = append(b, r.Result...)
	}
	return b
}

// clipJSON shortens s until it takes at most most bytes as a JSON string.
func clipJSON(s string, most int) string {
	s = excerpt.Of(s, most)
	for len(appendString(nil, s)) > most+2 {
		s = excerpt.Of(s, len(s)*3/4)
	}
	return s
}

// appendString appends s as a JSON string. Plain ASCII, the usual case, is copied;
// the rest is json.Marshal's, which also mends invalid UTF-8.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s)
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
