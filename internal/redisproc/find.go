package redisproc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNotInstalled is wrapped by errors that say that no Redis server was found.
var ErrNotInstalled = errors.New("no redis-server or valkey-server found")

// installHint is the remedy that every ErrNotInstalled carries.
const installHint = "install one (Debian, Ubuntu: apt-get install redis-server; " +
	"Fedora: dnf install valkey; macOS: brew install redis)"

// sbinDirs are searched after the PATH: a user's PATH often lacks the sbin
// folders, and a program started by an IDE lacks Homebrew's.
var sbinDirs = []string{
	"/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin", "/usr/local/bin",
	"/opt/homebrew/bin", "/opt/homebrew/sbin",
}

// Find returns the path of a Redis server's program: redis-server on the PATH,
// else valkey-server on the PATH, else either in the usual places. When there
// is none, the error wraps [ErrNotInstalled] and says how to install one.
func Find() (string, error) {
	names := []string{"redis-server", "valkey-server"}
	for _, name := range names {
		// A match in the current folder (exec.ErrDot) is refused on purpose.
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
	}
	for _, name := range names {
		for _, dir := range sbinDirs {
			path := filepath.Join(dir, name)
			if executable(path) {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%w on the PATH (%s) or in %v: %s",
		ErrNotInstalled, os.Getenv("PATH"), sbinDirs, installHint)
}

// Executable says why the file at path is no program that this user can run; nil if it is one.
func Executable(path string) error {
	if executable(path) {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", path, errors.Unwrap(err))
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file", path)
	}
	return fmt.Errorf("%s is not executable", path)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}
