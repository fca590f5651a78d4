package workbook

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// appendText appends a text of a cell as a field of a CSV. room is for the text without Excel's escapes.
func appendText(dst, text, room []byte) (_, _ []byte, err error) {
	if !utf8.Valid(text) {
		return dst, room, errXML
	}
	if bytes.Contains(text, []byte("_x")) {
		room = appendUnescaped(room[:0], text)
		text = room
	}
	return appendField(dst, text), room, nil
}

// appendField quotes a field where RFC 4180 asks for it, and where it would begin a file with a byte-order mark.
func appendField(dst, text []byte) []byte {
	if !bytes.ContainsAny(text, ",\"\r\n") && !bytes.HasPrefix(text, []byte(mark)) {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for {
		i := bytes.IndexByte(text, '"')
		if i < 0 {
			return append(append(dst, text...), '"')
		}
		dst = append(append(dst, text[:i+1]...), '"')
		text = text[i+1:]
	}
}

// appendUnescaped appends a text without the escapes _x000D_, which stand for a UTF-16 code unit (ECMA-376 part 1,
// 22.9.2.19). Half a pair of surrogates becomes U+FFFD, and so does a zero, by which readers of text tell files that
// are none.
func appendUnescaped(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		unit, ok := escaped(text[i:])
		if !ok {
			dst = append(dst, text[i])
			i++
			continue
		}
		i += 7
		if utf16.IsSurrogate(unit) {
			low, _ := escaped(text[i:])
			if unit = utf16.DecodeRune(unit, low); unit != utf8.RuneError {
				i += 7
			}
		}
		if unit == 0 {
			unit = utf8.RuneError
		}
		dst = utf8.AppendRune(dst, unit)
	}
	return dst
}

// escaped reads an escape at the start of text.
func escaped(text []byte) (rune, bool) {
	if len(text) < 7 || text[0] != '_' || text[1] != 'x' || text[6] != '_' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(unit), err == nil
}
