package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
)

// history are the types of a job's records so far.
func (h hand) history(job engine.JobID) (types []engine.RecordType) {
	h.t.Helper()
	for u, err := range h.engine.Follow(h.t.Context(), engine.FollowQuery{Filter: engine.Filter{Job: job}, After: engine.Beginning}) {
		switch {
		case err != nil:
			h.t.Fatal(err)
		case u.Kind == engine.UpdateRecord:
			types = append(types, u.Entry.Type())
		case u.Kind == engine.UpdateLive:
			return types
		}
	}
	return types
}

// A double click, and a key that is held, ask once, although another button comes to stand
// where the first one was.
func TestHasteInABrowser(t *testing.T) {
	t.Parallel()
	s := prepareSite(t)
	s.startGateway()
	h := newHand(t, s)
	job := h.enqueue("Orders 2025")
	b := newBrowser(t, nil)
	b.open("http://" + s.addr + "/")
	b.await("badge", "live", 0)
	row := fmt.Sprintf("[data-job=%q]", job)
	button := func(verb string) string { return row + " > .head [data-verb=" + verb + "]" }

	b.do("double", line{"selector": button("pause"), "until": button("resume") + ":not([aria-disabled])"})
	b.do("hold", line{"selector": button("resume"), "key": "Enter", "until": button("pause") + ":focus"})
	b.do("click", line{"selector": button("pause")})
	b.do("focused", line{"selector": button("resume")})
	want := []engine.RecordType{engine.JobQueued, engine.JobPaused, engine.JobQueued, engine.JobPaused}
	if got := h.history(job); !slices.Equal(got, want) {
		t.Errorf("a double click, a key that is held and a click leave %v, want %v", got, want)
	}

	// What was refused is said until the job is another.
	refusal := row + " > .error[role=alert]:not([hidden])"
	b.do("offline", line{"is": true})
	b.do("click", line{"selector": button("resume")})
	b.do("shows", line{"selector": refusal, "text": "It could not be resumed: the server cannot be reached"})
	b.do("offline", line{"is": false})
	if err := h.engine.Resume(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	b.do("shows", line{"selector": row + " > .head .state", "text": "Queued"})
	if n := b.do("count", line{"selector": refusal}).number("n"); n != 0 {
		t.Error("resumed all the same, it is still said to be refused")
	}

	// Who is at a job's buttons goes with it where it moves.
	b.do("key", line{"selector": button("cancel"), "key": "Shift"})
	if err := h.engine.Cancel(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	b.do("shows", line{"selector": "#ended " + row + " > .head .state", "text": "Canceled"})
	b.do("focused", line{"selector": button("retry")})
	b.close()
	h.close()
	s.stop()
}
