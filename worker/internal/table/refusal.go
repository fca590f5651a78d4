package table

import (
	"errors"
	"fmt"
)

// ErrRefused is wrapped by every error that lies in a file, so that reading it again cannot help.
var ErrRefused = errors.New("the file cannot be read")

// ErrTooLong and ErrUnclosed are wrapped by the errors of a record that a Reader can pass: one that is longer
// than MaxRecordBytes, perhaps since a quote is not closed, and one whose quote is not closed at the end of
// the file.
var (
	ErrTooLong  = errors.New("the record is too long")
	ErrUnclosed = errors.New("a quote is not closed")
)

// A Refusal says in sentences what a file is, or where it is wrong, and what to do. The text has
// no prefix and quotes nothing of the file.
type Refusal struct {
	Text  string
	cause error
}

// Refuse makes a Refusal as fmt.Errorf does; what %w names is unwrapped.
func Refuse(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Refusal{Text: err.Error(), cause: errors.Unwrap(err)}
}

// refuseAs makes a Refusal that wraps cause.
func refuseAs(cause error, format string, args ...any) error {
	return &Refusal{Text: fmt.Sprintf(format, args...), cause: cause}
}

func (r *Refusal) Error() string { return r.Text }
func (r *Refusal) Unwrap() error { return r.cause }

// Is reports whether target is ErrRefused.
func (r *Refusal) Is(target error) bool { return target == ErrRefused }
