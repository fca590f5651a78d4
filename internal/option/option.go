// Package option is what the parts' Options structs share: a zero field means its
// default, and a value out of bounds is an error that names the field and the bound.
package option

import (
	"errors"
	"fmt"
	"time"
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

// Within checks that v is from least to most. Its error wraps ErrInvalid.
func Within[T int | int64 | float64 | time.Duration](name string, v, least, most T) error {
	// Not "v < least || v > most": NaN is to be refused too.
	if v >= least && v <= most {
		return nil
	}
	return fmt.Errorf("%w %s %v: want %v to %v", ErrInvalid, name, v, least, most)
}
