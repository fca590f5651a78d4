package analysis

import (
	"bytes"
	"fmt"
	"net/http"
	"path"
	"strings"
	"unicode/utf8"
)

// allowed ends every refusal of a file.
const allowed = "allowed are CSV (comma, semicolon, tab or pipe) and NDJSON (one JSON object a line), both as UTF-8 text"

// signatures are first bytes of what people upload in place of a CSV, beyond
// what net/http knows.
var signatures = []struct{ prefix, what string }{
	{"PAR1", "a Parquet file"},
	{"SQLite format 3\x00", "a SQLite database"},
	{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file (OLE)"},
	{"(\xb5/\xfd", "Zstandard-compressed data"},
	{"BZh", "bzip2-compressed data"},
	{"\xfd7zXZ\x00", "xz-compressed data"},
	{"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"},
	{"Obj\x01", "an Avro file"},
	{"ORC", "an ORC file"},
	{"ARROW1", "an Arrow file"},
	{"\x7fELF", "a program"},
	{"MZ\x90", "a program"},
	{"\xff\xfe", "UTF-16 text; convert it to UTF-8"},
	{"\xfe\xff", "UTF-16 text; convert it to UTF-8"},
}

// looksLike names binary content, or returns "".
func looksLike(head []byte) string {
	for _, s := range signatures {
		if bytes.HasPrefix(head, []byte(s.prefix)) && (len(s.prefix) > 3 || !printable(head)) {
			return s.what
		}
	}
	if bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		switch {
		case bytes.Contains(head, []byte("[Content_Types].xml")), bytes.Contains(head, []byte("xl/")):
			return "an Excel workbook (xlsx) or another Office document; export the sheet as CSV"
		}
		return "a zip archive; unpack it first"
	}
	switch kind, _, _ := strings.Cut(http.DetectContentType(head), ";"); {
	case kind == "application/octet-stream", strings.HasPrefix(kind, "text/"):
		return ""
	case kind == "application/x-gzip":
		return "gzip-compressed data; unpack it first"
	default:
		return kind
	}
}

func printable(head []byte) bool {
	return utf8.Valid(head[:min(len(head), 16)]) && bytes.IndexByte(head, 0) < 0
}

func notText(what string) error {
	return fmt.Errorf("%w: it looks like %s; %s", ErrInput, what, allowed)
}

// maxInvalid is the share of bytes, one in so many, that may be no UTF-8: text
// in an older encoding has a few, compressed data mostly such.
const maxInvalid = 10

// checkText refuses what is no text; head has no byte-order mark.
func checkText(head []byte) error {
	if what := looksLike(head); what != "" {
		return notText(what)
	}
	invalid := 0
	for rest := head; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			invalid++
		}
		rest = rest[n:]
	}
	if invalid > utf8.UTFMax && invalid > len(head)/maxInvalid {
		return fmt.Errorf("%w: %d of the first %d bytes are no UTF-8 text; %s", ErrInput, invalid, len(head), allowed)
	}
	return nil
}

const (
	formatCSV    = "csv"
	formatNDJSON = "ndjson"
)

// detectFormat decides by the file's name, else by its first character.
func detectFormat(name string, head []byte) (string, error) {
	switch strings.ToLower(path.Ext(name)) {
	case ".csv", ".tsv", ".tab", ".psv":
		return formatCSV, nil
	case ".ndjson", ".jsonl", ".ldjson":
		return formatNDJSON, nil
	}
	text := bytes.TrimLeft(head, " \t\r\n")
	switch {
	case bytes.HasPrefix(text, []byte("{")):
		return formatNDJSON, nil
	case bytes.HasPrefix(text, []byte("[")) && bytes.HasPrefix(bytes.TrimLeft(text[1:], " \t\r\n"), []byte("{")):
		return "", fmt.Errorf("%w: it looks like one JSON array; write its objects one a line (jq -c '.[]'); %s", ErrInput, allowed)
	case strings.HasPrefix(http.DetectContentType(head), "text/html"):
		return "", notText("an HTML page")
	case strings.HasPrefix(http.DetectContentType(head), "text/xml"):
		return "", notText("XML")
	}
	return formatCSV, nil
}
