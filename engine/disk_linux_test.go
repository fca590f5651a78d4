package engine_test

import (
	"errors"
	"math"
	ossignal "os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// fill lets the server's files grow no further than they may have grown already: a
// full disk that needs no mount and no root. free takes that back.
func (d *disk) fill() { d.limit(1) }
func (d *disk) free() { d.limit(math.MaxUint64) }

func (d *disk) limit(sizeBytes uint64) {
	d.t.Helper()
	must(d.t, unix.Prlimit(d.server.PID(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: sizeBytes, Max: math.MaxUint64}, nil))
}

// A server inherits that it ignores SIGXFSZ, and so gets an error at the limit.
func init() { ossignal.Ignore(syscall.SIGXFSZ) }

// With appendfsync everysec Redis goes on without its append-only file, and refuses
// writes from the first on that it could not keep.
func TestDiskThatIsFullStopsWritesUntilThereIsSpace(t *testing.T) {
	t.Parallel()
	d := newDisk(t, redistest.WithAOF(), redistest.WithSettings("appendfsync everysec"))
	d.fill()
	// Redis notices by a write, which it still answers, as it does whatever comes
	// within the second that the policy gives away.
	at := 300
	for noticed := false; !noticed; {
		r := d.report()
		r.Tenths = at + 1
		acks, err := d.e.Commit(d.ctx, r)
		switch {
		case errors.Is(err, engine.ErrUnreachable):
			noticed = true
		case err != nil || acks[0].Err != nil:
			t.Fatalf("on a full disk a commit was answered %+v, %v; want ErrUnreachable", acks, err)
		default:
			d.hand.r.Fence.Seq++
			at++
		}
		if !noticed && (at > 400 || !again(d.ctx)) {
			t.Fatal("Redis takes what it cannot keep")
		}
	}
	d.refusedWrites("MISCONF")
	d.standsAt(at)

	d.free()
	d.goesOn()
	// The disk has what Redis acknowledged.
	d.server.Kill()
	d.server.Restart()
	v, err := d.e.Job(d.ctx, d.hand.r.Job)
	must(t, err)
	if j, err := v.Job(); err != nil || j.State != engine.Succeeded {
		t.Errorf("after a crash the job is %s, %v", v.JSON, err)
	}
}

// With appendfsync always Redis ends rather than answer what it could not keep.
func TestDiskThatIsFullEndsAServerThatKeepsAll(t *testing.T) {
	t.Parallel()
	d := newDisk(t, redistest.WithAOF())
	d.fill()
	// One call: after many failed dials the client's pool dials on in the background for
	// up to a second after its end.
	if acks, err := d.e.Commit(d.ctx, d.report()); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("a commit was answered %+v, %v; want ErrUnreachable", acks, err)
	}
	d.server.Restart() // without the limit, as after space was made
	d.standsAt(300)
	d.goesOn()
}
