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
	// Shorter than what makes a read fail, and with the wait for a sweep longer than half a
	// lease, when it begins at the right moment between two sweeps.
	between := time.Duration(0)
	eventually(t, "a sweep that is held up", func() bool {
		s.Pause()
		pause(soon(t), 400*time.Millisecond)
		s.Resume()
		between = (between + 50*time.Millisecond) % (300 * time.Millisecond)
		pause(soon(t), between)
		return strings.Contains(log.String(), "the sweep of heartbeats was held up")
	})
}
