package redistest

import (
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/tidemark-dev/tidemark/internal/leaktest"
)

// Miniredis starts an in-memory stand-in for Redis and ends it with the test.
// Its clock is the real one; TTLs pass only by its FastForward.
func Miniredis(t testing.TB) *miniredis.Miniredis {
	t.Helper()
	leaktest.Check(t)
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatalf("starting miniredis: %v", err)
	}
	t.Cleanup(m.Close)
	return m
}
