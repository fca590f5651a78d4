package analysis

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"gocloud.dev/gcerrors"
)

// refused tells a blob that is not there, or whose name the store does not take, which is
// for good, from a store that fails now.
func refused(err error) error {
	switch {
	case gcerrors.Code(err) == gcerrors.NotFound, errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w: there is no such blob; it may have expired, upload the file again", ErrInput)
	case gcerrors.Code(err) == gcerrors.InvalidArgument, errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENAMETOOLONG),
		errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ELOOP):
		return fmt.Errorf("%w: payload blob: the store does not take this name: %w", ErrInput, &storeError{err})
	}
	return fmt.Errorf("open the blob: %w", &storeError{err})
}

// A storeError is a store's error without its text, which quotes the blob's key, and the
// key is the payload's.
type storeError struct{ err error }

func (e *storeError) Error() string {
	if errno := syscall.Errno(0); errors.As(e.err, &errno) {
		return errno.Error()
	}
	return gcerrors.Code(e.err).String()
}

func (e *storeError) Unwrap() error { return e.err }

// wordless is a blob whose errors are storeErrors.
type wordless struct{ io.Reader }

func (w wordless) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &storeError{err}
	}
	return n, err
}
