package gateway_test

import (
	"math"
	"net/http"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that ignores SIGXFSZ gets an error at the limit.
func init() { signal.Ignore(syscall.SIGXFSZ) }

// A full disk that needs no mount: files of this process may grow no further. What has
// arrived stays, and the client goes on when there is room.
func TestFullDisk(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	// What is left of the request is so little that the server reads it to the end, and
	// the client its answer.
	file := csv(450_000)
	job := s.announce(t, len(file))
	limit := func(most uint64) {
		t.Helper()
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: most, Max: math.MaxUint64}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { limit(math.MaxUint64) })
	limit(300_000)
	a := s.patch(t, job, 0, file)
	limit(math.MaxUint64)
	a.is(t, "patch", http.StatusInsufficientStorage, "disk_full")
	n := s.offset(t, job)
	if n != 300_000 {
		t.Errorf("the offset is %d", n)
	}
	if a := s.patch(t, job, n, file[n:]); a.status != http.StatusNoContent {
		t.Errorf("patch when there is room: %+v", a)
	}
}
