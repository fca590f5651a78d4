package filetest

import (
	"bytes"
	"os"
	"testing"
)

// A lockfile that names a registry's host installs from nowhere else.
func TestLockfileNamesNoRegistry(t *testing.T) {
	t.Parallel()
	lock, err := os.ReadFile("node/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(lock, []byte(`"integrity"`)) {
		t.Error("package-lock.json has no integrity: what is installed is not checked")
	}
	if bytes.Contains(lock, []byte(`"resolved"`)) {
		t.Error("package-lock.json names where packages came from: see .npmrc, and make it anew")
	}
}
