// Package figures has the figures of numbers that follow from the numbers alone: an exact [Sum], a [Histogram]
// and the [Correlations] of columns. Each takes a bounded number of bytes, and its encoding holds every bit, so
// that a figure which was encoded and decoded between any two numbers ends as if it had not been. None is safe
// for concurrent use.
package figures

import "errors"

// ErrDamaged is what decoding fails with.
var ErrDamaged = errors.New("the figures are damaged")
