//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package datadir

import (
	"context"
	"errors"
	"os"
)

// Without flock there is no server of the data folder: Open says so and takes
// the embedded Redis.

type lock struct{ file *os.File }

type lockMode int

const (
	shared lockMode = iota
	exclusive
)

func tryLock(string, lockMode) (*lock, error)                   { return nil, errSupported }
func takeLock(context.Context, string, lockMode) (*lock, error) { return nil, errSupported }
func (l *lock) release()                                        { _ = l.file.Close() }

// TryLock locks nothing here.
func TryLock(*os.File) bool { return true }

var errSupported = errors.ErrUnsupported
