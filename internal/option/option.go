// Package option is what the parts' Options structs share: a zero field means its
// default, and a value out of bounds is an error that names the field and the bound.
package option

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// ErrInvalid is what an error about a setting or an argument wraps.
var ErrInvalid = errors.New("invalid")

// Default sets a field that is zero.
func Default[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// An Error says which field has a value that it does not take, and what it takes. It
// wraps ErrInvalid.
type Error struct {
	// Field is its name in its struct.
	Field string
	// Value is what it has; nil where that is long, or a secret.
	Value any
	// Least and Most are the bounds of a number or a duration, of Value's type; nil where
	// Reason says what is taken.
	Least, Most any
	// Reason says what is wrong, or what is taken, in a clause of its own.
	Reason string
}

// Invalid makes an Error with a reason. Text among values is clipped.
func Invalid(field string, value any, format string, args ...any) error {
	if s, ok := value.(string); ok {
		value = excerpt.Of(s, 80)
	}
	return &Error{Field: field, Value: value, Reason: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	text := ErrInvalid.Error() + " " + e.Field
	switch v := e.Value.(type) {
	case nil:
	case string:
		text += fmt.Sprintf(" %q", v)
	default:
		text += fmt.Sprintf(" %v", v)
	}
	if e.Least != nil {
		return text + fmt.Sprintf(": want %v to %v", e.Least, e.Most)
	}
	return text + ": " + e.Reason
}

// Unwrap gives ErrInvalid.
func (e *Error) Unwrap() error { return ErrInvalid }

// Within checks that v is from least to most. Its error is an *Error.
func Within[T int | int64 | float64 | time.Duration](field string, v, least, most T) error {
	// Not "v < least || v > most": NaN is to be refused too.
	if v >= least && v <= most {
		return nil
	}
	return &Error{Field: field, Value: v, Least: least, Most: most}
}

// Bytes checks that a text or a payload has at most most bytes. remedy says what to do with a
// longer one. Its error wraps ErrInvalid.
func Bytes(what string, size, most int, remedy string) error {
	if size > most {
		return fmt.Errorf("%w %s of %d bytes: at most %d; %s", ErrInvalid, what, size, most, remedy)
	}
	return nil
}
