package worker_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain also is the processes that some tests kill, freeze and restart.
func TestMain(m *testing.M) {
	if role := os.Getenv(childEnv); role != "" {
		child(role)
		return
	}
	goleak.VerifyTestMain(m)
}
