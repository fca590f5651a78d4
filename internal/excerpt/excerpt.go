// Package excerpt shortens texts of any size and origin for errors, records and logs.
package excerpt

import (
	"strings"
	"unicode/utf8"
)

// Of is s as valid UTF-8 of at most most bytes. What is left out is an ellipsis at the end.
// A control character, but for a line break and a tab, and a byte that is not UTF-8 are
// replaced by U+FFFD. most must be at least 3. The cost depends on most, not on s.
func Of(s string, most int) string {
	if len(s) <= most && plain(s) {
		return s
	}
	b := make([]byte, 0, min(len(s), most)+utf8.UTFMax)
	fits := 0 // the length up to which an ellipsis still has room
	for _, r := range s {
		if control(r) {
			r = utf8.RuneError
		}
		b = utf8.AppendRune(b, r)
		if len(b) > most {
			return string(b[:fits]) + ellipsis
		}
		if len(b) <= most-len(ellipsis) {
			fits = len(b)
		}
	}
	return string(b)
}

const ellipsis = "…"

func plain(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return strings.IndexFunc(s, control) < 0
}

// control reports C0 and C1 controls, which steer terminals.
func control(r rune) bool {
	return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0
}
