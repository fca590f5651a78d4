package table

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"gocloud.dev/gcerrors"

	"github.com/tidemark-dev/tidemark/internal/storefault"
)

// Missing tells a blob that is not there, or whose name the store does not take, which is
// for good, from a store that fails now.
func Missing(err error) error {
	switch {
	case gcerrors.Code(err) == gcerrors.NotFound, errors.Is(err, syscall.ENOTDIR):
		return Refuse("The file is no longer there: it may have expired. Upload it again.")
	case gcerrors.Code(err) == gcerrors.InvalidArgument, errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENAMETOOLONG),
		errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ELOOP):
		return Refuse("The blob that the job's payload names cannot be read: the store does not take this name: %w.", storefault.Of(err))
	}
	return fmt.Errorf("open the blob: %w", storefault.Of(err))
}

// Wordless is a blob whose errors do not quote its key.
type Wordless struct{ io.Reader }

// Read implements io.Reader.
func (w Wordless) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = storefault.Of(err)
	}
	return n, err
}
