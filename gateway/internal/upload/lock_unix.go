//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package upload

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// tryFlock takes the lock if no other open file has it.
func tryFlock(f *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, fmt.Errorf("lock %s (uploads must be on a local file system): %w", f.Name(), err)
		}
	}
}
