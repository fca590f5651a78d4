package worker_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// soak tells whether the full counts are wanted (task soak).
var soak = os.Getenv("TIDEMARK_SOAK") == "1"

// scale gives a count of the test run, or of soak.
func scale(test, full int) int {
	if soak {
		return full
	}
	return test
}

// A drawer draws what a test leaves to chance. Its methods may be called
// concurrently.
type drawer struct {
	mu sync.Mutex
	r  *rand.Rand
}

// draws begins at TIDEMARK_SEED, or at a number that no run before had, and prints
// it. What goroutines draw at the same time is in nobody's hand; what is drawn, is.
func draws(t testing.TB) *drawer {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("TIDEMARK_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("TIDEMARK_SEED: %v", err)
		}
	}
	t.Logf("TIDEMARK_SEED=%d", seed)
	return &drawer{r: rand.New(rand.NewPCG(seed, 0))}
}

// below draws a number from 0 to n-1.
func (d *drawer) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// within draws a time from 0 to most.
func (d *drawer) within(most time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Duration(d.r.Int64N(int64(most) + 1))
}
