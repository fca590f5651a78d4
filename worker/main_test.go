package worker_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain also is the worker process that some tests kill or freeze.
func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		child(url, os.Getenv(childNamespace))
		return
	}
	goleak.VerifyTestMain(m)
}
