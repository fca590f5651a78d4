package stream

import (
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

// Every goroutine that a test's gateways started must have stopped with them.
func TestMain(m *testing.M) {
	logging.Disable() // outages are what some of these tests are about
	goleak.VerifyTestMain(m)
}
