package backoff_test

import (
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/worker/internal/backoff"
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	for n, full := range map[int]time.Duration{0: time.Second, 1: 2 * time.Second, 8: 256 * time.Second, 9: 5 * time.Minute, 1000: 5 * time.Minute} {
		low, high := time.Hour, time.Duration(0)
		for range 2000 {
			d := backoff.Wait(n, time.Second, 5*time.Minute)
			low, high = min(low, d), max(high, d)
		}
		if low < full/2 || high > full || low > full*55/100 || high < full*95/100 {
			t.Errorf("retry %d waits %s to %s, want %s to %s", n, low, high, full/2, full)
		}
	}
}
