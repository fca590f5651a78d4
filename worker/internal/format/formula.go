package format

import (
	"unicode"
	"unicode/utf8"
)

// runs reports whether a spreadsheet may run the text of a CSV cell as a formula. The list of first
// characters is that of OWASP's "CSV Injection", with the full-width signs that Excel takes for the plain
// ones in Japanese and Chinese.
func runs(text []byte) bool {
	// Most texts begin with a letter or a digit.
	switch c := text[0]; {
	case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		return false
	case c == '\t', c == '\r', c == '\n':
		return true
	}
	for rest := text; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == '=' || r == '@' || r == '＝' || r == '＋' || r == '－' || r == '＠':
			return true
		case r == '+' || r == '-':
			return !harmless(rest[1:])
		case r == '\'' || r == '"' || unicode.IsSpace(r) || unicode.Is(unicode.C, r):
			rest = rest[n:]
		default:
			return false
		}
	}
	return false
}

// harmless reports whether what follows a sign makes a number of it, or nothing does: digits, points and
// commas, with an exponent or a percent sign.
func harmless(text []byte) bool {
	digits := 0
	for i, c := range text {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case (c == 'e' || c == 'E') && digits > 0:
			exponent := text[i+1:]
			if len(exponent) > 0 && (exponent[0] == '+' || exponent[0] == '-') {
				exponent = exponent[1:]
			}
			return isDigits(exponent)
		case c == '%':
			return digits > 0 && i == len(text)-1
		case c != '.' && c != ',':
			return false
		}
	}
	return digits > 0 || len(text) == 0
}
