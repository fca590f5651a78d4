package cli_test

import (
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A job with more children than a page of the engine has is still found among them.
func TestJobsAreNotBuriedUnderChildren(t *testing.T) {
	server := redistest.Server(t)
	e := openEngine(t, server.URL())
	other, parent := enqueue(t, e), begin(t, e)
	children := make([]engine.Child, 600)
	for i := range children {
		children[i] = engine.Child{Name: string(rune('a'+i/26)) + string(rune('a'+i%26)), Spec: engine.Spec{Type: "part", Queue: "nobody"}}
	}
	parent.fanOut(t, children)
	list := func(args ...string) (ids []string, notes string) { return listJobs(t, server.URL(), args...) }
	if ids, notes := list("--limit", "2"); len(ids) != 2 || ids[0] != string(parent.job) || ids[1] != string(other) || !strings.Contains(notes, "--children lists them") {
		t.Errorf("listed are %q, %q; want the parent and the other job", ids, notes)
	}
	if ids, notes := list("--limit", "1"); len(ids) != 1 || !strings.Contains(notes, "--limit 10 shows them") {
		t.Errorf("listed are %q, %q; want one, and that there are more", ids, notes)
	}
	if ids, notes := list("--limit", "1000", "--children"); len(ids) != 602 || notes != "" {
		t.Errorf("listed are %d jobs, %q; want 602", len(ids), notes)
	}
}

// That a job has children is no reason to say that there are more jobs.
func TestJobsThatAreAllListed(t *testing.T) {
	server := redistest.Server(t)
	e := openEngine(t, server.URL())
	parent := begin(t, e)
	parent.fanOut(t, []engine.Child{{Name: "a", Optional: true, Spec: engine.Spec{Type: "part", Queue: "nobody"}}})
	if err := e.Cancel(t.Context(), runtime.ChildID(parent.job, "parts", "a")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ limit, notes string }{
		{"1", "Children of jobs are left out; --children lists them too.\n"},
		{"1 --children", "There are more; --limit 10 shows them.\n"},
		{"2 --children", ""},
	} {
		if ids, notes := listJobs(t, server.URL(), strings.Fields("--limit "+c.limit)...); ids[0] != string(parent.job) || notes != c.notes {
			t.Errorf("--limit %s lists %q and says %q, want %q", c.limit, ids, notes, c.notes)
		}
	}
}

// fanOut makes children of the run's job.
func (r run) fanOut(t *testing.T, children []engine.Child) {
	t.Helper()
	children, plan, err := runtime.PlanFanOut("parts", "user:demo", engine.DefaultQueue, children)
	if err != nil {
		t.Fatal(err)
	}
	r.report(t, runtime.Report{Type: engine.JobProgress, FanOut: &plan})
	r.fence.Seq = 2
	if err := runtime.Of(r.e).Spawn(t.Context(), r.job, r.fence, 0, "parts", children); err != nil {
		t.Fatal(err)
	}
}

// listJobs gives the first column of what jobs prints, and what it says beside that.
func listJobs(t *testing.T, redis string, args ...string) (ids []string, notes string) {
	t.Helper()
	p := spawn(t, t.TempDir(), append([]string{"jobs", "--redis", redis}, args...)...)
	for p.lines.Scan() {
		if id, _, _ := strings.Cut(p.lines.Text(), " "); id != "JOB" {
			ids = append(ids, id)
		}
	}
	if code := p.wait(); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr.String())
	}
	return ids, p.stderr.String()
}
