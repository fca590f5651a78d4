package worker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func TestSweepTellsThatItWasHeldUp(t *testing.T) {
	t.Parallel()
	s := redistest.Server(t)
	var log logbook
	o := brief(open(t, s.URL()))
	o.Lease, o.SweepInterval, o.Logger = time.Second, 250*time.Millisecond, log.logger()
	start(t, build(t, o))
	// Shorter than what makes a read fail, and with the wait for a sweep often longer
	// than half a lease.
	eventually(t, "a sweep that is held up", func() bool {
		s.Pause()
		pause(soon(t), 400*time.Millisecond)
		s.Resume()
		pause(soon(t), 300*time.Millisecond)
		return strings.Contains(log.String(), "the sweep of heartbeats was held up")
	})
}
