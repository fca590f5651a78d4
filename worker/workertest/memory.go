package workertest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// memory takes the reports of one recording in place of the engine, and accepts all of them.
type memory struct {
	mu   sync.Mutex
	rec  *Recording
	plan *plan
	end  func(cause error) // of the attempt's context
}

// Submit records reports, and ends the run's context where an Interrupt is due.
func (m *memory) Submit(reports []runtime.Report, done func([]runtime.Ack, error)) error {
	var causes []error
	m.mu.Lock()
	for _, r := range reports {
		m.rec.take(r)
		for i := range m.plan.interrupts {
			if in := &m.plan.interrupts[i]; !in.done && in.when(m.rec) {
				in.done = true
				causes = append(causes, in.cause)
			}
		}
	}
	end := m.end
	m.mu.Unlock()
	for _, cause := range causes {
		end(cause)
	}
	done(make([]runtime.Ack, len(reports)), nil)
	return nil
}

// Now is this machine's time.
func (m *memory) Now() time.Time { return time.Now() }

// Family is where the last fan-out of the recording stands, and what names the children of
// fanOut have.
func (m *memory) Family(_ context.Context, _ engine.JobID, fanOut string) (runtime.Family, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var family runtime.Family
	if n := len(m.rec.FanOuts); n > 0 {
		last := &m.rec.FanOuts[n-1]
		family.FanOut, family.Count, family.Ended = last.Name, len(last.Children), len(last.Outcomes)
	}
	if f := m.made(fanOut); f != nil {
		family.Names = f.plan.Names
	}
	return family, nil
}

// made is the fan-out of a name that an earlier attempt of the recording has made.
func (m *memory) made(fanOut string) *FanOut {
	for i := range m.rec.FanOuts {
		if f := &m.rec.FanOuts[i]; f.Name == fanOut {
			return f
		}
	}
	return nil
}

// Spawned reports which children an earlier attempt has made.
func (m *memory) Spawned(_ context.Context, _ engine.JobID, fanOut string, names []string) ([]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	made := make([]bool, len(names))
	if f := m.made(fanOut); f != nil {
		for i, name := range names {
			made[i] = f.child(name) >= 0
		}
	}
	return made, nil
}

// SpawnedOthers names children of an earlier attempt that are not among names.
func (m *memory) SpawnedOthers(_ context.Context, _ engine.JobID, fanOut string, names []string, most int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	named := map[string]bool{}
	for _, name := range names {
		named[name] = true
	}
	var beside []string
	if f := m.made(fanOut); f != nil {
		for _, c := range f.Children {
			if !named[c.Name] && len(beside) < most {
				beside = append(beside, c.Name)
			}
		}
	}
	return beside, nil
}

// Outcomes are what became of children, in the order of names.
func (m *memory) Outcomes(_ context.Context, _ engine.JobID, fanOut string, names []string) ([]engine.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	outcomes := make([]engine.Job, len(names))
	if f := m.made(fanOut); f != nil && f.Outcomes != nil {
		for i, name := range names {
			if at := f.child(name); at >= 0 {
				outcomes[i] = f.Outcomes[at]
			}
		}
	}
	return outcomes, nil
}

// Spawn records the children of a fan-out.
func (m *memory) Spawn(_ context.Context, _ engine.JobID, _ runtime.Fence, _ int, fanOut string, children []engine.Child) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rec.FanOuts = append(m.rec.FanOuts, FanOut{Name: fanOut, Children: children, plan: *m.rec.planned})
	return nil
}

func (f *FanOut) child(name string) int {
	for i, c := range f.Children {
		if c.Name == name {
			return i
		}
	}
	return -1
}

// settle gives the children of the last fan-out their outcomes. It reports whether the job goes
// on with another attempt; otherwise it has failed with a child.
func (m *memory) settle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &m.rec.FanOuts[len(m.rec.FanOuts)-1]
	f.Outcomes = make([]engine.Job, len(f.Children))
	for i, c := range f.Children {
		o := m.plan.outcome(f.Name, c)
		if o.State == "" {
			o.State = engine.Succeeded
		}
		o.ID, o.Parent, o.Topic, o.Type = runtime.ChildID(m.rec.job, f.Name, c.Name), m.rec.job, c.Spec.Topic, c.Spec.Type
		f.Outcomes[i] = o
	}
	for i, c := range f.Children {
		if o := f.Outcomes[i]; o.State != engine.Succeeded && !c.Optional {
			m.rec.State = engine.Failed
			m.rec.Error = &engine.JobError{Code: engine.CodeChildFailed, Message: fmt.Sprintf("its child %s has ended as %s", o.ID, o.State)}
			return false
		}
	}
	m.rec.percent(min(f.plan.To, 999))
	return true
}
