package workbook

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

func TestDamagedWorkbooksAreRefused(t *testing.T) {
	t.Parallel()
	const ok = `<row><c t="s"><v>0</v></c></row>`
	for _, tt := range []struct{ name, rows, want string }{
		{"rows out of order", `<row r="2"/><row r="2"/>`, "out of order"},
		{"cells out of order", `<row><c r="B1"/><c r="A1"/></row>`, "out of order"},
		{"a cell of another row", `<row r="3"><c r="B1"/></row>`, "out of order"},
		{"no reference", `<row><c r="1"/></row>`, "out of order"},
		{"no row number", `<row r="x"/>`, "out of order"},
		{"a row too many", `<row r="1048577"/>`, "number 1048576"},
		{"a row after the last", `<row r="1048576"/><row/>`, "number 1048576"},
		{"a column too many", `<row><c r="XFE1"><v>1</v></c></row>`, "number 16384"},
		{"a column after the last", `<row><c r="XFD1"/><c/></row>`, "number 16384"},
		{"a long reference", `<row><c r="AAAAAAAAAAAAAAAAAA1"/></row>`, "out of order"},
		{"a text that is not there", `<row><c t="s"><v>4</v></c></row>`, "not there"},
		{"a text before the first", `<row><c t="s"><v>-1</v></c></row>`, "not there"},
		{"a text that is no number", `<row><c t="s"><v>x</v></c></row>`, "not there"},
		{"a type of its own", `<row><c t="x"><v>1</v></c></row>`, "of a type"},
		{"a long text", `<row><c t="str"><v>` + strings.Repeat("x", maxTextBytes+1) + `</v></c></row>`, "1 MiB"},
		{"a long tag", `<row x="` + strings.Repeat("x", maxTagBytes+1) + `"/>`, "2 MiB"},
		{"deep elements", strings.Repeat(`<a>`, maxDepth) + strings.Repeat(`</a>`, maxDepth), "64 deep"},
		{"no UTF-8", "<row><c t=\"str\"><v>\xff</v></c></row>", "no XML"},
		{"an entity", `<row><c t="str"><v>&x;</v></c></row>`, "no XML"},
		{"a tag that is none", `<row><c t=str><v>1</v></c></row>`, "no XML"},
		{"many attributes", `<row ` + strings.Repeat(`a="" `, maxAttrs+1) + `/>`, "1024 attributes"},
		{"an element that does not end", `<row><c>`, "too early"},
		{"an end too many", `</x></x></x></x>`, "no XML"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			refused(t, bookOf(tt.rows).zip(t), tt.want)
		})
	}
	for _, tt := range []struct{ part, content, want string }{
		{"_rels/.rels", "", "no Excel workbook"},
		{"_rels/.rels", relations(relation("a", "officeDocument", "word/document.xml")), "no Excel workbook"},
		{"_rels/.rels", relations(relation("a", "officeDocument", "xl/workbook.bin")), "XLSB"},
		{"_rels/.rels", `<x/>`, "no Excel workbook"},
		{bookPart, `<document/>`, "no Excel workbook"},
		{bookPart, head, "no Excel workbook"},
		{bookRels, "", "no Excel workbook"},
		{sheet1, `<chartsheet/>`, "no XML"},
		{sheet1, `<!DOCTYPE x [<!ENTITY a "b">]><worksheet/>`, "no XML"},
		{sheet1, `<?xml version="1.0" encoding="UTF-16"?><worksheet/>`, "no text in UTF-8"},
		{sheet1, "\xff\xfe<\x00", "no XML"},
		{sheet1, `<worksheet><sheetData><row><c><v>1</v></c></row>`, "too early"},
		{sheet1, `<worksheet/><!-- `, "too early"},
		{"xl/styles.xml", `<x/>`, "no XML"},
		{"xl/styles.xml", `<styleSheet><cellXfs>` + strings.Repeat(`<xf/>`, maxStyles+1), "65536 cell formats"},
		{"xl/styles.xml", `<styleSheet><numFmts>` + formats(maxFormats+1), "16384 number formats"},
		{"xl/styles.xml", strings.Repeat(" ", maxPartBytes+1), "32 MiB"},
		{"xl/sharedStrings.xml", `<x/>`, "no XML"},
		{"xl/sharedStrings.xml", `<sst><si><t>` + strings.Repeat("x", maxTextBytes+1), "1 MiB"},
	} {
		t.Run(tt.part+" "+tt.content[:min(30, len(tt.content))], func(t *testing.T) {
			t.Parallel()
			refused(t, bookOf(ok).with(tt.part, tt.content).zip(t), tt.want)
		})
	}
}

func formats(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`<numFmt numFmtId="` + strconv.Itoa(i) + `"/>`)
	}
	return b.String()
}

func TestDamagedArchivesAreRefused(t *testing.T) {
	t.Parallel()
	good := bookOf(`<row><c><v>1</v></c></row>`).zip(t)
	entry := bytes.Index(good, []byte("PK\x01\x02"))
	last := len(good) - endBytes
	change := func(do func(b []byte) []byte) []byte { return do(bytes.Clone(good)) }
	wide := bookOf(``)
	for i := range maxEntries {
		wide["x"+strconv.Itoa(i)] = ""
	}
	twice := bookOf(``)
	twice["XL/workbook.xml"] = "<workbook/>"
	named := bookOf(``)
	for i := range 9 {
		named[strings.Repeat("x", maxNames/9+i)] = ""
	}
	stored := parts{"_rels/.rels": "x"}.zip(t)
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"nothing", nil, "cut off"},
		{"a comment", append(bytes.Clone(good), 'x'), "end with its directory"},
		{"a large directory", change(func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[last+12:], maxDirectory+1)
			return b
		}), "2 MiB"},
		{"many parts", wide.zip(t), "10000 parts"},
		{"many parts, by its own count", change(func(b []byte) []byte {
			binary.LittleEndian.PutUint16(b[last+10:], maxEntries+1)
			return b
		}), "10000 parts"},
		{"many parts, by its own count of 64 bits", zip64(good, 1<<20, 0), "10000 parts"},
		{"a large directory of 64 bits", zip64(good, 7, maxDirectory), "2 MiB"},
		{"a directory of 64 bits elsewhere", change(func(b []byte) []byte {
			b = zip64(b, 7, 0)
			b[len(b)-endBytes-locatorBytes+8]++
			return b
		}), "directory of this workbook is damaged"},
		{"long names", named.zip(t), "512 KiB together"},
		{"a directory elsewhere", change(func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[last+12:], uint32(last+1))
			return b
		}), "directory of this workbook is damaged"},
		{"a part twice", twice.zip(t), "same name"},
		{"encrypted", change(func(b []byte) []byte {
			b[entry+8] |= 1
			return b
		}), "encrypted"},
		{"another method", change(func(b []byte) []byte {
			b[entry+10] = 12
			return b
		}), "method (12)"},
		{"no header", change(func(b []byte) []byte {
			b[0] = 'x'
			return b
		}), "cannot be unpacked"},
		{"no workbook", stored, "no Excel workbook"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			refused(t, tt.file, tt.want)
		})
	}
}

// zip64 makes an archive's end one of 64 bits, with a count of parts, and more bytes of directory than there are.
func zip64(file []byte, count, more uint64) []byte {
	last := len(file) - endBytes
	old := file[last:]
	b := append(bytes.Clone(file[:last]), "PK\x06\x06"...)
	b = binary.LittleEndian.AppendUint64(b, end64Bytes-12)
	b = append(b, make([]byte, 12)...) // versions, and the disks
	b = binary.LittleEndian.AppendUint64(b, count)
	b = binary.LittleEndian.AppendUint64(b, count)
	b = binary.LittleEndian.AppendUint64(b, uint64(binary.LittleEndian.Uint32(old[12:]))+more)
	b = binary.LittleEndian.AppendUint64(b, uint64(binary.LittleEndian.Uint32(old[16:])))
	b = append(b, "PK\x06\x07\x00\x00\x00\x00"...)
	b = binary.LittleEndian.AppendUint64(b, uint64(last))
	b = append(b, 1, 0, 0, 0)
	b = append(b, "PK\x05\x06\x00\x00\x00\x00"...)
	return append(append(b, bytes.Repeat([]byte{0xFF}, 12)...), 0, 0)
}

// An archive whose end of 32 bits refers to that of 64 bits alone.
func TestArchivesOf64BitsAreRead(t *testing.T) {
	t.Parallel()
	p := bookOf(`<row><c><v>1</v></c></row>`)
	if got, err := read(t, zip64(p.zip(t), uint64(len(p)), 0)); err != nil || got != "1\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// A checksum that is wrong is found at the end of the sheet, before io.EOF.
func TestChecksumIsVerified(t *testing.T) {
	t.Parallel()
	file := bookOf(`<row><c><v>1</v></c></row>`).zip(t)
	at := bytes.LastIndex(file, []byte(sheet1)) - 46
	file[at+16]++
	text, err := read(t, file)
	if !errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("%q, %v", text, err)
	}
}

// reads is a workbook in a store, which counts reads and fails from one of them on.
type reads struct {
	*bytes.Reader
	n, small, fails int
}

var errStore = errors.New("the store is away")

func (r *reads) ReadAt(p []byte, at int64) (int, error) {
	if r.n++; r.n == r.fails {
		return 0, errStore
	}
	if len(p) < 64<<10 && at+int64(len(p)) < r.Size() {
		r.small++
	}
	return r.Reader.ReadAt(p, at)
}

// noise is a sheet that does not compress well.
func noise(n int) string {
	var b strings.Builder
	for i := range n {
		x := uint64(i+1) * 0x9E3779B97F4A7C15
		b.WriteString(`<row><c><v>` + strconv.FormatUint(x, 10) + `</v></c><c t="str"><v>` + strconv.FormatUint(x*x, 36) + `</v></c></row>`)
	}
	return b.String()
}

func TestReadsAreFewAndTheirErrorsStayThemselves(t *testing.T) {
	t.Parallel()
	file := bookOf(noise(20_000)).zip(t)
	want, err := read(t, file)
	if err != nil {
		t.Fatal(err)
	}
	whole := &reads{Reader: bytes.NewReader(file)}
	for fails := 1; ; fails++ {
		store := &reads{Reader: bytes.NewReader(file), fails: fails}
		r, err := Open(t.Context(), store, int64(len(file)), false)
		if err == nil {
			_, err = io.ReadAll(r)
			if _, again := r.Read(make([]byte, 1)); err != nil && !errors.Is(again, errStore) {
				t.Errorf("after %v another Read has %v", err, again)
			}
			if closed := r.Close(); closed != nil {
				t.Error(closed)
			}
		}
		if store.n < fails {
			whole = store
			break
		}
		if !errors.Is(err, errStore) || errors.Is(err, table.ErrRefused) {
			t.Errorf("read %d fails, and the error is %v", fails, err)
		}
	}
	if most := len(file)/windowBytes + 8; whole.n > most || whole.small > 0 {
		t.Errorf("%d reads of %d bytes, want at most %d; %d are small", whole.n, len(file), most, whole.small)
	}
	// A store that has less than it says is no damaged workbook.
	if _, err := Open(t.Context(), bytes.NewReader(file[:10]), int64(len(file)), false); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, table.ErrRefused) {
		t.Errorf("a short store: %v", err)
	}
	// However it is read, the text is the same, and Consumed grows.
	r, err := Open(t.Context(), bytes.NewReader(file), int64(len(file)), false)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	last := int64(0)
	for p, n := make([]byte, 999), 0; err == nil; {
		n, err = r.Read(p)
		got.Write(p[:n])
		if c := r.Consumed(); c < last || c > int64(len(file)) {
			t.Fatalf("consumed %d after %d of %d", c, last, len(file))
		} else {
			last = c
		}
	}
	if !errors.Is(err, io.EOF) || got.String() != want || last != int64(len(file)) {
		t.Errorf("in pieces it reads %d bytes of %d to %v, consumed %d", got.Len(), len(want), err, last)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestContextEndsReads(t *testing.T) {
	t.Parallel()
	cause := errors.New("the job was cancelled")
	// 1 MiB that are unpacked without a read of the workbook, and have no value.
	file := bookOf(strings.Repeat(" ", 1<<20)).zip(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	r, err := Open(ctx, bytes.NewReader(file), int64(len(file)), false)
	if err != nil {
		t.Fatal(err)
	}
	cancel(cause)
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, cause) || errors.Is(err, table.ErrRefused) {
		t.Errorf("Read: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(ctx, bytes.NewReader(file), int64(len(file)), false); !errors.Is(err, cause) {
		t.Errorf("Open: %v", err)
	}
}

// Whatever is in a workbook, memory has its bound. TotalAlloc counts more than is ever held.
func TestMemoryIsBounded(t *testing.T) {
	const most = 32 << 20
	var texts, cells strings.Builder
	pad := strings.Repeat("x", 1000)
	for i := range 30_000 {
		texts.WriteString("<si><t>" + pad + strconv.Itoa(i) + "</t></si>")
	}
	for i := range 3000 {
		cells.WriteString(`<row><c t="s"><v>` + strconv.Itoa(i*7919%30_000) + `</v></c></row>`)
	}
	var list, rels strings.Builder
	for i := range maxSheets {
		id := strings.Repeat("x", 1000) + strconv.Itoa(i)
		list.WriteString(`<sheet r:id="` + id + `"/>`)
		rels.WriteString(relation(id, "worksheet", id))
	}
	worst := bookOf(``).with(bookPart, `<workbook><sheets>`+list.String()+`</sheets></workbook>`).
		with(bookRels, relations(rels.String(), relation("x", strings.Repeat("x", maxTagBytes/2+1), "")))
	for i := range maxEntries - 10 {
		worst[strings.Repeat("x", 40)+strconv.Itoa(i)] = ""
	}
	for _, tt := range []struct {
		name string
		p    parts
		fine bool
	}{
		{"shared texts", bookOf(cells.String()).with("xl/sharedStrings.xml", "<sst>"+texts.String()+"</sst>"), true},
		{"a long text", bookOf(`<row><c t="str"><v>` + strings.Repeat("x", 16<<20)), false},
		{"a long attribute", bookOf(`<row x="` + strings.Repeat("x", 16<<20)), false},
		{"many attributes", bookOf(`<row ` + strings.Repeat(`a="" `, 16<<20/5)), false},
		{"a long comment", bookOf(`<!-- ` + strings.Repeat("x", 16<<20) + `-->`), true},
		{"long names", bookOf(``).with(bookPart, `<workbook><sheets>`+strings.Repeat(`<sheet r:id="`+strings.Repeat("x", 1000)+`"/>`, maxSheets)+`</sheets></workbook>`), false},
		{"long types", bookOf(``).with(bookRels, relations(strings.Repeat(relation("rId1", strings.Repeat("x", maxTagBytes/2)+"/worksheet", ""), 30))), false},
		{"long relationships of many parts", worst, false},
		{"a jump", bookOf(`<row/><row r="1048576"><c><v>1</v></c></row>`), true},
	} {
		file := tt.p.zip(t)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		r, err := Open(t.Context(), bytes.NewReader(file), int64(len(file)), false)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			err = errors.Join(err, r.Close())
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > most || (err == nil) != tt.fine {
			t.Errorf("%s: %d MiB, %v", tt.name, n>>20, err)
		} else {
			t.Logf("%s: %d KiB", tt.name, n>>10)
		}
	}
}

func TestTemporaryFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for _, p := range []parts{bookOf(``), bookOf(``).with("xl/sharedStrings.xml", `<sst><si/>`), bookOf(``).with(sheet1, `<x/>`)} {
		_, _ = read(t, p.zip(t))
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%v are left, %v", left, err)
		}
	}
	t.Setenv("TMPDIR", dir+"/none")
	if _, err := read(t, bookOf(``).zip(t)); !errors.Is(err, os.ErrNotExist) || errors.Is(err, table.ErrRefused) {
		t.Errorf("without a folder: %v", err)
	}
}

// Entries that are stored and archives with large directories are read as well.
func TestOtherArchives(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range bookOf(`<row><c><v>1</v></c></row>`) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 9_000 {
		if _, err := z.CreateHeader(&zip.FileHeader{Name: "xl/media/" + strings.Repeat("x", 40) + strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, b.Bytes()); err != nil || got != "1\n" {
		t.Errorf("%q, %v", got, err)
	}
	// Nothing of the directory stays but what is needed.
	r, err := Open(t.Context(), bytes.NewReader(b.Bytes()), int64(b.Len()), false)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.a.files) > 3 || cap(r.a.window) > windowBytes {
		t.Errorf("%d parts are kept, and a window of %d bytes", len(r.a.files), cap(r.a.window))
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
