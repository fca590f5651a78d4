package columnar_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/worker/internal/format"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

func TestExportsReadBackAsTheSameValues(t *testing.T) {
	t.Parallel()
	var columns []rows.Column
	for k := rows.Text; k <= rows.JSON; k++ {
		columns = append(columns, rows.Column{Name: "a " + k.String(), Kind: k})
	}
	var parquet, text bytes.Buffer
	writers := []format.Writer{}
	for f, out := range map[format.Format]*bytes.Buffer{format.Parquet: &parquet, format.NDJSON: &text} {
		w, err := format.New(out, columns, format.Options{Format: f})
		if err != nil {
			t.Fatal(err)
		}
		writers = append(writers, w)
	}
	texts := []string{"", "plain", "quote \" and \\", "line\nand\r\n\ttab", "Zoë – 東京 🌊", "\x00\x01\x1f\x7f", "\xff no UTF-8 \xc3", `\x41`}
	for i := range 3000 {
		row := []rows.Value{
			{Kind: rows.Text, Data: []byte(texts[i%len(texts)])},
			{Kind: rows.Int, Int: []int64{0, math.MaxInt64, math.MinInt64, int64(i)}[i%4]},
			{Kind: rows.Float, Float: []float64{0.1, math.NaN(), math.Inf(-1), -1e300, float64(i)}[i%5]},
			{Kind: rows.Decimal, Data: []byte("1.50")},
			{Kind: rows.Bool, Int: int64(i & 1)},
			{Kind: rows.Date, Int: int64(i)*13 - 20_000},
			{Kind: rows.Timestamp, Int: (int64(i) - 1500) * 24_691_357_820},
			{Kind: rows.Bytes, Data: []byte{0xFF, byte(i)}},
			{Kind: rows.JSON, Data: []byte(`{"a":[1,2.50,"x"]}`)},
		}
		if i%7 == 0 {
			row[i%len(row)] = rows.Value{}
		}
		for _, w := range writers {
			if err := w.Write(row); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, w := range writers {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// A decimal is text in Parquet, since its column does not say how many digits it needs.
	want := strings.ReplaceAll(text.String(), `"a decimal":1.50`, `"a decimal":"1.50"`)
	if got, err := readAll(t, parquet.Bytes()); err != nil || got != want {
		t.Errorf("%v, %s", err, differ(got, want))
	}
}

func BenchmarkReader(b *testing.B) {
	file := bench(b)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if _, err := readAll(b, file); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}

const benchRows = 100_000

// bench has twenty columns of several kinds.
func bench(tb testing.TB) []byte {
	tb.Helper()
	var columns []rows.Column
	for i := range 20 {
		columns = append(columns, rows.Column{Name: fmt.Sprint("column ", i), Kind: []rows.Kind{rows.Int, rows.Text, rows.Float, rows.Timestamp}[i%4]})
	}
	var file bytes.Buffer
	w, err := format.New(&file, columns, format.Options{Format: format.Parquet})
	if err != nil {
		tb.Fatal(err)
	}
	row := make([]rows.Value, len(columns))
	for i := range benchRows {
		for j, c := range columns {
			n := int64(i*7919+j*31) % 1_000_003
			row[j] = rows.Value{Kind: c.Kind, Int: n * 1_000_001, Float: float64(n) / 8, Data: fmt.Appendf(nil, "some text, number %d", n)}
		}
		if err := w.Write(row); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return file.Bytes()
}
