package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A disk is what a server keeps its data on, as a test makes it fail.
type disk struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // of the test, as t is
	server *redistest.Redis
	e      *engine.Rig
	hand   *hand
}

func newDisk(t *testing.T, settings ...redistest.Option) *disk {
	t.Helper()
	d := &disk{t: t, ctx: minutes(t), server: redistest.Server(t, settings...)}
	d.e = open(t, d.server.URL(), spacious)
	d.hand = &hand{e: d.e, ledger: newLedger(), topic: "user:42"}
	must(t, d.hand.open(d.ctx), d.hand.begin(d.ctx, 1))
	must(t, d.hand.write(d.ctx, runtime.Report{Type: engine.JobCheckpoint, Tenths: 300, Checkpoint: []byte("before")}))
	return d
}

// report is the run's next, and not sent yet.
func (d *disk) report() runtime.Report {
	r := d.hand.r
	r.Fence.Seq++
	r.Type, r.Tenths, r.Checkpoint = engine.JobCheckpoint, 500, []byte("during")
	return r
}

// refusedWrites wants every way to write refused as by a Redis that comes back.
func (d *disk) refusedWrites(says string) {
	d.t.Helper()
	for name, write := range map[string]func() error{
		"commit": func() error {
			acks, err := d.e.Commit(d.ctx, d.report())
			if err == nil {
				err = acks[0].Err
			}
			return err
		},
		"enqueue": func() error {
			_, err := d.e.Enqueue(d.ctx, engine.Spec{Topic: "user:42", Type: "export"})
			return err
		},
		"notify": func() error { return d.e.Notify(d.ctx, "team:7", "once", []byte(`{}`)) },
		"cancel": func() error { return d.e.Cancel(d.ctx, d.hand.r.Job) },
		"heartbeat": func() error {
			_, err := d.e.Heartbeat(d.ctx, []runtime.Beat{{Job: d.hand.r.Job, Attempt: 1, Token: d.hand.r.Fence.Token}})
			return err
		},
	} {
		if err := write(); !errors.Is(err, engine.ErrUnreachable) || !strings.Contains(err.Error(), says) {
			d.t.Errorf("%s: %v; want ErrUnreachable that tells of %q", name, err, says)
		}
	}
}

// standsAt wants the job to be as its last accepted report left it; the disk keeps
// no reader from reading.
func (d *disk) standsAt(tenths int) {
	d.t.Helper()
	v, err := d.e.Job(d.ctx, d.hand.r.Job)
	must(d.t, err)
	if j, err := v.Job(); err != nil || j.State != engine.Running || j.Canceling || j.Percent != float64(tenths)/10 {
		d.t.Errorf("the job is %s, %v; want it running at %d tenths", v.JSON, err, tenths)
	}
}

// goesOn has the run write to its end, sending again what was refused, and wants the
// topic to hold each of its reports once.
func (d *disk) goesOn() {
	d.t.Helper()
	must(d.t, d.hand.write(d.ctx, runtime.Report{Type: engine.JobCheckpoint, Tenths: 500, Checkpoint: []byte("during")}))
	must(d.t, d.hand.write(d.ctx, runtime.Report{Type: engine.JobSucceeded, Result: []byte(`{"rows":3}`)}))
	v, err := d.e.Job(d.ctx, d.hand.r.Job)
	must(d.t, err)
	if j, err := v.Job(); err != nil || j.State != engine.Succeeded || j.Attempt != 1 {
		d.t.Errorf("the job is %s, %v; want its first attempt succeeded", v.JSON, err)
	}
	page, err := d.e.Replay(d.ctx, "user:42", engine.Beginning)
	must(d.t, err)
	held := map[engine.Cursor]int{}
	for _, entry := range page.Entries {
		held[entry.ID]++
	}
	for _, f := range d.hand.ledger.of("user:42") {
		if f.id != "" && held[f.id] != 1 {
			d.t.Errorf("%s %s was acknowledged, and is there %d times", f.kind, f.id, held[f.id])
		}
	}
	if d.hand.gaps > 0 || d.hand.rescues > 0 {
		d.t.Errorf("%d gaps and %d rescues, although nothing was lost", d.hand.gaps, d.hand.rescues)
	}
}

// A Redis whose snapshots fail refuses all writes (MISCONF) until one has succeeded.
func TestDiskThatTakesNoSnapshotStopsWritesUntilItDoes(t *testing.T) {
	t.Parallel()
	d := newDisk(t, redistest.WithSettings("save 3600 1000000", "stop-writes-on-bgsave-error yes", "dbfilename dump.rdb"))
	client := d.server.Client(t)
	// A folder that is not empty cannot be replaced by a file, by root neither.
	path := filepath.Join(d.server.Dir(), "dump.rdb")
	must(t, os.MkdirAll(filepath.Join(path, "full"), 0o700))
	// A child of Redis saves; only INFO tells when it has failed.
	must(t, client.BgSave(d.ctx).Err())
	for saved := false; !saved; {
		info, err := client.Info(d.ctx, "persistence").Result()
		must(t, err)
		saved = strings.Contains(info, "rdb_last_bgsave_status:err")
		if !saved && !again(d.ctx) {
			t.Fatalf("the snapshot does not fail: %s", info)
		}
	}
	d.refusedWrites("MISCONF")
	d.standsAt(300)

	must(t, os.RemoveAll(path))
	must(t, client.BgSave(d.ctx).Err())
	d.goesOn()
}
