package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
)

// stands reports whether a reader that holds a topic's records up to a cursor holds
// the beginning of the present history, and up to which of its records.
func (w *modelWorld) stands(t *modelTopic, c engine.Cursor) (pos int, stands bool) {
	if c == engine.Beginning {
		return -1, true
	}
	r := w.byID[t.name][c]
	if r == nil || r.pos >= len(t.chain) || t.chain[r.pos] != r {
		return 0, false
	}
	return r.pos, true
}

// cursor draws a cursor: of this topic's present and past, of another topic, from
// the future, or one that no reader ever got.
func (w *modelWorld) cursor(topic engine.Topic) engine.Cursor {
	of := topic
	kind := w.pick("cursor", 12)
	if kind == 11 {
		of = w.anyTopic()
	}
	ever := w.ever[of]
	if kind == 0 || len(ever) == 0 {
		return engine.Beginning
	}
	r := ever[len(ever)-1-w.pick("record", len(ever))]
	switch kind {
	case 1, 2, 3:
		return w.topic(of).head()
	case 9:
		return engine.Cursor(fmt.Sprintf("%d-%d", msOf(r.id)+uint64(w.pick("ms", 5)), r.id.N()+uint64(w.pick("n", 60))))
	case 10:
		return engine.Cursor(fmt.Sprintf("%d-%d", msOf(r.id), w.pick("n", 4)))
	}
	return r.id
}

// replayStep asks for the verdict on a cursor and holds it against the truth.
func (w *modelWorld) replayStep() {
	topic := w.anyTopic()
	w.replay(topic, w.cursor(topic))
}

func (w *modelWorld) replay(topic engine.Topic, c engine.Cursor) {
	w.t.Helper()
	t := w.topic(topic)
	page, err := w.e.Replay(w.ctx, topic, c)
	w.must(err)
	if page.Head != t.head() {
		w.t.Fatalf("%s: the head is %s, want %s", topic, page.Head, t.head())
	}
	pos, stands := w.stands(t, c)
	// The stream holds all that follows: then a reader may not be sent away.
	follows := stands && (pos+1 >= t.first || pos == len(t.chain)-1)
	switch {
	case page.Verdict == engine.Resumed && !stands:
		w.t.Fatalf("%s: the reader at %s is resumed, and holds another history than the present one", topic, c)
	case page.Verdict == engine.Resumed && !follows:
		w.t.Fatalf("%s: the reader at %s is resumed, and misses records up to %s", topic, c, t.chain[t.first].id)
	case page.Verdict == engine.Resumed:
		w.counts.resumed++
		w.entries(t, pos, page)
		return
	case follows:
		w.counts.conservative++
		w.t.Fatalf("%s: the reader at %s is told %s, and the stream holds all that follows", topic, c, page.Verdict)
	case page.Verdict == engine.Trimmed:
		w.counts.trimmed++
	case page.Verdict == engine.Rewritten && stands:
		w.t.Fatalf("%s: the reader at %s gets the verdict %s, and its records are part of the history", topic, c, page.Verdict)
	case page.Verdict == engine.Rewritten:
		w.counts.rewritten++
		c = "" // its numbers are from another history
	default:
		w.t.Fatalf("%s: the reader at %s is told %q", topic, c, page.Verdict)
	}
	if len(page.Entries) != 0 {
		w.t.Fatalf("%s: %s, and %d records", topic, page.Verdict, len(page.Entries))
	}
	w.snapshot(t, c)
}

// entries checks that a page is exactly what follows.
func (w *modelWorld) entries(t *modelTopic, pos int, page stream.Page) {
	w.t.Helper()
	want := t.chain[pos+1:]
	if len(page.Entries) != len(want) {
		w.t.Fatalf("%s: %d records after number %d, want %d", t.name, len(page.Entries), pos, len(want))
	}
	for i, e := range page.Entries {
		r := want[i]
		if e.ID != r.id || e.Prev != r.prev || e.Topic != t.name || !bytes.Equal(e.JSON, r.json) {
			w.t.Fatalf("%s: after %s comes %s\n%s, want %s\n%s", t.name, e.Prev, e.ID, e.JSON, r.id, r.json)
		}
		if e.Type() != r.kind || e.JobID() != r.view.ID {
			w.t.Fatalf("%s: %s reads as %s of %q, want %s of %q", t.name, e.ID, e.Type(), e.JobID(), r.kind, r.view.ID)
		}
	}
}

func (w *modelWorld) snapshotStep() {
	topic, held := w.anyTopic(), engine.Cursor("")
	if w.chance("held", 2) {
		held = w.cursor(topic)
	}
	w.snapshot(w.topic(topic), held)
}

// snapshot checks that a snapshot is the topic's present state: every live job, the
// newest ended ones and all that ended after the cursor held.
func (w *modelWorld) snapshot(t *modelTopic, held engine.Cursor) {
	w.t.Helper()
	got, err := w.e.Snapshot(w.ctx, t.name, held)
	w.must(err)
	if got.Cursor != t.head() {
		w.t.Fatalf("%s: the snapshot is at %s, want %s", t.name, got.Cursor, t.head())
	}
	want, ended := w.jobsOf(t)
	if len(ended) > 100 {
		older := ended[100:]
		for i, id := range older {
			if held == "" || w.of(id).find(id).last.id.N() <= held.N() {
				older = older[:i]
				break
			}
		}
		ended = ended[:100+len(older)]
	}
	want = append(want, ended...)
	w.views(t, got.Jobs, want, false)
}

// jobsOf gives the topic's jobs as lists show them: those that live, newest first,
// and those that have ended, the last one first.
func (w *modelWorld) jobsOf(t *modelTopic) (live, ended []engine.JobID) {
	s := w.shard(t.name)
	for id := range t.index {
		switch j := s.find(id); {
		case j == nil:
		case j.state.Ended():
			ended = append(ended, id)
		default:
			live = append(live, id)
		}
	}
	slices.SortFunc(live, func(a, b engine.JobID) int { return strings.Compare(string(b), string(a)) })
	slices.SortFunc(ended, func(a, b engine.JobID) int {
		return int(int64(s.jobs[b].last.id.N()) - int64(s.jobs[a].last.id.N()))
	})
	return live, ended
}

// views holds views against what the jobs' last records show, byte for byte.
func (w *modelWorld) views(t *modelTopic, got []engine.View, want []engine.JobID, ordered bool) {
	w.t.Helper()
	ids := make([]engine.JobID, len(got))
	for i, v := range got {
		ids[i] = v.ID
		j := w.of(v.ID).find(v.ID)
		if j == nil || !bytes.Equal(v.JSON, j.last.job) || v.Topic != t.name {
			w.t.Fatalf("%s: job %s is shown as %s\nits last record has %s", t.name, v.ID, v.JSON, lastJob(j))
		}
	}
	if !ordered {
		slices.Sort(ids)
		want = slices.Sorted(slices.Values(want))
	}
	if !slices.Equal(ids, want) {
		w.t.Fatalf("%s: jobs %v, want %v", t.name, ids, want)
	}
}

func lastJob(j *modelJob) string {
	if j == nil {
		return "nothing: there is no such job"
	}
	return string(j.last.job)
}

// jobsStep pages through a topic's jobs.
func (w *modelWorld) jobsStep() {
	t := w.topic(w.anyTopic())
	q, all := engine.JobsQuery{Limit: 1 + w.pick("limit", 7)}, []engine.View{}
	for range 10_000 {
		page, err := w.e.Jobs(w.ctx, t.name, q)
		w.must(err)
		if len(page.Jobs) > q.Limit {
			w.t.Fatalf("%s: a page of %d jobs, at most %d were wanted", t.name, len(page.Jobs), q.Limit)
		}
		all = append(all, page.Jobs...)
		if q.After = page.Next; q.After == "" {
			live, ended := w.jobsOf(t)
			w.views(t, all, append(live, ended...), true)
			return
		}
	}
	w.t.Fatalf("%s: the pages of its jobs do not end", t.name)
}

func (w *modelWorld) jobStep() {
	if id, ok := w.anyJob(); ok {
		w.job(id)
	}
}

func (w *modelWorld) job(id engine.JobID) {
	w.t.Helper()
	v, err := w.e.Job(w.ctx, id)
	j := w.of(id).find(id)
	if j == nil {
		if !errors.Is(err, engine.ErrNotFound) {
			w.t.Fatalf("job %s: %s, error %v, want %v", id, v.JSON, err, engine.ErrNotFound)
		}
		return
	}
	w.must(err)
	w.views(w.topic(j.spec.Topic), []engine.View{v}, []engine.JobID{id}, true)
}
