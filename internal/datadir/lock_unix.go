//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package datadir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lock is an open file with an flock on it. The lock belongs to the open file,
// not to the process: it goes when the last copy of the descriptor is closed.
type lock struct{ file *os.File }

type lockMode int

const (
	shared    lockMode = syscall.LOCK_SH
	exclusive lockMode = syscall.LOCK_EX
)

// tryLock takes the lock on path if no other lock excludes it; nil without an
// error when one does.
func tryLock(path string, mode lockMode) (*lock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err = flock(f, mode); err == nil {
		return &lock{file: f}, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, fmt.Errorf("locking %s (the data folder must be on a local file system): %w", path, err)
}

func flock(f *os.File, mode lockMode) error {
	for {
		if err := syscall.Flock(int(f.Fd()), int(mode)|syscall.LOCK_NB); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// TryLock locks a file until it is closed, and reports false if another open file has the lock. On a file system
// without locks there is none, and TryLock reports true.
func TryLock(f *os.File) bool { return !errors.Is(flock(f, exclusive), syscall.EWOULDBLOCK) }

// takeLock waits for the lock on path. A blocking flock could not be cancelled,
// so it asks again, after 1 ms, then in growing steps up to 20 ms.
func takeLock(ctx context.Context, path string, mode lockMode) (*lock, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		if l, err := tryLock(path, mode); l != nil || err != nil {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for another process to release %s: %w", path, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// release gives the lock up for all copies of the descriptor: a process that is
// just being forked may hold one for a moment.
func (l *lock) release() {
	_ = syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN)
	_ = l.file.Close()
}

// errSupported says whether data folders can be shared on this system.
var errSupported error
