package analysis

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/worker/internal/format"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// profileOf runs an analysis of a file that is stopped at each second checkpoint, until it is done.
func profileOf(t *testing.T, file []byte) *Profile {
	t.Helper()
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { checkClose(t, bucket) })
	p := put(t, bucket, "uploads/f", file)
	p.Name = ""
	j := &job{t: t, every: 2}
	for {
		ctx, cancel := context.WithCancelCause(t.Context())
		j.stop, j.stopAfter = func() { cancel(errStopped) }, j.count+2
		err := Run(ctx, j, "0701JD", bucket, p, Options{})
		cancel(nil)
		if errors.Is(err, errStopped) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		read := j.progress[StageRead]
		if last := read[len(read)-1]; last[0] != int64(len(file)) || last[1] != last[0] {
			t.Errorf("the last progress is %v of %d bytes", last, len(file))
		}
		out := new(Profile)
		if err := json.Unmarshal(j.files[ProfileName], out); err != nil {
			t.Fatal(err)
		}
		return out
	}
}

var errStopped = errors.New("stopped")

// A sheet is the table of TestProfileAgreesWithSQLite as a workbook.
type sheet struct {
	bytes.Buffer
	w format.Writer
}

func newSheet(t *testing.T) *sheet {
	t.Helper()
	s := new(sheet)
	var err error
	if s.w, err = format.New(s, []rows.Column{
		{Name: "big", Kind: rows.Int},
		{Name: "small", Kind: rows.Int},
		{Name: "price", Kind: rows.Decimal},
		{Name: "long", Kind: rows.Decimal},
		{Name: "word", Kind: rows.Text},
	}, format.Options{Format: format.XLSX}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *sheet) write(t *testing.T, row [5]any) {
	t.Helper()
	values := make([]rows.Value, len(row))
	for i, v := range row {
		switch v := v.(type) {
		case int64:
			values[i] = rows.Value{Kind: rows.Int, Int: v}
		case string:
			values[i] = rows.Value{Kind: rows.Decimal, Data: []byte(v)}
			if i == 4 {
				values[i].Kind = rows.Text
			}
		}
	}
	if err := s.w.Write(values); err != nil {
		t.Fatal(err)
	}
}

func (s *sheet) file(t *testing.T) []byte {
	t.Helper()
	if err := s.w.Close(); err != nil {
		t.Fatal(err)
	}
	return s.Bytes()
}

// A columnsFile is the same as Parquet, whose decimals are whole numbers with a scale.
type columnsFile struct {
	bytes.Buffer
	w *parquet.GenericWriter[columnsRow]
}

type columnsRow struct {
	Big   int64   `parquet:"big"`
	Small *int64  `parquet:"small,optional"`
	Price *int64  `parquet:"price,optional,decimal(2:18)"`
	Long  int64   `parquet:"long,decimal(6:18)"`
	Word  *string `parquet:"word,optional,dict"`
}

func newColumns() *columnsFile {
	c := new(columnsFile)
	c.w = parquet.NewGenericWriter[columnsRow](c, parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(1000))
	return c
}

func (c *columnsFile) write(t *testing.T, row [5]any) {
	t.Helper()
	unscaled := func(v any) *int64 {
		text, ok := v.(string)
		if !ok {
			return nil
		}
		n, err := strconv.ParseInt(strings.ReplaceAll(text, ".", ""), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return &n
	}
	r := columnsRow{Big: row[0].(int64), Price: unscaled(row[2]), Long: *unscaled(row[3])}
	if n, ok := row[1].(int64); ok {
		r.Small = &n
	}
	if w, ok := row[4].(string); ok {
		r.Word = &w
	}
	if _, err := c.w.Write([]columnsRow{r}); err != nil {
		t.Fatal(err)
	}
}

func (c *columnsFile) file(t *testing.T) []byte {
	t.Helper()
	if err := c.w.Close(); err != nil {
		t.Fatal(err)
	}
	return c.Bytes()
}

// A packed file has the profile of what is in it, however often its analysis goes on from a checkpoint.
func TestPackedFileHasTheProfileOfItsText(t *testing.T) {
	text := orders(1 << 20)
	want, err := profileOf(t, text).encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, pack := range map[string]func(*bytes.Buffer) error{
		"gzip": func(b *bytes.Buffer) error {
			w := gzip.NewWriter(b)
			_, err := w.Write(text)
			return errors.Join(err, w.Close())
		},
		"zstd": func(b *bytes.Buffer) error {
			w, err := zstd.NewWriter(b)
			if err != nil {
				return err
			}
			_, err = w.Write(text)
			return errors.Join(err, w.Close())
		},
	} {
		var b bytes.Buffer
		if err := pack(&b); err != nil {
			t.Fatal(err)
		}
		p := profileOf(t, b.Bytes())
		if p.Packing != name || p.form() != "CSV in "+name {
			t.Errorf("%s is %q, for people %q", name, p.Packing, p.form())
		}
		p.Packing = ""
		got, err := p.encode()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v, the profile is another:\n%s", name, err, got)
		}
	}
}

// Of a workbook with several sheets the first is read, and the profile says so.
func TestAWorkbookWithSeveralSheets(t *testing.T) {
	const office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
	relation := func(id, kind, target string) string {
		return `<Relationship Id="` + id + `" Type="` + office + kind + `" Target="` + target + `"/>`
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, part := range [][2]string{
		{"_rels/.rels", `<Relationships>` + relation("a", "officeDocument", "xl/workbook.xml") + `</Relationships>`},
		{"xl/workbook.xml", `<workbook><sheets><sheet r:id="b"/><sheet r:id="c"/></sheets></workbook>`},
		{"xl/_rels/workbook.xml.rels", `<Relationships>` + relation("b", "worksheet", "one.xml") + relation("c", "worksheet", "two.xml") + `</Relationships>`},
		{"xl/one.xml", `<worksheet><sheetData><row><c t="str"><v>n</v></c></row><row><c><v>7</v></c></row></sheetData></worksheet>`},
		{"xl/two.xml", `<worksheet/>`},
	} {
		f, err := w.Create(part[0])
		if err == nil {
			_, err = io.WriteString(f, part[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p := profileOf(t, b.Bytes())
	if p.Rows != 1 || len(p.Warnings) != 1 || p.Warnings[0].Code != WarnSheets || !strings.Contains(p.Warnings[0].Message, "2 sheets") {
		t.Errorf("%d rows, and it says %+v", p.Rows, p.Warnings)
	}
}

// Packed files have the bounds of the settings, and a refusal names them.
func TestBoundsOfPackedFiles(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { checkClose(t, bucket) })
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := fmt.Fprint(w, "a,b\n", strings.Repeat(strings.Repeat("x", 1<<10)+",2\n", 3<<10)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p := put(t, bucket, "uploads/f", b.Bytes())
	err := Run(t.Context(), &job{t: t}, "0701JD", bucket, p, Options{MaxUnpackedBytes: 1 << 20})
	if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "analysis.max_unpacked_bytes") {
		t.Errorf("a text of 3 MiB: %v", err)
	}
}

// Without a header the first row of a sheet is data, also where it looks like a title or a comment.
func TestSheetsWithoutAHeader(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { checkClose(t, bucket) })
	var b bytes.Buffer
	w, err := format.New(&b, []rows.Column{{Name: "# a", Kind: rows.Int}, {Kind: rows.Int}, {Kind: rows.Int}}, format.Options{Format: format.XLSX})
	for i := 0; err == nil && i < 3; i++ {
		err = w.Write([]rows.Value{{Kind: rows.Int, Int: 1}, {Kind: rows.Int, Int: 2}, {Kind: rows.Int, Int: 3}})
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	p := put(t, bucket, "uploads/f", b.Bytes())
	p.NoHeader = true
	j := &job{t: t}
	if err := Run(t.Context(), j, "0701JD", bucket, p, Options{}); err != nil {
		t.Fatal(err)
	}
	var got Profile
	if err := json.Unmarshal(j.files[ProfileName], &got); err != nil || got.Rows != 4 || len(got.Columns) != 3 {
		t.Errorf("%d rows of %d columns, %v; want 4 of 3", got.Rows, len(got.Columns), err)
	}
}
