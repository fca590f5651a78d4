package config_test

import (
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain clears what the machine or the soak run has set: here a variable is a
// setting, and an unknown one an error.
func TestMain(m *testing.M) {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "TIDEMARK_") {
			if err := os.Unsetenv(name); err != nil {
				panic(err)
			}
		}
	}
	goleak.VerifyTestMain(m)
}
