package table

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// What to do with a file that is no table of text.
const (
	saveSheet = "Save the sheet as CSV, and take that"
	unpack    = "Unpack it, and take the CSV or NDJSON file that is in it"
	export    = "Export its rows as CSV or NDJSON, and take that"
	onlyText  = "CSV, NDJSON, Excel (.xlsx) and Parquet files can be read"
	saveUTF8  = "Save it as UTF-8, and take that"
)

const (
	zipHead  = "PK\x03\x04"
	workbook = "an Excel workbook"
	archive  = "a zip archive"
)

// contents are the first bytes of what people have in place of a table of text, what it is and
// what to do. Prefixes that text could begin with are for files with bytes that no text has.
var contents = []struct{ prefix, what, advice string }{
	{"PAR1", "a Parquet file", export},
	{"SQLite format 3\x00", "an SQLite database", export},
	{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook or another Office document of the old kind", saveSheet},
	{"\x1f\x8b", "compressed with gzip", unpack},
	{"(\xb5/\xfd", "compressed with Zstandard", unpack},
	{"BZh", "compressed with bzip2", unpack},
	{"\xfd7zXZ\x00", "compressed with xz", unpack},
	{"\x04\"M\x18", "compressed with LZ4", unpack},
	{"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", unpack},
	{"Rar!\x1a\x07", "a RAR archive", unpack},
	{"Obj\x01", "an Avro file", export},
	{"ORC", "an ORC file", export},
	{"ARROW1", "an Arrow file", export},
	{"FEA1", "a Feather file", export},
	{"\x89HDF\r\n\x1a\n", "an HDF5 file", export},
	{"$FL2", "an SPSS file", export},
	{"\x7fELF", "a program", onlyText},
	{"MZ", "a program", onlyText},
	{"%PDF-", "a PDF document", "A table in it has to be copied into a sheet and saved as CSV"},
	{"{\\rtf", "an RTF document", onlyText},
	{"\x00\x00\xfe\xff", "text in UTF-32", saveUTF8},
	{"\xff\xfe\x00\x00", "text in UTF-32", saveUTF8},
}

// textual are those of contents that also text may begin with.
func textual(prefix string) bool { return len(prefix) <= 3 || prefix == "PAR1" || prefix == "FEA1" }

// kinds are content types that are too many to list.
var kinds = []struct{ prefix, what string }{
	{"image/", "an image"}, {"audio/", "a sound file"}, {"video/", "a video"}, {"font/", "a font"},
}

// Look refuses a file whose first bytes show that it is no table of text; head is what there is of
// its first 4 KiB or more, and name, which may be empty, tells Office's formats apart. Nil means
// that it may be one.
func Look(name string, head []byte) error {
	if len(head) == 0 {
		return Refuse("This file is empty.")
	}
	for _, c := range contents {
		if bytes.HasPrefix(head, []byte(c.prefix)) && (!textual(c.prefix) || !printable(head)) {
			return Refuse("This is %s. %s.", c.what, c.advice)
		}
	}
	if bytes.HasPrefix(head, []byte(zipHead)) {
		what, advice := zipped(name, head)
		return Refuse("This is %s. %s.", what, advice)
	}
	if len(head) > 262 && string(head[257:262]) == "ustar" {
		return Refuse("This is a tar archive. %s.", unpack)
	}
	text := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(head[:min(len(head), 512)], markUTF8), " \t\r\n"))
	switch {
	case bytes.HasPrefix(text, []byte("<!doctype html")), bytes.HasPrefix(text, []byte("<html")):
		return Refuse("This is an HTML page. If it should be a table, download it again: a server may have sent its sign-in page in its place.")
	case bytes.HasPrefix(text, []byte("<?xml")):
		return Refuse("This is XML. %s.", export)
	}
	// A column may be called BMI, and an image may begin with BM.
	if kind := http.DetectContentType(head); !printable(head) {
		for _, k := range kinds {
			if strings.HasPrefix(kind, k.prefix) {
				return Refuse("This is %s. %s.", k.what, onlyText)
			}
		}
	}
	if i := bytes.IndexByte(head, 0); i >= 0 && startEncoding(head) == ASCII {
		return zeroByte(int64(i))
	}
	return nil
}

func zeroByte(at int64) error {
	return Refuse("This is binary data and no text: there is a zero byte at offset %d. %s.", at, onlyText)
}

// Zip tells of a file that begins with head whether it is a workbook of Excel's, or a zip archive of no kind of its own, which
// documents of Office are not.
func Zip(head []byte) (book, plain bool) {
	if !bytes.HasPrefix(head, []byte(zipHead)) {
		return false, bytes.HasPrefix(head, []byte("PK\x05\x06")) // an archive of nothing
	}
	what, _ := zipped("", head)
	return what == workbook, what == archive
}

// Parquet reports whether a file that begins with head is one of Parquet.
func Parquet(head []byte) bool {
	return bytes.HasPrefix(head, []byte("PAR1")) && !printable(head)
}

// zipped tells what lies in a zip archive from its first entries, else from its name.
func zipped(name string, head []byte) (what, advice string) {
	names := entries(head)
	has := func(prefix string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, prefix) })
	}
	ext := strings.ToLower(path.Ext(name))
	switch {
	case has("mimetypeapplication/vnd.oasis.opendocument.spreadsheet"), ext == ".ods":
		return "an OpenDocument sheet", saveSheet
	case has("word/"), ext == ".docx":
		return "a Word document", onlyText
	case has("ppt/"), ext == ".pptx":
		return "a PowerPoint presentation", onlyText
	case has("[Content_Types].xml"), has("xl/"), strings.HasPrefix(ext, ".xls"):
		return workbook, saveSheet
	case has("Index/Document.iwa"), ext == ".numbers":
		return "a Numbers sheet", saveSheet
	}
	return archive, unpack
}

// entries are the names of the entries that begin in head (PKWARE's APPNOTE, 4.3.7), and with that of an entry
// called mimetype what it has: so OpenDocument files name themselves. What lies within an entry is passed over
// where its size is known.
func entries(head []byte) (names []string) {
	const fixed = 30
	for {
		i := bytes.Index(head, []byte(zipHead))
		if i < 0 || len(head)-i < fixed {
			return names
		}
		head = head[i:]
		size := int64(binary.LittleEndian.Uint32(head[18:]))
		if size == math.MaxUint32 {
			size = 0 // it is elsewhere
		}
		n, extra := int(binary.LittleEndian.Uint16(head[26:])), int64(binary.LittleEndian.Uint16(head[28:]))
		name := head[fixed:min(fixed+n, len(head))]
		if string(name) == "mimetype" {
			name = head[fixed:min(fixed+n+100, len(head))]
		}
		names = append(names, string(name))
		head = head[min(fixed+int64(n)+extra+size, int64(len(head))):]
	}
}

// printable: the first bytes are text.
func printable(head []byte) bool {
	head = head[:min(len(head), 64)]
	for len(head) > 0 {
		r, n := utf8.DecodeRune(head)
		if r == utf8.RuneError && n == 1 && len(head) >= utf8.UTFMax || isControl(r) {
			return false
		}
		head = head[n:]
	}
	return true
}
