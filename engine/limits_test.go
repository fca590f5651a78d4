package engine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func times(s string, n int) string { return strings.Repeat(s, n) }

func TestAJobSpecificationIsBounded(t *testing.T) {
	labels := func(n, size int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprintf("label-%d", i)] = times("v", size)
		}
		return m
	}
	base := func(change func(*engine.Spec)) engine.Spec {
		s := engine.Spec{Topic: "user:42", Type: "export"}
		change(&s)
		return s
	}
	for _, c := range []struct {
		name string
		spec engine.Spec
		says []string // of the error; none: accepted
	}{
		{"title at the bound", base(func(s *engine.Spec) { s.Title = times("ü", 200) }), nil},
		{"title over it", base(func(s *engine.Spec) { s.Title = times("ü", 201) }), []string{"Title", "201", "200"}},
		{"payload at the bound", base(func(s *engine.Spec) { s.Payload = make([]byte, 256<<10) }), nil},
		{"payload over it", base(func(s *engine.Spec) { s.Payload = make([]byte, 256<<10+1) }), []string{"Payload", "262145", "262144"}},
		{"payload that is no JSON", base(func(s *engine.Spec) { s.Payload = func() {} }), []string{"Payload"}},
		{"labels at the bound", base(func(s *engine.Spec) { s.Labels = labels(16, 256) }), nil},
		{"too many labels", base(func(s *engine.Spec) { s.Labels = labels(17, 1) }), []string{"Labels", "17", "16"}},
		{"label too long", base(func(s *engine.Spec) { s.Labels = labels(1, 257) }), []string{"label-0", "257", "256"}},
		{"label misnamed", base(func(s *engine.Spec) { s.Labels = map[string]string{"Ä": ""} }), []string{"label name", "Ä"}},
		{"key at the bound", base(func(s *engine.Spec) { s.Key = times("k", 256) }), nil},
		{"key over it", base(func(s *engine.Spec) { s.Key = times("k", 257) }), []string{"Key", "257", "256"}},
		{"no type", base(func(s *engine.Spec) { s.Type = "" }), []string{"Type"}},
		{"type at the bound", base(func(s *engine.Spec) { s.Type = times("a", 64) }), nil},
		{"type over it", base(func(s *engine.Spec) { s.Type = times("a", 65) }), []string{"Type"}},
		{"no topic", base(func(s *engine.Spec) { s.Topic = "" }), []string{"topic"}},
		{"a queue of Tidemark's own", base(func(s *engine.Spec) { s.Queue = "default-rescue" }), []string{"Queue", "-rescue"}},
		{"queue misnamed", base(func(s *engine.Spec) { s.Queue = "Ä" }), []string{"Queue", "Ä"}},
		{"attempts over the bound", base(func(s *engine.Spec) { s.MaxAttempts = 1001 }), []string{"MaxAttempts", "1001", "1000"}},
		{"delay below 0", base(func(s *engine.Spec) { s.Delay = -1 }), []string{"Delay"}},
	} {
		says(t, c.name, c.spec.Validate(), c.says)
	}
}

func TestAReportIsBounded(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		d := newDesk(t, open(t, url, nil), "user:42")
		d.start(1)
		shown := func(s runtime.Shown) runtime.Report { return runtime.Report{Type: engine.JobProgress, Shown: &s} }
		for _, c := range []struct {
			name   string
			report runtime.Report
			says   []string
		}{
			{"message at the bound", shown(runtime.Shown{Message: times("m", 1<<10)}), nil},
			{"message over it", shown(runtime.Shown{Message: times("m", 1<<10+1)}), []string{"message", "1025", "1024"}},
			{"unit over its bound", shown(runtime.Shown{Progress: engine.Progress{Unit: times("u", 33)}}), []string{"unit", "33", "32"}},
			{"stage over its bound", shown(runtime.Shown{Stage: engine.Stage{Name: times("s", 65)}}), []string{"stage", "65", "64"}},
			{"percent below 0", runtime.Report{Type: engine.JobProgress, Tenths: -1}, []string{"percent", "-1", "1000"}},
			{"percent over 100", runtime.Report{Type: engine.JobProgress, Tenths: 1001}, []string{"percent", "1001", "1000"}},
			{"log line at the bound", runtime.Report{Type: engine.JobLog, Log: &engine.LogLine{Text: times("l", 1<<10)}}, nil},
			{"log line over it", runtime.Report{Type: engine.JobLog, Log: &engine.LogLine{Text: times("l", 1<<10+1)}}, []string{"log", "1025", "1024"}},
			{"checkpoint at the bound", runtime.Report{Type: engine.JobCheckpoint, Checkpoint: make([]byte, 1<<20)}, nil},
			{"checkpoint over it", runtime.Report{Type: engine.JobCheckpoint, Checkpoint: make([]byte, 1<<20+1)}, []string{"checkpoint", "1048577", "1048576"}},
			{"result over its bound", runtime.Report{Type: engine.JobSucceeded, Result: quoted(16<<10 + 1)}, []string{"result", "16385", "16384"}},
			{"result that is no JSON", runtime.Report{Type: engine.JobSucceeded, Result: []byte("{rows")}, []string{"result", "JSON"}},
			{"unknown type", runtime.Report{Type: "job.exploded"}, []string{"job.exploded"}},
			{"result at the bound", runtime.Report{Type: engine.JobSucceeded, Result: quoted(16 << 10)}, nil},
		} {
			r := c.report
			r.Job, r.Fence = d.job, d.r.Fence
			r.Fence.Seq++
			acks, err := d.e.Commit(soon(t), r)
			says(t, c.name, err, c.says)
			if c.says == nil && err == nil && acks[0].Err == nil {
				d.r.Fence.Seq++
			}
		}
	})
}

// quoted is a JSON string of n bytes.
func quoted(n int) []byte { return []byte(`"` + times("r", n-2) + `"`) }

// says checks that an error wraps ErrInvalid and names what the test wants.
func says(t *testing.T, name string, err error, parts []string) {
	t.Helper()
	if parts == nil {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	if !errors.Is(err, engine.ErrInvalid) && !errors.Is(err, engine.ErrInvalidTopic) {
		t.Errorf("%s: error %v, want one that wraps ErrInvalid", name, err)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %q does not say %q", name, err, part)
		}
	}
}

// Whatever is malformed in what a caller hands over is an error, and no panic.
func TestReportsThatNameNoJobAreRefused(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	for _, id := range []engine.JobID{"", "4", "x", "9901JD0000000000000000000000"} {
		for name, call := range map[string]func() error{
			"Commit": func() error {
				acks, err := e.Commit(soon(t), runtime.Report{Type: engine.JobProgress, Job: id, Fence: runtime.Fence{Attempt: 1, Token: "t", Seq: 1}})
				if err == nil {
					err = acks[0].Err
				}
				return err
			},
			"Current": func() error { _, err := e.Current(soon(t), id); return err },
			"Stall":   func() error { _, err := e.Stall(soon(t), id, lastBeat(t, e, id)); return err },
			"Abandon": func() error { return e.Abandon(soon(t), id, lastBeat(t, e, id), lost) },
			"Fail":    func() error { return e.Fail(soon(t), id, 1, lost) },
			"Cancel":  func() error { return e.Cancel(soon(t), id) },
			"Heartbeat": func() error {
				flags, err := e.Heartbeat(soon(t), []runtime.Beat{{Job: id, Attempt: 1, Token: "t"}})
				if err == nil && flags[0] == runtime.FlagSuperseded {
					return engine.ErrNotFound // in its own words
				}
				return err
			},
		} {
			func() {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("%s of job %q: panic: %v", name, id, p)
					}
				}()
				err := call()
				if !errors.Is(err, engine.ErrInvalidJobID) && !errors.Is(err, engine.ErrNotFound) {
					t.Errorf("%s of job %q: error %v", name, id, err)
				}
			}()
		}
	}
}

// The largest parts together stay within what a record may be.
func TestARecordHasAtMost40KiB(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		for name, unit := range map[string]string{"plain": "x", "escaped": "\x01", "of more bytes": "世"} {
			topic := engine.Topic("case:" + strings.ReplaceAll(name, " ", "-"))
			labels := map[string]string{}
			for i := range 16 {
				labels[fmt.Sprintf("l%d%s", i, times("n", 60))] = times(unit, 256/len(unit))
			}
			got, err := e.Enqueue(soon(t), engine.Spec{Topic: topic, Type: times("t", 64), Title: times(unit, 200), Labels: labels})
			if errors.Is(err, engine.ErrInvalid) {
				continue // refused as a whole
			}
			if err != nil {
				t.Fatal(err)
			}
			d := &desk{pen: &pen{t: t, e: e, r: runtime.Report{Job: got.ID}}, topic: topic, job: got.ID, held: engine.Beginning}
			d.start(1)
			shown := &runtime.Shown{Message: times(unit, 1024/len(unit)), Stage: engine.Stage{Name: times(unit, 64/len(unit))}}
			for _, r := range []runtime.Report{
				{Type: engine.JobLog, Shown: shown, Log: &engine.LogLine{Level: "warn", Text: times(unit, 1024/len(unit))}},
				{Type: engine.JobRetrying, Error: &engine.JobError{Code: "error", Message: times(unit, 1<<20)}},
			} {
				d.write(r)
			}
			d.start(2)
			d.write(runtime.Report{Type: engine.JobArtifact, Shown: shown, Artifacts: largest(d.job, engine.MaxArtifacts)})
			d.write(runtime.Report{Type: engine.JobSucceeded, Shown: shown, Result: quoted(16 << 10)})
			cursor := engine.Beginning
			for {
				page, err := e.Replay(soon(t), topic, cursor)
				if err != nil {
					t.Fatal(err)
				}
				for _, entry := range page.Entries {
					if n := len(entry.JSON); n > engine.MaxRecordBytes {
						t.Errorf("%s: %s has %d bytes, at most %d", name, entry.Type(), n, engine.MaxRecordBytes)
					}
					cursor = entry.ID
				}
				if len(page.Entries) == 0 {
					break
				}
			}
		}
	})
}

// largest are artifacts with the longest of everything.
func largest(job engine.JobID, n int) []engine.Artifact {
	all, expires := make([]engine.Artifact, n), time.Date(2036, 1, 2, 3, 4, 5, 678e6, time.UTC)
	for i := range all {
		name := fmt.Sprintf("%s%03d", times("n", 125), i)
		all[i] = engine.Artifact{
			ID: string(job) + "." + name, Name: name, Size: 80_000 << 20, Type: times("t", engine.MaxArtifactTypeBytes), SHA256: times("0", 64), ExpiresAt: &expires,
		}
	}
	return all
}

// A job shows what it has written in every record from then on, in its view and to its next attempt, each
// once and as it was first. One too many is refused, and changes nothing.
func TestAJobShowsItsArtifacts(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		d := newDesk(t, e, "user:42")
		shown := func() []engine.Artifact {
			t.Helper()
			v, err := e.Job(soon(t), d.job)
			must(t, err)
			j, err := v.Job()
			must(t, err)
			page, err := e.Jobs(soon(t), d.topic, engine.JobsQuery{})
			must(t, err)
			if !bytes.Equal(page.Jobs[0].JSON, v.JSON) {
				t.Errorf("a list shows\n%s, the job is\n%s", page.Jobs[0].JSON, v.JSON)
			}
			last, err := e.Replay(soon(t), d.topic, d.held)
			must(t, err)
			if entry := last.Entries[len(last.Entries)-1]; !bytes.Contains(entry.JSON, v.JSON) {
				t.Errorf("its last record is\n%s, the job is\n%s", entry.JSON, v.JSON)
			}
			return j.Artifacts
		}
		all := largest(d.job, engine.MaxArtifacts+1)
		d.start(1)
		must(t, d.write(runtime.Report{Type: engine.JobArtifact, Artifacts: all[:1]}).Err)
		must(t, d.write(runtime.Report{Type: engine.JobCheckpoint, Checkpoint: []byte("c"), ArtifactState: []byte("files")}).Err)
		must(t, d.write(runtime.Report{Type: engine.JobCheckpoint, Checkpoint: []byte("d")}).Err)
		other := all[0]
		other.Size = 1
		must(t, d.write(runtime.Report{Type: engine.JobArtifact, Artifacts: []engine.Artifact{other, all[1]}}).Err)
		if got := shown(); !reflect.DeepEqual(got, all[:2]) {
			t.Errorf("it shows %+v", got)
		}
		must(t, d.write(retry).Err)
		started := d.start(2).Started
		if !reflect.DeepEqual(started.Artifacts, all[:2]) || string(started.ArtifactState) != "files" || string(started.Checkpoint) != "d" {
			t.Errorf("its next attempt gets %+v", started)
		}
		if err := d.write(runtime.Report{Type: engine.JobArtifact, Artifacts: all[1:]}).Err; !errors.Is(err, engine.ErrState) || !strings.Contains(err.Error(), "16 artifacts") {
			t.Errorf("one too many: %v", err)
		}
		d.r.Fence.Seq--
		for _, r := range []runtime.Report{
			{Type: engine.JobArtifact, Artifacts: all},
			{Type: engine.JobArtifact, Artifacts: []engine.Artifact{{ID: "x", Name: times("n", 600)}}},
			{Type: engine.JobArtifact, Artifacts: []engine.Artifact{{ID: "x", Name: "{"}}},
			{Type: engine.JobCheckpoint, Checkpoint: []byte("c"), ArtifactState: make([]byte, engine.MaxCheckpointBytes+1)},
		} {
			r.Job, r.Fence = d.job, d.r.Fence
			if _, err := e.Commit(soon(t), r); !errors.Is(err, engine.ErrInvalid) {
				t.Errorf("%s: %v", r.Type, err)
			}
		}
		// What a failover has lost comes with the end.
		must(t, d.write(runtime.Report{Type: engine.JobSucceeded, Artifacts: all[:16]}).Err)
		if got := shown(); !reflect.DeepEqual(got, all[:16]) {
			t.Errorf("in the end it shows %d", len(got))
		}
		if got, err := e.Artifacts(soon(t), d.job); err != nil || !reflect.DeepEqual(got, all[:16]) {
			t.Errorf("Artifacts: %d, %v", len(got), err)
		}
		if err := d.e.Remove(soon(t), d.job); err != nil {
			t.Error(err)
		}
		if _, err := e.Artifacts(soon(t), d.job); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("Artifacts of a removed job: %v", err)
		}
	})
}

// Every string that a caller may choose ends up as valid JSON on one line, with
// what is no UTF-8 replaced.
func TestAnyStringMakesAValidRecord(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		for i, s := range []string{
			"quote \" and \\ slash", "line\nfeed\r\t", "nul \x00 bell \x07 del \x7f", "torn \xff\xc3\x28 utf-8", "\xed\xa0\x80 surrogate",
			"separators \u2028\u2029", `","type":"job.failed","job":{"id":"`, "</script>&amp;", "🌊 世界 \U0010ffff",
		} {
			topic := engine.Topic(fmt.Sprintf("case:%d", i))
			got, err := e.Enqueue(soon(t), engine.Spec{Topic: topic, Type: "export", Title: s, Labels: map[string]string{"l": s}})
			if err != nil {
				t.Fatal(err)
			}
			d := &desk{pen: &pen{t: t, e: e, r: runtime.Report{Job: got.ID}}, topic: topic, job: got.ID}
			d.start(1)
			short := s[:min(len(s), 30)]
			d.write(runtime.Report{Type: engine.JobLog, Log: &engine.LogLine{Level: short, Text: s}, Shown: &runtime.Shown{
				Message: s, Stage: engine.Stage{Name: short}, Progress: engine.Progress{Done: 1, Unit: short},
			}})
			d.write(runtime.Report{Type: engine.JobFailed, Error: &engine.JobError{Code: s, Message: s}})
			if err := e.Notify(soon(t), topic, s, []byte("{\n  \"text\": 1\n}")); err != nil {
				t.Fatal(err)
			}
			page, err := e.Replay(soon(t), topic, engine.Beginning)
			if err != nil || len(page.Entries) != 5 {
				t.Fatalf("%+v, %v", page, err)
			}
			for _, entry := range page.Entries {
				if !json.Valid(entry.JSON) || !utf8.Valid(entry.JSON) || strings.ContainsAny(string(entry.JSON), "\n\r") {
					t.Errorf("not one line of JSON: %q", entry.JSON)
				}
			}
			failed, err := page.Entries[3].Record()
			if err != nil {
				t.Fatal(err)
			}
			j, clean := failed.Job, valid(s)
			if page.Entries[3].Type() != engine.JobFailed || page.Entries[3].JobID() != got.ID {
				t.Errorf("%q: reads as %s of %s", s, page.Entries[3].Type(), page.Entries[3].JobID())
			}
			// An error's text has no control characters either.
			if j.Title != clean || j.Message != clean || j.Labels["l"] != clean || j.Error.Message != excerpt.Of(clean, 4096) {
				t.Errorf("%q is shown as %+v, error %+v", s, j, j.Error)
			}
		}
	})
}

func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	if err := e.Notify(soon(t), "user:42", "", []byte("\"\xff\"")); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("a notification: %v", err)
	}
	p, _ := start(t, e, enqueue(t, e), 1)
	r := runtime.Report{Type: engine.JobSucceeded, Job: p.r.Job, Fence: p.r.Fence, Result: []byte("\"\xff\"")}
	r.Fence.Seq++
	if _, err := e.Commit(soon(t), r); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("a result: %v", err)
	}
}
