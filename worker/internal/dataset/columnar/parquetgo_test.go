package columnar_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
)

// delayed has columns in encodings that DuckDB does not write.
type delayed struct {
	Prefix string           `parquet:"prefix,delta"`
	Length []byte           `parquet:"length,delta"`
	Small  int32            `parquet:"small,delta"`
	Large  *int64           `parquet:"large,optional"`
	Split  float32          `parquet:"split,split"`
	Fixed  [3]byte          `parquet:"fixed,delta"`
	Stamp  deprecated.Int96 `parquet:"stamp"`
	Flag   bool             `parquet:"flag"`
	Tags   []string         `parquet:"tags,list,dict"`
	Map    map[string]int32 `parquet:"map"`
	Price  int64            `parquet:"price,decimal(2:18),snappy"`
	Words  []string         `parquet:"words,zstd"`
}

// byParquetGo writes n rows with parquet-go, in small pages of a version of the format.
func byParquetGo(tb testing.TB, version, n int) []byte {
	tb.Helper()
	var file bytes.Buffer
	w := parquet.NewGenericWriter[delayed](&file, parquet.DataPageVersion(version), parquet.PageBufferSize(500))
	for i := range n {
		row := delayed{
			Prefix: fmt.Sprintf("customer %04d", i/3), Length: []byte(strings.Repeat("z", i%5)), Small: int32(i*i) - 100, Split: float32(i) / 8, Fixed: [3]byte{'a', byte('b' + i%3), 'c'},
			Stamp: deprecated.Int96{uint32(i), 0, 2440588}, Flag: i%3 == 0, Price: int64(i) - 2,
		}
		if i%2 == 0 {
			large := int64(i) << 40
			row.Large, row.Tags, row.Map = &large, []string{"x", fmt.Sprint("y", i%4)}, map[string]int32{"k": int32(i)}
			row.Words = []string{"one", "two"}
		}
		if _, err := w.Write([]delayed{row}); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return file.Bytes()
}

func TestParquetGosFilesAreText(t *testing.T) {
	t.Parallel()
	const n = 300
	var want strings.Builder
	for i := range n {
		large, tags, aMap, words := "null", "[]", "{}", "[]"
		if i%2 == 0 {
			large, tags, aMap, words = fmt.Sprint(int64(i)<<40), fmt.Sprintf(`["x","y%d"]`, i%4), fmt.Sprintf(`{"k":%d}`, i), `["one","two"]`
		}
		price := fmt.Sprintf("%.2f", float64(i-2)/100)
		nanos := ""
		if i > 0 {
			nanos = "." + strings.TrimRight(fmt.Sprintf("%09d", i), "0")
		}
		fmt.Fprintf(&want, `{"prefix":"customer %04d","length":"%s","small":%d,"large":%s,"split":%v,"fixed":"a%cc","stamp":"1970-01-01T00:00:00%s","flag":%v,"tags":%s,"map":%s,"price":%s,"words":%s}`+"\n",
			i/3, strings.Repeat("z", i%5), i*i-100, large, float32(i)/8, 'b'+i%3, nanos, i%3 == 0, tags, aMap, price, words)
	}
	for _, version := range []int{1, 2} {
		if got, err := readAll(t, byParquetGo(t, version, n)); err != nil || got != want.String() {
			t.Errorf("version %d: %v, %s", version, err, differ(got, want.String()))
		}
	}
}

// BenchmarkParquetGo reads the same rows with parquet-go alone, as values and not as text.
func BenchmarkParquetGo(b *testing.B) {
	file := bench(b)
	b.SetBytes(int64(len(file)))
	room := make([]parquet.Row, 128)
	for b.Loop() {
		f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			b.Fatal(err)
		}
		for _, g := range f.RowGroups() {
			r := g.Rows()
			for err == nil {
				_, err = r.ReadRows(room)
			}
			if !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
			err = r.Close()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}
