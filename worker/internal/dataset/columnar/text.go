package columnar

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"unicode/utf8"
)

func appendUUID(dst []byte, v *value) []byte {
	dst = append(dst, '"')
	for i, end := range []int{4, 6, 8, 10, 16} {
		from := []int{0, 4, 6, 8, 10}[i]
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, v.b[from:end])
	}
	return append(dst, '"')
}

// appendBytes appends bytes of which nothing says whether they are text: as text if they are, without control
// characters but tabs and line ends, and as hexadecimal digits behind \x if they are not, or begin with \x.
func appendBytes(dst, b []byte) []byte {
	if !utf8.Valid(b) || bytes.HasPrefix(b, []byte(`\x`)) || bytes.ContainsFunc(b, isControl) {
		return appendHex(dst, b)
	}
	return appendString(dst, b)
}

func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7F
}

func appendHex(dst, b []byte) []byte {
	return append(hex.AppendEncode(append(dst, `"\\x`...), b), '"')
}

// maxJSONDepth is from how deep on JSON stays text. Readers of JSON end somewhere.
const maxJSONDepth = 500

// appendJSON appends JSON as it is, on one line, and anything else as text.
func appendJSON(dst, b []byte) []byte {
	if !json.Valid(b) || !utf8.Valid(b) || depthOf(b) > maxJSONDepth {
		return appendString(dst, b)
	}
	from := len(dst)
	dst = append(dst, bytes.TrimSpace(b)...)
	for i := from; i < len(dst); i++ {
		// Within strings line ends are escaped.
		if dst[i] == '\n' || dst[i] == '\r' {
			dst[i] = ' '
		}
	}
	return dst
}

// depthOf is how deep valid JSON is.
func depthOf(b []byte) int {
	depth, most, quoted := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '{' || c == '[':
			depth++
			most = max(most, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return most
}

const hexDigits = "0123456789abcdef"

// appendString appends text as a string of JSON, with U+FFFD for each byte that is no UTF-8. It ends early behind
// maxRowBytes, which no row may have.
func appendString(dst, text []byte) []byte {
	most := len(dst) + maxRowBytes
	dst = append(dst, '"')
	valid, from := utf8.Valid(text), 0
	for i := 0; i < len(text) && len(dst) <= most; {
		c, n := text[i], 1
		if c >= 0x80 && !valid {
			var r rune
			if r, n = utf8.DecodeRune(text[i:]); r == utf8.RuneError && n == 1 {
				dst = utf8.AppendRune(append(dst, text[from:i]...), r)
				from = i + 1
			}
		} else if c < ' ' || c == '"' || c == '\\' {
			dst = appendEscape(append(dst, text[from:i]...), c)
			from = i + 1
		}
		i += n
	}
	return append(append(dst, text[from:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	if at := bytes.IndexByte([]byte("\b\t\n\f\r\"\\"), c); at >= 0 {
		return append(dst, '\\', `btnfr"\`[at])
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
