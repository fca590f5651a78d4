package engine_test

import (
	"errors"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// receiveStep makes a job that waits for its input; its receiver reports like a run.
func (w *modelWorld) receiveStep() {
	topic := w.anyTopic()
	s := w.shard(topic)
	spec := engine.Spec{Topic: topic, Type: "analysis", Title: modelTitles[w.pick("title", len(modelTitles))], Payload: len(s.order)}
	id, err := w.e.NewJobID(topic)
	w.must(err)
	share := 1 + w.pick("share", 90)
	shown := runtime.Shown{Stage: engine.Stage{Name: "receive"}, Progress: engine.Progress{Total: 1000, Unit: "bytes"}}
	_, fence, err := w.e.Receive(w.ctx, id, spec, share, 0, shown)
	w.must(err)
	s.receive(id, spec, share, fence, shown)
	w.settle()
	if w.chance("again", 4) {
		// As the client repeats what it has no answer to.
		_, _, err := w.e.Receive(w.ctx, id, spec, share, 0, shown)
		w.must(err)
		w.settle()
	}
	run := &modelRun{job: id, fence: fence}
	run.sent = [][]runtime.Report{w.reports(run, 1+w.pick("reports", 3))}
	w.submit(run.sent, false)
	w.runs = append(w.runs, run)
}

// receivedStep says of a job that it has its input, mostly of one that waits for it.
func (w *modelWorld) receivedStep() {
	id, ok := w.anyJob()
	if w.pick("any", 6) < 5 {
		var open []engine.JobID
		for _, s := range w.shards {
			for _, id := range s.order {
				if j := s.find(id); j != nil && j.state == engine.Receiving {
					open = append(open, id)
				}
			}
		}
		if len(open) > 0 {
			id, ok = open[w.pick("job", len(open))], true
		}
	}
	if !ok {
		return
	}
	s := w.of(id)
	w.receiver(id)
	if w.chance("cancel", 5) {
		want := s.cancelReception(id)
		w.wanted("cancel reception", w.e.CancelReception(w.ctx, id), want)
		w.settle()
		return
	}
	shown := runtime.Shown{Stage: engine.Stage{Name: "receive"}, Progress: engine.Progress{Done: 1000, Total: 1000, Unit: "bytes"}}
	w.wanted("received", w.e.Received(w.ctx, id, &shown), s.received(id, shown))
	w.settle()
}

// receiver holds the answer that a receiver's successor gets against the model.
func (w *modelWorld) receiver(id engine.JobID) {
	w.t.Helper()
	got, err := w.e.Receiver(w.ctx, id)
	states, failed := w.e.States(w.ctx, []engine.JobID{id})
	w.must(failed)
	j := w.of(id).find(id)
	var want error
	switch {
	case j == nil:
		want, j = engine.ErrNotFound, &modelJob{}
	case j.state.Ended():
		want = engine.ErrEnded
	case j.state != engine.Receiving:
		want = runtime.ErrSuperseded
	}
	if !errors.Is(err, want) || states[0] != j.state {
		w.t.Fatalf("receiver of job %s, which is %q, states say %q: error %v, want %v", id, j.state, states[0], err, want)
	}
	if want == nil && got != (runtime.Reception{Topic: j.spec.Topic, Fence: j.fence, Share: j.share}) {
		w.t.Fatalf("receiver of job %s is told %+v, want fence %+v and share %d", id, got, j.fence, j.share)
	}
}

// cancelReception is cancel for a job that waits for its input.
func (s *modelShard) cancelReception(id engine.JobID) error {
	if j := s.find(id); j != nil && !j.state.Ended() && j.state != engine.Receiving {
		return runtime.ErrSuperseded
	}
	return s.cancel(id)
}
