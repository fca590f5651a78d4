package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// A Cursor is the ID of the last record that a reader of a topic holds: "<ms>-<n>". ms is Redis's
// clock in milliseconds when it wrote the record, and never goes back within a topic. n is the
// topic's own number, which rises by one with each record. Cursors of different topics cannot be
// compared.
type Cursor string

// Beginning is the cursor of a reader without records.
const Beginning Cursor = "0-0"

// MaxNumber bounds both parts of a cursor: scripts compute with doubles, which are exact up to
// 2^53.
const MaxNumber = 1 << 53

// ParseCursor checks the form of s. Its error wraps ErrInvalidCursor.
func ParseCursor(s string) (Cursor, error) {
	ms, n, ok := strings.Cut(s, "-")
	if !ok || !plain(ms) || !plain(n) {
		return "", fmt.Errorf("%w %q: want <ms>-<n>, two decimal numbers up to 2^53, as a record's id gives it", ErrInvalidCursor, clip(s, 80))
	}
	return Cursor(s), nil
}

// plain reports whether s is a number as the engine writes it: no sign, no leading zero, in bounds.
// So each position has one spelling, and cursors compare as strings.
func plain(s string) bool {
	if s == "" || len(s) > 16 || (s[0] == '0' && len(s) > 1) {
		return false
	}
	v, err := strconv.ParseUint(s, 10, 64)
	return err == nil && v <= MaxNumber
}

// N returns the topic's own number of the record. It is 0 for Beginning and for a cursor that
// ParseCursor would refuse.
func (c Cursor) N() uint64 {
	_, n, _ := strings.Cut(string(c), "-")
	number, err := strconv.ParseUint(n, 10, 64)
	if err != nil {
		return 0
	}
	return number
}
