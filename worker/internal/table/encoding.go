package table

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// Encoding is how a file's text is written as bytes.
type Encoding uint8

// The encodings that a Reader decodes. ASCII is text that may yet turn out to be UTF-8 or
// Windows1252: no other byte has come.
const (
	ASCII Encoding = iota
	UTF8
	Windows1252
	UTF16LE
	UTF16BE
	encodings // how many there are
)

// String is the name that the web uses; ASCII is UTF-8 too.
func (e Encoding) String() string {
	return [encodings]string{"utf-8", "utf-8", "windows-1252", "utf-16le", "utf-16be"}[e]
}

// transcoded: the file's bytes are not UTF-8 as they are.
func (e Encoding) transcoded() bool { return e >= Windows1252 }

// sourceBytes is how many bytes of the file text was decoded from. The decoders make it
// countable: each unit of Windows-1252 becomes one character, and what UTF-16 cannot mean
// becomes U+FFFD for two bytes.
func (e Encoding) sourceBytes(text []byte) int {
	switch e {
	case Windows1252:
		return utf8.RuneCount(text)
	case UTF16LE, UTF16BE:
		n := 0
		for _, c := range text {
			switch {
			case c >= 0xF0: // leads a character of two units
				n += 4
			case c < 0x80 || c >= 0xC0:
				n += 2
			}
		}
		return n
	}
	return len(text)
}

// decode appends what raw says to text, as UTF-8, and returns how much of raw it took: at the end
// of the file all, else all but a unit or pair that is cut. An odd byte at the end becomes U+FFFD.
func (e Encoding) decode(text, raw []byte, eof bool) ([]byte, int) {
	if e == Windows1252 {
		for _, c := range raw {
			text = utf8.AppendRune(text, windows1252(c))
		}
		return text, len(raw)
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if e == UTF16BE {
		order = binary.BigEndian
	}
	i := 0
	for ; i+2 <= len(raw); i += 2 {
		r := rune(order.Uint16(raw[i:]))
		if utf16.IsSurrogate(r) {
			if i+4 > len(raw) && !eof {
				return text, i
			}
			pair := rune(utf8.RuneError)
			if i+4 <= len(raw) {
				pair = utf16.DecodeRune(r, rune(order.Uint16(raw[i+2:])))
			}
			if r = pair; r != utf8.RuneError {
				i += 2
			}
		}
		text = utf8.AppendRune(text, r)
	}
	if eof && i < len(raw) {
		text, i = utf8.AppendRune(text, utf8.RuneError), len(raw)
	}
	return text, i
}

// windows1252 decodes a byte as the web does: the five that have no character are controls.
func windows1252(c byte) rune {
	if c < 0x80 || c >= 0xA0 {
		return rune(c)
	}
	return [32]rune{
		'€', 0x81, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0x8D, 'Ž', 0x8F,
		0x90, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0x9D, 'ž', 'Ÿ',
	}[c-0x80]
}

var (
	markUTF8    = []byte("\xef\xbb\xbf")
	markUTF16LE = []byte("\xff\xfe")
	markUTF16BE = []byte("\xfe\xff")
)

// startEncoding tells the encoding from a file's first bytes; ASCII where they leave it open.
func startEncoding(raw []byte) Encoding {
	switch {
	case bytes.HasPrefix(raw, markUTF8):
		return UTF8
	case bytes.HasPrefix(raw, markUTF16LE):
		return UTF16LE
	case bytes.HasPrefix(raw, markUTF16BE):
		return UTF16BE
	}
	// In UTF-16 delimiters, digits and line ends have a zero, always on the same side.
	raw = raw[:min(len(raw), 4<<10)&^1]
	var zeros [2]int
	var ends [2]bool // a line ends so that the zero is on this side
	for i := 0; i < len(raw); i += 2 {
		a, b := raw[i], raw[i+1]
		if a == 0 {
			zeros[0]++
		}
		if b == 0 {
			zeros[1]++
		}
		ends[0] = ends[0] || a == 0 && (b == '\n' || b == '\r')
		ends[1] = ends[1] || b == 0 && (a == '\n' || a == '\r')
	}
	switch {
	case max(zeros[0], zeros[1]) <= len(raw)/16:
	case zeros[0] == 0 && ends[1]:
		return UTF16LE
	case zeros[1] == 0 && ends[0]:
		return UTF16BE
	}
	return ASCII
}

const (
	// manyHighBytes is from how many on they must make sense as letters of a Western language.
	manyHighBytes = 8
	// maxControls is the share of control bytes, one in so many, that text has at most.
	maxControls = 50
)

// laterEncoding decides by text, which begins with the first byte that is not ASCII. Text of
// which most other bytes are UTF-8 is taken for UTF-8, since a few may be damaged. False: it is
// no text that is known.
func laterEncoding(text []byte) (Encoding, bool) {
	valid, invalid, letters, controls := 0, 0, 0, 0
	for rest := text; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		switch {
		case n > 1:
			valid++
		case r == utf8.RuneError && len(rest) >= utf8.UTFMax: // else it may be cut
			invalid++
			if isControl(windows1252(rest[0])) {
				controls++
			}
		case r == utf8.RuneError:
			invalid++
		case isControl(r):
			controls++
		case lower(byte(r))-'a' < 26:
			letters++
		}
		rest = rest[n:]
	}
	switch {
	case valid >= invalid:
		return UTF8, true
	case controls > len(text)/maxControls, invalid > manyHighBytes && invalid > letters:
		return ASCII, false
	}
	return Windows1252, true
}

func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != '\f' && r != 0x1A || r >= 0x7F && r < 0xA0
}

// firstHigh is the index of the first byte that is not ASCII, or -1.
func firstHigh(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:])&highs != 0 {
			break
		}
	}
	for ; i < len(b); i++ {
		if b[i] >= 0x80 {
			return i
		}
	}
	return -1
}

var replacement = []byte("\uFFFD")

// damaged reports whether text has bytes that are no UTF-8, or the character that was put in the
// place of some.
func damaged(text []byte) bool {
	return !utf8.Valid(text) || bytes.Contains(text, replacement)
}
