package engine

import (
	"strings"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/stream"
)

// A Rig is an engine with all its parts, of which the engine's own methods come first.
type Rig struct {
	*Engine
	parts
}

type parts struct {
	*runtime.Runtime
	*stream.Stream
}

// NewRig gives an engine's parts.
func NewRig(e *Engine) *Rig { return &Rig{e, parts{e.rt, e.st}} }

// Rewrite replaces texts, each with the one behind it, in the scripts that the engine runs
// from now on, and tells how often the last of them occurred. It is for tests that plant a
// mistake; no call may be under way. Reports without a waiting caller may: they go out with the
// scripts as they were.
func (e *Engine) Rewrite(fromTo ...string) (n int) {
	texts := ground.ScriptTexts()
	for ; len(fromTo) > 0; fromTo = fromTo[2:] {
		n = 0
		for name, s := range texts {
			n += strings.Count(s, fromTo[0])
			texts[name] = strings.ReplaceAll(s, fromTo[0], fromTo[1])
		}
	}
	e.g.Commits.Close()
	e.g.Scripts = ground.NewScripts(e.g.Opts, texts)
	e.g.Commits = ground.NewCommitter(e.g)
	return n
}

// ScriptFunction is the text of one function of the commit script, and of what all
// scripts share, for a test of its own.
func ScriptFunction(name string) string {
	texts := ground.ScriptTexts()
	from := "local function " + name + "("
	_, rest, ok1 := strings.Cut(texts["state"], from)
	body, _, ok2 := strings.Cut(rest, "\nend\n")
	if !ok1 || !ok2 {
		panic("state.lua has no function " + name)
	}
	return texts["common"] + from + body + "\nend\n"
}

// Namespace is the prefix of the engine's keys.
func (e *Engine) Namespace() string { return e.g.Opts.Namespace }

// BeatBehindReports plants a mistake, and takes it back: heartbeats use the connections
// of commits.
func (e *Engine) BeatBehindReports() (restore func()) {
	own := e.g.Vital
	e.g.Vital = e.g.Redis
	return func() { e.g.Vital = own }
}

// VitalConnections is how many connections the engine has for heartbeats and sweeps.
func (e *Engine) VitalConnections() int { return int(e.g.Vital.PoolStats().TotalConns) }

// PinsKey names the key that holds the jobs whose payloads name an upload.
func (e *Engine) PinsKey(topic Topic, upload JobID) string { return e.g.Keys.Pins(topic, upload) }

// ControlKeys are those of revocations.
func (e *Engine) ControlKeys() (log, revoked string) { return e.g.Keys.Control() }

// LeasesKey names the downloads that are running, by the ms in which their leases end.
func (e *Engine) LeasesKey() string { return e.g.Keys.DownloadScript()[0] }

// DownloadKey names a watched download.
func (e *Engine) DownloadKey(id string) string { return e.g.Keys.Download(id) }

// DatasetPinsKey names the key that holds the jobs whose payloads name a dataset.
func (e *Engine) DatasetPinsKey(topic Topic, id JobID) string { return e.g.Keys.DatasetPins(topic, id) }

// JobKey names the key that holds a job.
func (e *Engine) JobKey(id JobID) string { return e.g.Keys.Job(id) }

// TicksKey is the hash in which the engine notes the last tick of each schedule that a worker has handled.
func (e *Engine) TicksKey() string { return e.g.Keys.Ticks() }

// SchedulesKey is the hash of the schedules.
func (e *Engine) SchedulesKey() string { return e.g.Keys.Schedules() }

// TimesKey is the hash of when they tick.
func (e *Engine) TimesKey() string { return e.g.Keys.Times() }

// An Answer is the commit script's to an operation, "+<job> <rev>" or "=<job> <rev>".
type Answer struct {
	ID  JobID
	New bool
}

// SubmitOperation commits an operation under a key without waiting for the answer. fields are names
// and values.
func (e *Engine) SubmitOperation(kind RecordType, topic Topic, id JobID, key string, done chan<- Answer, fields ...any) error {
	fields = append([]any{"@topic", string(topic), "@op", key}, fields...)
	return e.g.Commits.Add(&ground.Submission{
		Shard: id.Shard(), Reports: 1, Milestone: true,
		Args: append([]any{string(kind), string(id), "", "", 0, "", len(fields) / 2}, fields...),
		Done: func(answers []any, err error) {
			if err != nil {
				panic(err)
			}
			text, _, _ := strings.Cut(ground.Text(answers[0]), "\t")
			job, _, _ := strings.Cut(text[1:], " ")
			if done != nil {
				done <- Answer{JobID(job), text[0] == '+'}
			}
		},
	})
}

// RemoveMarked removes a job of one attempt in the batch in which this process says that asynq has got
// the attempt, as one that was busy with that may.
func (e *Engine) RemoveMarked(topic Topic, id JobID) error {
	done := make(chan error, 1)
	err := e.g.Commits.Add(&ground.Submission{
		Shard: id.Shard(), Reports: 2, Milestone: true,
		Args: []any{
			"dispatched", string(id), "", "", 0, "", 1, "@attempt", 1,
			string(JobRemoved), string(id), "", "", 0, "", 2, "@topic", string(topic), "@op", ground.NewKey(),
		},
		Done: func(_ []any, err error) { done <- err },
	})
	if err != nil {
		return err
	}
	return <-done
}
