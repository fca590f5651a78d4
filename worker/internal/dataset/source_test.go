package dataset_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

var _ rows.Source = (*dataset.Source)(nil)

const job = "0701JD8V3QZ4T9M2K6W0X5Y7B1CA"

func memory(t *testing.T) *blob.Bucket {
	t.Helper()
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() {
		if err := bucket.Close(); err != nil {
			t.Error(err)
		}
	})
	return bucket
}

// rejected is a row that is none of a dataset.
type rejected struct {
	line   int64
	reason string
}

// makeDataset makes a dataset of a file, as an upload does, with records of at most 200 bytes.
func makeDataset(t *testing.T, bucket *blob.Bucket, name string, data []byte) (*datasets.Manifest, []rejected, error) {
	t.Helper()
	return makeTable(t, bucket, name, data, false)
}

// makeTable makes one of a file that may have no header.
func makeTable(t *testing.T, bucket *blob.Bucket, name string, data []byte, noHeader bool) (*datasets.Manifest, []rejected, error) {
	t.Helper()
	m := &datasets.Manifest{ID: job, Topic: "user:42", Size: int64(len(data)), MaxRecordBytes: 200}
	key := blobs.Dataset(m.Topic, m.ID, blobs.DatasetBytes)
	if err := bucket.WriteAll(t.Context(), key, data, nil); err != nil {
		t.Fatal(err)
	}
	packing, _, err := packed.Detect(t.Context(), bucket, key)
	if err != nil {
		t.Fatal(err)
	}
	m.Packing = string(packing)
	stream, err := packed.Open(t.Context(), bucket, key, m.Size, packing, packed.Options{NoHeader: noHeader, MaxUnpackedBytes: 1 << 30, MaxRatio: 100})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err := stream.Close(); err != nil {
			t.Error(err)
		}
	}()
	o := table.Options{NoHeader: noHeader, MaxRecordBytes: 200}
	packing.Describe(&o, name)
	s, names, err := dataset.Start(t.Context(), stream, o)
	if err != nil {
		return nil, nil, err
	}
	m.Start, m.Dialect.Header = s.AppendPosition(nil), s.Dialect().Header
	schema := dataset.NewSchema(names, nil, 0)
	var no []rejected
	for {
		found, err := s.Next()
		switch {
		case errors.Is(err, io.EOF):
			m.Format, m.Rows, m.UnpackedSize = s.Dialect().Format, schema.Rows(), s.Offset()
			m.Columns = schema.Columns(m.Format)
			return m, no, nil
		case err != nil:
			return nil, no, err
		case found == dataset.Rejected:
			no = append(no, rejected{s.Line, s.Reason})
		case found == dataset.Row && names != nil:
			schema.Fields(s.Fields)
		case found == dataset.Row:
			if err := schema.Members(s.Members); err != nil {
				return nil, no, err
			}
		}
	}
}

func show(row []rows.Value) string {
	var all []string
	for _, v := range row {
		switch v.Kind {
		case rows.Null:
			all = append(all, "null")
		case rows.Text, rows.Decimal, rows.JSON:
			all = append(all, fmt.Sprintf("%s %s", v.Kind, v.Data))
		case rows.Float:
			all = append(all, fmt.Sprintf("float %v", v.Float))
		default:
			all = append(all, fmt.Sprintf("%s %d", v.Kind, v.Int))
		}
	}
	return strings.Join(all, " | ")
}

// read reads rows from a position on, and the position before each of them.
func read(t *testing.T, bucket *blob.Bucket, m *datasets.Manifest, position []byte) (all []string, positions [][]byte) {
	t.Helper()
	s, err := dataset.Open(t.Context(), bucket, m, position)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]rows.Value, len(s.Columns()))
	for {
		at, err := s.Position()
		if err != nil {
			t.Fatal(err)
		}
		err = s.Next(t.Context(), row)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all, positions = append(all, show(row)), append(positions, at)
	}
	if done, total := s.Progress(); done != total || total != m.Size {
		t.Errorf("at the end %d of %d bytes are read, of a file of %d", done, total, m.Size)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return all, positions
}

func utf16le(s string) []byte {
	out := []byte{0xFF, 0xFE}
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("2026/orders.csv")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A CSV with every kind, rejected rows among the others, one of them longer than what is read at once.
func hard() string {
	var b strings.Builder
	b.WriteString("id,price,share,paid,day,at,note\n")
	for i := range 400 {
		fmt.Fprintf(&b, "%d,%d.50,%de-3,true,2026-01-%02d,2026-01-02 03:04:%02d,\"say \"\"é%d\"\"\nagain\"\n", i, i, i+1, i%28+1, i%60, i)
		switch i % 50 {
		case 7:
			b.WriteString("only,three,fields\n\n")
		case 8:
			b.WriteString("1,1.50,1e1,false,2026-01-01,2026-01-01 00:00:00,mis\"placed\n")
		case 9:
			b.WriteString(strings.Repeat("x", 300+i*2000) + "\n")
		}
	}
	b.WriteString("9,9.00,9e9,false,2026-01-01,2026-01-01 00:00:00,\"never closed")
	return b.String()
}

func TestASourceGoesOnFromEachPosition(t *testing.T) {
	t.Parallel()
	text := hard()
	var lines strings.Builder
	for i := range 300 {
		fmt.Fprintf(&lines, "{\"id\":%d,\"tags\":[%d,\"a\"],\"name\":\"\\u00e9\\\"%d\"}\n", i, i, i)
		if i%40 == 3 {
			fmt.Fprintf(&lines, "{\"name\":null,\"id\":%d,\"new\":1.5}\n[1]\n{\"a\":\n%s\n", i, strings.Repeat("y", 300*i))
		}
	}
	for name, data := range map[string][]byte{
		"plain.csv":    []byte(text),
		"latin.csv":    []byte(strings.ReplaceAll(text, "é", "\xe9")),
		"utf16.csv":    utf16le(text),
		"gzip.csv":     gzipped(t, []byte(text)),
		"zstd.csv":     zstandard(t, []byte(text)),
		"zip.csv":      zipped(t, []byte(text)),
		"rows.ndjson":  []byte(lines.String()),
		"gz16.csv":     gzipped(t, utf16le(text)),
		"returns.csv":  []byte(strings.ReplaceAll(strings.ReplaceAll(text, "\nagain", ""), "\n", "\r")),
		"crlf.csv":     []byte(strings.ReplaceAll(text, "\n", "\r\n")),
		"cut-16.csv":   utf16le(text)[:len(utf16le(text))-1],
		"headless.csv": []byte("1,2\n3,4\n5,6\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bucket := memory(t)
			m, _, err := makeDataset(t, bucket, name, data)
			if err != nil {
				t.Fatal(err)
			}
			all, positions := read(t, bucket, m, nil)
			if int64(len(all)) != m.Rows || m.Rows == 0 {
				t.Fatalf("%d rows are read, and the dataset has %d", len(all), m.Rows)
			}
			for i := 0; i < len(all); i += 1 + len(all)/40 {
				if rest, _ := read(t, bucket, m, positions[i]); strings.Join(rest, "\n") != strings.Join(all[i:], "\n") {
					t.Fatalf("from row %d on there are %d rows, want %d; the first is %s, want %s", i, len(rest), len(all)-i, rest[0], all[i])
				}
			}
		})
	}
}

func TestKindsKeepCellsExactly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ cells, kind, row string }{
		{"1 -2 9223372036854775807", "integer", "integer 9223372036854775807"},
		{"1 9223372036854775808", "decimal", "decimal 9223372036854775808"},
		{"1 1.50", "decimal", "decimal 1.50"},
		{"1 -0", "decimal", "decimal -0"},
		{"1.50 2e3", "float", "float 2000"},
		{"1.5 .5", "float", "float 0.5"},
		{"5. 1", "float", "float 1"},
		{"1e-5 0.12345678901234568", "float", "float 0.12345678901234568"},
		{"1e-5 0.12345678901234567891", "text", "text 0.12345678901234567891"},
		{"9007199254740993 1e3", "text", "text 1e3"},
		{"007 8", "text", "text 8"},
		{"1 +2", "text", "text +2"},
		{"1 1e999", "text", "text 1e999"},
		{"1 -", "text", "text -"},
		{"1 N/A", "integer, nullable", "null"},
		{"a N/A", "text", "text N/A"},
		{"a _", "text, nullable", "null"},
		{"N/A NULL", "text", "text NULL"},
		{"true FALSE", "boolean", "boolean 0"},
		{"true 1", "text", "text 1"},
		{"2026-01-02 1969-12-31", "date", "date -1"},
		{"2026-01-02 1970-01-01T00:00:01.5+01:00", "timestamp", "timestamp -3598500000"},
		{"2026-01-02T03:04:05.123456789", "text", "text 2026-01-02T03:04:05.123456789"},
		{"2026-02-30", "text", "text 2026-02-30"},
		{"01.5 2", "text", "text 2"},
	} {
		bucket := memory(t)
		data := "id,value\n"
		for _, cell := range strings.Fields(c.cells) {
			data += "x," + strings.Trim(cell, "_") + "\n"
		}
		m, no, err := makeDataset(t, bucket, "kinds.csv", []byte(data))
		if err != nil || len(no) > 0 {
			t.Fatalf("%s: %v, %v", c.cells, no, err)
		}
		kind := m.Columns[1].Kind
		if m.Columns[1].Nullable {
			kind += ", nullable"
		}
		all, _ := read(t, bucket, m, nil)
		if last := all[len(all)-1]; kind != c.kind || last != "text x | "+c.row {
			t.Errorf("%s is %s and ends with %s, want %s, %s", c.cells, kind, last, c.kind, c.row)
		}
	}
}

func TestNDJSONHasTypesOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ lines, columns, row string }{
		{`{"a":1}{"a":2.50}`, "a decimal", "decimal 2.50"},
		{`{"a":1}{"a":"2"}`, "a json", `json "2"`},
		{`{"a":1}{"b":"\ud83d\ude00\n"}`, "a integer?, b text?", "null | text 😀\n"},
		{`{"a":null,"b":{"c":[1, 2]}}`, "a text?, b json", `null | json {"c":[1, 2]}`},
		{`{"a":"2026-01-02"}{"a":"x"}`, "a text", "text x"},
		{`{"a":"1969-12-31"}`, "a date", "date -1"},
		{`{"a":""}{"a":"NULL"}`, "a text", "text NULL"},
		{`{"a":1e3}{"a":-0}`, "a float", "float -0"},
		{`{"a":1e999}`, "a json", "json 1e999"},
		{`{"a":true}{"a":false}`, "a boolean", "boolean 0"},
		{`{"a":1,"a":2}`, "a integer", "integer 2"},
		{`{"\u0061":1}{"a":2}`, "a integer", "integer 2"},
		{`{"":1}`, " integer", "integer 1"},
	} {
		bucket := memory(t)
		m, no, err := makeDataset(t, bucket, "rows.ndjson", []byte(strings.ReplaceAll(c.lines, "}{", "}\n{")))
		if err != nil || len(no) > 0 {
			t.Fatalf("%s: %v, %v", c.lines, no, err)
		}
		var columns []string
		for _, col := range m.Columns {
			text := col.Name + " " + col.Kind
			if col.Nullable {
				text += "?"
			}
			columns = append(columns, text)
		}
		all, _ := read(t, bucket, m, nil)
		if got := strings.Join(columns, ", "); got != c.columns || all[len(all)-1] != c.row {
			t.Errorf("%s: %s, and the last row is %s; want %s, %s", c.lines, got, all[len(all)-1], c.columns, c.row)
		}
	}
}

func TestRowsAreRejectedWithLineAndReason(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file, data string
		want       []rejected
		rows       int64
	}{
		"fields":           {"a.csv", "a,b\n1,2\n1\n1,2,3\n1,2,\n\"x\ny\",2\n9\n", []rejected{{3, "1 fields"}, {4, "3 fields"}, {8, "1 fields"}}, 3},
		"quotes":           {"a.csv", "a,b\n1,2\n1,\"2\"x\n1,2\"\n3,4\n", []rejected{{3, "quotes"}, {4, "quotes"}}, 2},
		"an unclosed one":  {"a.csv", "a,b\n1,2\n1,\"2\n3,4\n5\n", []rejected{{3, "not closed"}, {5, "1 fields"}}, 2},
		"too long":         {"a.csv", "a,b\n1,2\n" + strings.Repeat("x", 900000) + "\n3,4\n", []rejected{{3, "longer"}}, 2},
		"long, unclosed":   {"a.csv", "a,b\n1,2\n1,\"2\n" + strings.Repeat("3,4\n", 100), []rejected{{3, "longer"}}, 101},
		"an endless line":  {"a.csv", "a,b\n1,2\n" + strings.Repeat("x,", 900000), []rejected{{3, "longer"}}, 1},
		"no text":          {"a.csv", "a,b\né,2\n\xff\xfe\xfd,2\né,4\né,5\né,\uFFFD\n", []rejected{{3, "no text"}}, 4},
		"a preamble":       {"a.csv", "Report\n\nid,name,n\n1,a,2\n2,b,3\n3\n4,d,5\n", []rejected{{6, "1 fields"}}, 3},
		"no object":        {"a.ndjson", "{\"a\":1}\n[1]\n{\"a\":}\n\n{\"a\":2}\nnull\n", []rejected{{2, "no JSON"}, {3, "no JSON"}, {6, "no JSON"}}, 2},
		"a long line":      {"a.ndjson", "{\"a\":1}\n{\"a\":\"" + strings.Repeat("x", 700000) + "\"}\n{\"a\":2}\n", []rejected{{2, "longer"}}, 2},
		"no text, ndjson":  {"a.ndjson", "{\"a\":\"é\"}\n{\"a\":\"\xff\"}\n{\"a\":\"é\"}\n", []rejected{{2, "no text"}}, 2},
		"only rejected":    {"a.csv", "a,b\n1\n2\n3\n", []rejected{{2, "1 fields"}, {3, "1 fields"}, {4, "1 fields"}}, 0},
		"an odd byte":      {"a.csv", string(utf16le("a,b\n1,2\n3,4\n")) + "x", []rejected{{4, "no text"}}, 2},
		"deep, and broken": {"a.ndjson", "{\"a\":1}\n{\"a\":" + strings.Repeat("[", 150) + "\n", []rejected{{2, "no JSON"}}, 1},
	} {
		m, no, err := makeDataset(t, memory(t), c.file, []byte(c.data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		ok := len(no) == len(c.want) && m.Rows == c.rows
		for i := range min(len(no), len(c.want)) {
			ok = ok && no[i].line == c.want[i].line && strings.Contains(no[i].reason, c.want[i].reason)
		}
		if !ok {
			t.Errorf("%s: %d rows, rejected %v, want %d, %v", name, m.Rows, no, c.rows, c.want)
		}
	}
}

func TestTablesThatAreRefused(t *testing.T) {
	t.Parallel()
	wide := strings.Repeat("x,", 10_000)
	var members strings.Builder
	for i := range 2001 {
		fmt.Fprintf(&members, "{\"m%d\":1}\n", i)
	}
	for name, c := range map[string]struct {
		file string
		data []byte
		want string
	}{
		"10,000 columns":     {"a.csv", []byte(wide), "longer than 200 bytes"},
		"columns of NDJSON":  {"a.ndjson", []byte(members.String()), "beyond 2000"},
		"NUL":                {"a.csv", []byte("a,b\n1,\x002\n"), "zero byte"},
		"NUL further on":     {"a.csv", []byte("a,b\n" + strings.Repeat("1,2\n", 300_000) + "\x00"), "zero byte"},
		"empty":              {"a.csv", nil, "empty"},
		"a zip in gzip":      {"a.csv", gzipped(t, zipped(t, []byte("a,b\n"))), "zip archive"},
		"gzip in gzip":       {"a.csv", gzipped(t, gzipped(t, []byte("a,b\n"))), "gzip"},
		"zip in zip":         {"a.csv", zipped(t, zipped(t, []byte("a,b\n"))), "zip archive"},
		"gzip, cut off":      {"a.csv", gzipped(t, []byte(hard()))[:2000], "cut off"},
		"Zstandard, cut off": {"a.csv", zstandard(t, []byte(hard()))[:2000], "cut off"},
		"gzip, other bytes":  {"a.csv", append(gzipped(t, []byte(hard())), "a,b\n1,2\n3,4\n"...), "other bytes"},
		"Zstandard, others":  {"a.csv", append(zstandard(t, []byte(hard())), "a,b\n1,2\n"...), "other bytes"},
		"a bomb in a header": {"a.csv", gzipped(t, bytes.Repeat([]byte("1"), 2<<20)), "longer than 200"},
	} {
		_, _, err := makeDataset(t, memory(t), c.file, c.data)
		if !errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a refusal that says %q", name, err, c.want)
		}
	}
}

func TestADatasetWhoseBytesChangedIsNotRead(t *testing.T) {
	t.Parallel()
	bucket := memory(t)
	m, _, err := makeDataset(t, bucket, "a.csv", []byte("a,b\n1,2\n3,4\n"))
	if err != nil {
		t.Fatal(err)
	}
	key := blobs.Dataset(m.Topic, m.ID, blobs.DatasetBytes)
	if err := bucket.WriteAll(t.Context(), key, []byte("a,b\n1,x\n3,4\n"), nil); err != nil {
		t.Fatal(err)
	}
	s, err := dataset.Open(t.Context(), bucket, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Next(t.Context(), make([]rows.Value, 2)); !errors.Is(err, dataset.ErrChanged) {
		t.Errorf("a cell of another kind: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]byte{{}, {77}, m.Start[:len(m.Start)-1], append(bytes.Clone(m.Start), 0)} {
		if _, err := dataset.Open(t.Context(), bucket, m, bad); !errors.Is(err, dataset.ErrPosition) {
			t.Errorf("position %x: %v", bad, err)
		}
	}
	narrow := *m
	narrow.Columns = m.Columns[:1]
	if _, err := dataset.Open(t.Context(), bucket, &narrow, nil); !errors.Is(err, dataset.ErrPosition) {
		t.Errorf("a manifest with fewer columns: %v", err)
	}
	if err := bucket.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := dataset.Open(t.Context(), bucket, m, nil); !errors.Is(err, table.ErrRefused) || strings.Contains(err.Error(), "data") && strings.Contains(err.Error(), key) {
		t.Errorf("bytes that are gone: %v", err)
	}
}
