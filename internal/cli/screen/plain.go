package screen

import (
	"io"
	"strings"
)

// plain makes everything that is written fit for a terminal, but for line breaks and tabs:
// what a server, a file or an error says cannot steer it, wherever it is printed. JSON and
// bars are written past it, see exact.
type plain struct{ to io.Writer }

// NewPlain makes a writer whose texts are fit for a terminal.
func NewPlain(to io.Writer) io.Writer { return plain{to} }

// Write takes whole texts: a character must not be split over two calls.
func (p plain) Write(b []byte) (int, error) {
	text := strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return harmless(r)
	}, string(b))
	if _, err := io.WriteString(p.to, text); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Exact is the writer behind plain.
func Exact(w io.Writer) io.Writer {
	if p, ok := w.(plain); ok {
		return p.to
	}
	return w
}

// OneLine makes a text from anywhere fit to be shown in a line: it has no line breaks, so
// that nothing looks like a line of ours, and no controls.
func OneLine(s string) string { return strings.Map(harmless, s) }

// harmless puts a space for what breaks a line, and a dot for what controls a terminal (C0,
// DEL, C1) or the direction of the text around it.
func harmless(r rune) rune {
	switch {
	case r == '\n', r == '\t', r == '\r', r == 0x85, r == 0x2028, r == 0x2029:
		return ' '
	case r < ' ', r >= 0x7f && r < 0xa0, r == 0x61c, r >= 0x200e && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return '·'
	}
	return r
}
