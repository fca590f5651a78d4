package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A member is a job of a family as it is promised to be.
type member struct {
	desk     *desk
	parent   *member
	weight   int
	optional bool
	children []*member

	state              engine.State
	canceling, pausing bool
	over               bool // its children know of its end
	awaits             bool // it was paused while it awaited its children
	attempt            int  // the current one
	awaited            int  // attempts that ended to await children
	follows            bool // it was asked to stop for its parent
	tenths             int
	plan               runtime.FanOut
	done               int // of the children, by weight
	ended, failed      int
}

func (m *member) worth() int {
	if m.state.Ended() {
		return 1000
	}
	return m.tenths
}

// moved is what follows for the parent when m was worth less before, or has ended.
func (m *member) moved(before int) {
	p := m.parent
	if p == nil || p.state.Ended() || (m.worth() == before && !m.state.Ended()) {
		return
	}
	was := p.worth()
	p.done += (m.worth() - before) * m.weight
	place := p.plan.From + (p.plan.To-p.plan.From)*p.done/(1000*p.plan.Weight)
	p.tenths = max(p.tenths, min(place, 999))
	if m.state.Ended() {
		p.ended++
		if m.state != engine.Succeeded {
			p.failed++
			if !p.canceling && !m.optional {
				p.state = engine.Failed
			}
		}
		if p.state == engine.Awaiting && p.ended == p.plan.Count {
			p.state = engine.Queued
		}
	}
	p.moved(was)
}

func (m *member) end(to engine.State) {
	before := m.worth()
	m.state = to
	if to == engine.Succeeded {
		m.tenths = 1000
	}
	m.moved(before)
	m.orphan()
}

// orphan cancels the children of the job that has just ended, m or above it.
func (m *member) orphan() {
	for p := m; p != nil; p = p.parent {
		if p.state.Ended() && !p.over {
			p.over = true
			for _, c := range p.children {
				c.cancel(true)
			}
		}
	}
}

func (m *member) cancel(follows bool) {
	if !m.state.Ended() && !m.canceling {
		m.follows = follows
	}
	switch {
	case m.state.Ended():
		return
	case m.state == engine.Running:
		m.canceling = true
	default:
		m.end(engine.Canceled)
		return
	}
	for _, c := range m.children {
		c.cancel(true)
	}
}

func (m *member) pause() {
	switch {
	case m.state.Ended(), m.canceling:
		return
	case m.state == engine.Running:
		m.pausing = true
	case m.state != engine.Paused:
		m.awaits = m.state == engine.Awaiting
		m.state = engine.Paused
	}
	for _, c := range m.children {
		c.pause()
	}
}

func (m *member) resume() {
	if m.state.Ended() {
		return
	}
	m.pausing = false
	if m.state == engine.Paused {
		m.state = engine.Queued
		if m.awaits && m.ended < m.plan.Count {
			m.state = engine.Awaiting
		}
	}
	for _, c := range m.children {
		if m.canceling { // its run made them after it was asked to stop
			c.cancel(true)
			continue
		}
		c.resume()
	}
}

// wait closes the attempt.
func (m *member) wait(to engine.State) {
	if to == engine.Awaiting && !m.canceling {
		m.awaited++
	}
	switch {
	case m.canceling:
		m.end(engine.Canceled)
		return
	case m.pausing:
		m.awaits = to == engine.Awaiting
		to, m.pausing = engine.Paused, false
	case to == engine.Awaiting && m.ended == m.plan.Count:
		to = engine.Queued
	}
	m.state, m.attempt = to, m.attempt+1
}

// A household is a family in a topic of its own, and the dice.
type household struct {
	t   testing.TB
	e   *engine.Rig
	r   *rand.Rand
	all []*member
}

// report sends what a member's run has to say, and follows up what the answer names.
func (h *household) report(m *member, r runtime.Report) error {
	ack := m.desk.write(r)
	for _, job := range ack.FollowUps {
		if err := h.e.FollowUp(soon(h.t), job); err != nil {
			return err
		}
	}
	return ack.Err
}

// step does one thing, to the engine and to the model.
func (h *household) step() error {
	m := h.all[h.r.IntN(len(h.all))]
	switch dice := h.r.IntN(20); {
	case m.state == engine.Queued || m.state == engine.Retrying:
		return h.begin(m, dice)
	case m.state != engine.Running || dice < 2:
		return h.control(m, dice)
	case dice < 10:
		tenths := h.r.IntN(1001)
		before := m.worth()
		m.tenths = max(m.tenths, min(tenths, 999))
		m.moved(before)
		return h.report(m, runtime.Report{Type: engine.JobProgress, Tenths: tenths})
	case dice < 14 && m.ended == m.plan.Count && depth(m) < 3:
		return h.fanOut(m)
	case dice < 16:
		m.wait(engine.Awaiting)
		return h.report(m, runtime.Report{Type: engine.JobAwaiting})
	case dice == 16:
		m.wait(engine.Retrying)
		return h.report(m, retry)
	case dice == 17:
		m.end(engine.Failed)
		return h.report(m, runtime.Report{Type: engine.JobFailed, Error: &lost})
	default:
		m.end(engine.Succeeded)
		return h.report(m, runtime.Report{Type: engine.JobSucceeded})
	}
}

func depth(m *member) (n int) {
	for ; m != nil; m = m.parent {
		n++
	}
	return n
}

func (h *household) begin(m *member, dice int) error {
	if dice == 0 {
		m.cancel(false)
		m.orphan()
		return h.e.Cancel(soon(h.t), m.desk.job)
	}
	orphan := m.parent != nil && (m.parent.state.Ended() || m.parent.canceling)
	m.desk.r.Fence = runtime.Fence{Attempt: m.attempt, Token: runtime.NewToken()}
	err := h.report(m, runtime.Report{Type: engine.JobStarted})
	if orphan {
		m.follows = true
		m.end(engine.Canceled)
		if !errors.Is(err, engine.ErrEnded) {
			return fmt.Errorf("an orphan starts: %w", err)
		}
		return nil
	}
	m.state = engine.Running
	return err
}

func (h *household) control(m *member, dice int) error {
	var err error
	switch {
	case dice < 2 && depth(m) > 1 || dice == 0:
		m.cancel(false)
		m.orphan()
		err = h.e.Cancel(soon(h.t), m.desk.job)
	case dice < 8:
		m.pause()
		err = h.e.Pause(soon(h.t), m.desk.job)
		if errors.Is(err, engine.ErrState) && m.canceling {
			err = nil
		}
	default:
		m.resume()
		err = h.e.Resume(soon(h.t), m.desk.job)
	}
	if errors.Is(err, engine.ErrEnded) && m.state.Ended() {
		return nil
	}
	return err
}

func (h *household) fanOut(m *member) error {
	name := fmt.Sprint("wave-", len(m.children))
	children := make([]engine.Child, 1+h.r.IntN(4))
	for i := range children {
		children[i] = engine.Child{
			Name: fmt.Sprint(i), Spec: engine.Spec{Type: "export"}, Weight: 1 + h.r.IntN(5), Optional: h.r.IntN(3) > 0,
		}
	}
	children, plan, err := runtime.PlanFanOut(name, m.desk.topic, engine.DefaultQueue, children)
	if err != nil {
		return err
	}
	plan.From = h.r.IntN(500)
	plan.To = plan.From + h.r.IntN(1001-plan.From)
	m.plan, m.done, m.ended, m.failed = plan, 0, 0, 0
	for range 2 { // repeated, it changes nothing
		if err := h.report(m, runtime.Report{Type: engine.JobProgress, FanOut: &plan}); err != nil {
			return err
		}
		if err := h.e.Spawn(soon(h.t), m.desk.job, m.desk.r.Fence, depth(m)-1, name, children); err != nil {
			return err
		}
	}
	for _, c := range children {
		id := runtime.ChildID(m.desk.job, name, c.Name)
		child := &member{
			desk: &desk{pen: &pen{t: h.t, e: h.e, r: runtime.Report{Job: id}}, topic: m.desk.topic, job: id}, parent: m,
			weight: c.Weight, optional: c.Optional, state: engine.Queued, attempt: 1,
		}
		if m.pausing {
			child.state = engine.Paused
		}
		m.children = append(m.children, child)
		h.all = append(h.all, child)
	}
	return nil
}

// holds compares everybody with what is promised.
func (h *household) holds() error {
	for i, m := range h.all {
		got := m.desk.view()
		want := engine.Job{State: m.state, Percent: float64(m.tenths) / 10, Canceling: m.canceling && !m.state.Ended(), Pausing: m.pausing && !m.state.Ended()}
		var children engine.Children
		if got.Children != nil {
			children = *got.Children
			if children.Awaited != m.awaited {
				return fmt.Errorf("member %d shows that it awaited children %d times, want %d", i, children.Awaited, m.awaited)
			}
		}
		if m.state == engine.Canceled && (got.Error != nil && got.Error.Code == engine.CodeParentEnded) != m.follows {
			return fmt.Errorf("member %d is canceled for %+v; for its parent: %t", i, got.Error, m.follows)
		}
		if got.State != want.State || got.Percent != want.Percent || got.Canceling != want.Canceling || got.Pausing != want.Pausing {
			return fmt.Errorf("member %d is %s at %v (canceling %t, pausing %t), want %s at %v (%t, %t)",
				i, got.State, got.Percent, got.Canceling, got.Pausing, want.State, want.Percent, want.Canceling, want.Pausing)
		}
		family, err := h.e.Family(soon(h.t), m.desk.job, "")
		if err != nil {
			return err
		}
		if want := (engine.Children{Count: m.plan.Count, Ended: m.ended, Failed: m.failed}); family.Children != want || children.Count != want.Count {
			return fmt.Errorf("member %d counts %+v and shows %+v, want %+v", i, family.Children, children, want)
		}
	}
	return nil
}

// familyCase plays one family's life, and returns the first thing that is not as promised.
func familyCase(t testing.TB, e *engine.Rig, seed uint64, steps int) (err error) {
	t.Helper()
	h := &household{t: t, e: e, r: rand.New(rand.NewPCG(seed, 0))}
	d := newDesk(t, e, engine.Topic(fmt.Sprint("family:", seed)))
	h.all = []*member{{desk: d, state: engine.Queued, attempt: 1}}
	for step := range steps {
		if err := h.step(); err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
		if err := h.holds(); err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
	}
	return nil
}

func TestFamiliesAddUp(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, url string) {
		e, seed := open(t, url, nil), modelSeed(t)
		for i := range scale(20, 4000) {
			if err := familyCase(t, e, seed+uint64(i), 60); err != nil {
				t.Fatalf("TIDEMARK_SEED=%d: %v", seed+uint64(i), err)
			}
		}
	})
}

// Each mistake in what children are to their parents turns the test above red.
func TestFamiliesSeeMistakes(t *testing.T) {
	t.Parallel()
	for _, m := range []struct{ promise, from, to string }{
		{"an ended child counts whole", `return live(j.state) and j.tenths or 1000`, `return j.tenths`},
		{"the bar keeps its highest place", `if place > tenths then`, `if place ~= tenths then`},
		{"a required child fails its parent", `if not well and not j.canceling and get(child, "po") ~= "1" then`, `if false then`},
		{"an optional one does not", `get(child, "po") ~= "1"`, `true`},
		{"a canceling parent is not failed", `not well and not j.canceling and`, `not well and`},
		{"the last child queues its parent", `k.ended >= k.count then`, `k.ended > k.count then`},
		{"a wait for nobody is none", `(kind == "job.awaiting" and together(j))`, `false`},
		{"what is added goes on upwards", `if j.child and (j.ended or worth(j) ~= was) then`, `if false then`},
		{"a fan-out is planned once", `if k.name == name then`, `if false then`},
		{"a new fan-out begins anew", `done = 0,
    ended = 0`, `done = k.done,
    ended = 0`},
		{"an orphan does not start", `if not answer and rule.start and j.child and orphaned(j) then`, `if false then`},
		{"children end with their parent", `if (j.ended or rule.cancel) and parental(j.view) and not together(j) then`, `if false then`},
		{"siblings end with a failed parent", `if j.ended and k.ended < k.count then`, `if false then`},
		{"what is made while its parent pauses rests", `with and with.pa and load(with.pa).pausing`, `false`},
		{"a resumed parent waits on", `if j.awaits and not together(j) then
      return "job.awaiting"`, `if false then
      return "job.awaiting"`},
		{"what waits for its parent's end says so", `["@outcome"] = bereft(j)`, `["@outcome"] = ""`},
		{"what stops for its parent says so", `outcome = get(j, "cw") or ""`, `outcome = ""`},
		{"attempts that awaited are counted", `k.awaited = k.awaited + 1`, `k.awaited = k.awaited`},
		{"weights count", `* tonumber(get(child, "pw")), true`, `, true`},
	} {
		t.Run(m.promise, func(t *testing.T) {
			e := open(t, redistest.Server(t).URL(), nil)
			if n := e.Rewrite(m.from, m.to); n != 1 {
				t.Fatalf("the scripts have it %d times, want once", n)
			}
			for seed := range uint64(300) {
				if err := familyCase(t, e, seed, 60); err != nil {
					if strings.Contains(err.Error(), "deadline") {
						t.Fatal(err)
					}
					t.Logf("seen in family %d: %v", seed, err)
					return
				}
			}
			t.Error("nobody saw it")
		})
	}
}

// A superseded run makes no children.
func TestOnlyTheCurrentRunMakesChildren(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		d := newDesk(t, e, "user:42")
		d.start(1)
		ghost := d.r.Fence
		children, plan, err := runtime.PlanFanOut("all", d.topic, engine.DefaultQueue, []engine.Child{{Name: "a", Spec: engine.Spec{Type: "export"}}})
		if err != nil {
			t.Fatal(err)
		}
		if ack := d.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}); ack.Err != nil {
			t.Fatal(ack.Err)
		}
		if _, err := e.Stall(soon(t), d.job, lastBeat(t, e, d.job)); err != nil {
			t.Fatal(err)
		}
		d.news()
		if err := e.Spawn(soon(t), d.job, ghost, 0, "all", children); !errors.Is(err, runtime.ErrSuperseded) {
			t.Errorf("a ghost's child: %v", err)
		}
		if got := d.news(); len(got) > 0 {
			t.Errorf("records %v", got)
		}
		d.start(2)
		if err := e.Spawn(soon(t), d.job, d.r.Fence, engine.MaxChildDepth, "all", children); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("a child too deep: %v", err)
		}
		if err := e.Spawn(soon(t), d.job, d.r.Fence, 0, "all", children); err != nil {
			t.Fatal(err)
		}
		if got := d.news(); !slices.Equal(got, []engine.RecordType{engine.JobResumed, engine.JobQueued}) {
			t.Errorf("records %v", got)
		}
	})
}
