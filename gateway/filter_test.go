package gateway_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
)

// startOf starts a job of a type and a team.
func startOf(t testing.TB, e *engine.Engine, kind, team string) *pen {
	t.Helper()
	got, err := e.Enqueue(soon(t), engine.Spec{Topic: topic, Type: kind, Labels: map[string]string{"team": team}})
	if err != nil {
		t.Fatal(err)
	}
	p := &pen{t: t, e: e, job: got.ID, fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken()}}
	p.write(runtime.Report{Type: engine.JobStarted})
	return p
}

func (p *pen) fail() engine.Cursor {
	p.t.Helper()
	return p.write(runtime.Report{Type: engine.JobFailed, Error: &engine.JobError{Code: "error"}})
}

// A list, a snapshot and a subscription with the same filter have the same jobs, also
// beside subscriptions of the same topic that have another.
func TestAFilterIsTheSameEverywhere(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	var failed, running []engine.JobID
	for range 3 {
		p := startOf(t, e, "export", "sales")
		p.fail()
		failed = append(failed, p.job)
		running = append(running, startOf(t, e, "export", "sales").job)
		startOf(t, e, "import", "sales").fail()
		startOf(t, e, "export", "ops").fail()
		enqueue(t, e, topic)
	}
	slices.Sort(failed)
	slices.Sort(running)
	team := map[string]string{"team": "sales"}
	c := s.client(t)
	cases := []struct {
		query  string
		filter engine.Filter
		want   []engine.JobID
	}{
		{"state=failed&type=export&label=team:sales", engine.Filter{State: engine.Failed, Type: "export", Labels: team}, failed},
		{"state=running&label=team:sales&parent=none", engine.Filter{State: engine.Running, Labels: team, Parent: engine.NoParent}, running},
		{"label=team:sales&label=year:2025", engine.Filter{Labels: map[string]string{"team": "sales", "year": "2025"}}, nil},
		{"job=" + string(running[1]), engine.Filter{Job: running[1]}, running[1:2]},
		{"created_to=2020-01-01T00:00:00Z", engine.Filter{CreatedTo: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
	}
	for i, q := range cases {
		c.subscribeTo(fmt.Sprint(i), topic, "", q.filter)
	}
	for i, q := range cases {
		for _, path := range []string{"/v1/jobs?topic=user:42&", "/v1/topics/user:42/snapshot?"} {
			var answer struct{ Jobs []engine.Job }
			s.ask(t, http.MethodGet, path+q.query, "", nil).into(t, &answer)
			var got []engine.JobID
			for _, j := range answer.Jobs {
				got = append(got, j.ID)
			}
			slices.Sort(got)
			if !slices.Equal(got, q.want) {
				t.Errorf("%s%s has %v, want %v", path, q.query, got, q.want)
			}
		}
		c.untilLive(fmt.Sprint(i))
		if got := slices.Sorted(maps.Keys(c.subs[fmt.Sprint(i)].jobs)); !slices.Equal(got, q.want) {
			t.Errorf("a subscription to %s has %v, want %v", q.query, got, q.want)
		}
	}
}

// A subscriber to the running jobs hears of each that leaves, of no other's ticks, and its
// cursor moves over what it is not given.
func TestASubscriberHearsJobsLeaveItsState(t *testing.T) {
	e := real(t)
	s := serve(t, e, func(o *gateway.Options) { o.FilterLag = 50 * time.Millisecond })
	c := s.client(t)
	f := engine.Filter{State: engine.Failed, Labels: map[string]string{"team": "sales"}}
	h := c.subscribeTo("a", topic, "", f)
	c.untilLive("a")
	p := startOf(t, e, "export", "sales")
	p.tick(3)
	c.untilCursor("a", p.fail()) // or its frame could take the cursor over the others
	other := startOf(t, e, "export", "ops")
	c.untilCursor("a", other.tick(2))
	heard := func(h *held) {
		t.Helper()
		var kinds []engine.RecordType
		for _, r := range h.records {
			kinds = append(kinds, r.Type)
		}
		if !slices.Equal(kinds, []engine.RecordType{engine.JobQueued, engine.JobStarted, engine.JobFailed}) || h.jobs[p.job].State != engine.Failed {
			t.Errorf("heard %v of %v", kinds, h.jobs)
		}
	}
	heard(h)
	if h.emptyMoves == 0 {
		t.Error("the cursor did not move by itself")
	}
	replayed := c.subscribeTo("b", topic, engine.Beginning, f)
	c.untilLive("b")
	heard(replayed)
}
