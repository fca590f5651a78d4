package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// parentOf starts a job that fans out to n children, and gives those.
func parentOf(t testing.TB, e *engine.Rig, n int) (d *desk, children []*desk) {
	t.Helper()
	d = newDesk(t, e, "user:42")
	d.start(1)
	all := make([]engine.Child, n)
	for i := range all {
		all[i] = engine.Child{Name: fmt.Sprint(i), Optional: true, Spec: engine.Spec{Type: "export"}}
	}
	all, plan, err := runtime.PlanFanOut("all", d.topic, engine.DefaultQueue, all)
	must(t, err, d.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}).Err)
	must(t, e.Spawn(soon(t), d.job, d.r.Fence, 0, "all", all))
	for _, c := range all {
		id := runtime.ChildID(d.job, "all", c.Name)
		children = append(children, &desk{pen: &pen{t: t, e: e, r: runtime.Report{Job: id}}, topic: d.topic, job: id})
	}
	return d, children
}

// A parent that awaits its children has no run that could estimate anything: the script does.
func TestAnAwaitingParentKeepsAnETA(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		d, children := parentOf(t, e, 4)
		shown := runtime.Shown{Stage: engine.Stage{Name: "resize"}, Progress: engine.Progress{Done: 1, Total: 9}, ETA: time.Hour}
		must(t, d.write(runtime.Report{Type: engine.JobAwaiting, Shown: &shown}).Err)
		if eta := d.view().ETASeconds; eta != nil {
			t.Errorf("it begins to wait with an ETA of %d s, which its run had measured", *eta)
		}
		children[0].start(1)
		must(t, children[0].write(runtime.Report{Type: engine.JobProgress, Tenths: 100}).Err)
		if v := d.view(); v.ETASeconds != nil || v.Percent != 2.5 {
			t.Errorf("after no time it is at %v with an ETA of %v", v.Percent, v.ETASeconds)
		}
		// As if it had waited for a minute.
		since := e.Now().Add(-time.Minute)
		must(t, e.Redis().HSet(soon(t), e.JobKey(d.job), "kt", fmt.Sprintf("%d:0", since.UnixMilli())).Err())
		must(t, children[0].write(runtime.Report{Type: engine.JobSucceeded}).Err)
		v := d.view()
		if v.ETASeconds == nil || *v.ETASeconds < 180 || *v.ETASeconds > 240 {
			t.Errorf("a quarter in a minute leaves %v s, want three minutes", v.ETASeconds)
		}
		if v.Stage == nil || v.Stage.Name != "resize" {
			t.Errorf("it awaits in stage %+v", v.Stage)
		}
		must(t, e.Pause(soon(t), d.job))
		if v := d.view(); v.State != engine.Paused || v.ETASeconds != nil {
			t.Errorf("it is %s with an ETA of %v", v.State, v.ETASeconds)
		}
		must(t, e.Resume(soon(t), d.job))
		for _, c := range children[1:] {
			c.start(1)
			must(t, c.write(runtime.Report{Type: engine.JobSucceeded}).Err)
		}
		if v := d.view(); v.State != engine.Queued || v.ETASeconds != nil {
			t.Errorf("with all its children it is %s with an ETA of %v", v.State, v.ETASeconds)
		}
		d.start(2)
		if v := d.view(); v.Attempt != 2 || v.Children.Awaited != 1 {
			t.Errorf("attempt %d, of which it awaited %d", v.Attempt, v.Children.Awaited)
		}
	})
}

func TestACanceledChildNamesItsParent(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		for what, end := range map[string]func(d *desk){
			"was canceled": func(d *desk) { must(t, e.Cancel(soon(t), d.job)) },
			"has failed": func(d *desk) {
				ack := d.write(runtime.Report{Type: engine.JobFailed, Error: &engine.JobError{Code: engine.CodeError, Message: "no"}})
				must(t, ack.Err)
				for _, job := range ack.FollowUps {
					must(t, e.FollowUp(soon(t), job))
				}
			},
		} {
			d, children := parentOf(t, e, 3)
			waits, runs, asked := children[0], children[1], children[2]
			runs.start(1)
			must(t, e.Cancel(soon(t), asked.job))
			end(d)
			must(t, runs.write(runtime.Report{Type: engine.JobCanceled}).Err)
			for _, c := range []*desk{waits, runs} {
				v := c.view()
				if v.State != engine.Canceled || v.Error == nil || v.Error.Code != engine.CodeParentEnded ||
					!strings.Contains(v.Error.Message, string(d.job)+" "+what) {
					t.Errorf("a child whose parent %s is %s for %+v", what, v.State, v.Error)
				}
			}
			if v := asked.view(); v.State != engine.Canceled || v.Error != nil {
				t.Errorf("a child that was canceled itself is %s for %+v", v.State, v.Error)
			}
		}
	})
}

func TestAReceivedJobStartsWithItsFirstByte(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		for name, first := range map[string]int64{"its receiver reports": 1, "it arrives at once": 0} {
			id, err := e.NewJobID("user:42")
			must(t, err)
			shown := runtime.Shown{Progress: engine.Progress{Total: 100, Unit: "bytes"}}
			_, fence, err := e.Receive(soon(t), id, engine.Spec{Topic: "user:42", Type: "export"}, 50, 0, shown)
			must(t, err)
			d := &desk{pen: &pen{t: t, e: e, r: runtime.Report{Job: id, Fence: fence}}, topic: "user:42", job: id}
			if v := d.view(); v.StartedAt != nil {
				t.Errorf("%s: it has started before a byte came: %s", name, v.StartedAt)
			}
			var came *time.Time
			if first > 0 {
				shown.Progress.Done = first
				must(t, d.write(runtime.Report{Type: engine.JobProgress, Tenths: 5, Shown: &shown}).Err)
				came = d.view().StartedAt
				shown.Progress.Done = 50
				must(t, d.write(runtime.Report{Type: engine.JobProgress, Tenths: 250, Shown: &shown}).Err)
			}
			must(t, e.Received(soon(t), id, nil))
			queued := d.view().StartedAt
			if queued == nil || came != nil && !came.Equal(*queued) {
				t.Fatalf("%s: the first byte came at %v, it is queued with %v", name, came, queued)
			}
			d.start(1)
			must(t, d.write(runtime.Report{Type: engine.JobSucceeded}).Err)
			if v := d.view(); v.StartedAt == nil || !v.StartedAt.Equal(*queued) {
				t.Errorf("%s: it has ended as started at %v, want the first byte's %s", name, v.StartedAt, queued)
			}
		}
	})
}
