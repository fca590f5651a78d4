package redisproc

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// detachedEnv makes this binary start a daemon and end, as a user's program
// does that is killed; see TestDetachedServerOutlivesItsStarter.
const detachedEnv = "REDISPROC_TEST_DETACH_IN"

// orphanEnv makes this binary start a child that dies with it, and wait.
const orphanEnv = "REDISPROC_TEST_ORPHAN_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(detachedEnv); dir != "" {
		detachAndPrint(dir)
		return
	}
	if dir := os.Getenv(orphanEnv); dir != "" {
		startAndHang(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// testTimeout bounds what takes milliseconds on a quiet machine.
const testTimeout = 30 * time.Second
