package table

import (
	"bytes"
	"encoding/json"
	"unicode/utf16"
	"unicode/utf8"
)

// Unescape appends to out what the inside of a string of valid JSON says. Half of a surrogate pair
// becomes U+FFFD.
func Unescape(out, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(s[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if i+6 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
					low = hex4(s[i+3:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default: // a quote, a slash or a backslash
			out = append(out, s[i])
		}
	}
	return out
}

func hex4(s []byte) rune {
	var r rune
	for _, c := range s[:4] {
		switch {
		case c <= '9':
			r = r<<4 | rune(c-'0')
		default:
			r = r<<4 | rune(lower(c)-'a'+10)
		}
	}
	return r
}

// A Walk steps over the members of one JSON object.
type Walk struct {
	b []byte
	i int
}

// NewWalk begins with a line of NDJSON; false if that is no object.
func NewWalk(line []byte) (Walk, bool) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' || !json.Valid(line) {
		return Walk{}, false
	}
	// The line is valid, so the walk needs no checks of its own.
	return Walk{b: line, i: 1}, true
}

// Member returns the next key, without its quotes and with its escapes, and its value as it is
// written; false at the end.
func (w *Walk) Member() (key, value []byte, ok bool) {
	if w.space() == ',' {
		w.i++
	}
	if w.space() == '}' {
		return nil, nil, false
	}
	key = w.stringToken()
	w.space() // the colon
	w.i++
	w.space()
	return key[1 : len(key)-1], w.value(), true
}

// space skips white space and returns what follows.
func (w *Walk) space() byte {
	for w.b[w.i] == ' ' || w.b[w.i] == '\t' || w.b[w.i] == '\r' {
		w.i++
	}
	return w.b[w.i]
}

// stringToken takes a string with its quotes.
func (w *Walk) stringToken() []byte {
	start := w.i
	for w.i++; w.b[w.i] != '"'; w.i++ {
		if w.b[w.i] == '\\' {
			w.i++
		}
	}
	w.i++
	return w.b[start:w.i]
}

// value takes a whole value, nested ones with all they hold.
func (w *Walk) value() []byte {
	start := w.i
	switch w.b[w.i] {
	case '"':
		return w.stringToken()
	case '{', '[':
		w.nested()
	default:
		for !endsLiteral(w.b[w.i]) {
			w.i++
		}
	}
	return w.b[start:w.i]
}

func (w *Walk) nested() {
	for depth := 0; ; {
		switch w.b[w.i] {
		case '"':
			w.stringToken()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		w.i++
		if depth == 0 {
			return
		}
	}
}

func endsLiteral(c byte) bool {
	return c == ',' || c == '}' || c == ' ' || c == '\t' || c == '\r'
}

// OfString classifies what a string of JSON says: it may be a date or a timestamp.
func OfString(text []byte) Value {
	if v, ok := parseTime(text); ok {
		return v
	}
	return Value{Kind: Text}
}

// OfLiteral classifies true, false and numbers; one that a float64 cannot hold
// counts as text.
func OfLiteral(token []byte) Value {
	if token[0] == 't' || token[0] == 'f' {
		return Value{Kind: Bool}
	}
	if v, ok := parseNumber(token); ok {
		return v
	}
	return Value{Kind: Text}
}
