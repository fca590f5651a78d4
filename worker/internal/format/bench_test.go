package format

import (
	"bytes"
	"encoding/csv"
	"io"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// orders is a table as a shop has it.
func orders(n int) ([]rows.Column, [][]rows.Value) {
	columns := []rows.Column{
		{Name: "order_id", Kind: rows.Int},
		{Name: "ordered_at", Kind: rows.Timestamp},
		{Name: "customer", Kind: rows.Text},
		{Name: "country", Kind: rows.Text},
		{Name: "quantity", Kind: rows.Int},
		{Name: "unit_price", Kind: rows.Decimal},
		{Name: "weight", Kind: rows.Float},
		{Name: "paid", Kind: rows.Bool},
		{Name: "due", Kind: rows.Date},
		{Name: "note", Kind: rows.Text},
	}
	r := rand.New(rand.NewPCG(1, 2))
	countries := []string{"DE", "AT", "CH", "FR", "NL", "PL", "US", "GB"}
	notes := []string{"", "", "", "leave at the door", "please ring, then wait", `"fragile" goods`}
	text := func(s string) rows.Value { return rows.Value{Kind: rows.Text, Data: []byte(s)} }
	table := make([][]rows.Value, n)
	for i := range table {
		table[i] = []rows.Value{
			{Kind: rows.Int, Int: int64(100_000 + i)},
			{Kind: rows.Timestamp, Int: 1_735_689_600_000_000 + int64(i)*45_000_000},
			text("c-" + strconv.Itoa(r.IntN(20_000)) + "@example.com"),
			text(countries[r.IntN(len(countries))]),
			{Kind: rows.Int, Int: 1 + r.Int64N(9)},
			{Kind: rows.Decimal, Data: strconv.AppendFloat(nil, 1+r.ExpFloat64()*40, 'f', 2, 64)},
			{Kind: rows.Float, Float: float64(r.IntN(10_000)) / 8},
			{Kind: rows.Bool, Int: r.Int64N(2)},
			{Kind: rows.Date, Int: 20_089 + int64(i)/1920},
			text(notes[r.IntN(len(notes))]),
		}
	}
	return columns, table
}

// BenchmarkWrite compares the formats with a bare encoding/csv writer that is given the same cells as
// strings. Their MB/s count the bytes of the CSV file, whatever the format's own are.
func BenchmarkWrite(b *testing.B) {
	columns, table := orders(200_000)
	plain := plan{columns: columns, options: Options{Format: CSV}, limits: theLimits, table: table}.mustWrite(b)
	records, err := csv.NewReader(bytes.NewReader(plain)).ReadAll()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("baseline=encoding/csv", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		b.ReportAllocs()
		for b.Loop() {
			w := csv.NewWriter(io.Discard)
			for _, record := range records {
				if err := w.Write(record); err != nil {
					b.Fatal(err)
				}
			}
			w.Flush()
		}
	})
	for _, o := range each {
		if o.Format == XLSX && o.NoHeader {
			continue
		}
		b.Run(nameOf(o), func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				var size count
				w, err := New(&size, columns, o)
				if err != nil {
					b.Fatal(err)
				}
				for _, row := range table {
					if err := w.Write(row); err != nil {
						b.Fatal(err)
					}
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(size)/float64(len(plain)), "bytes/csv-byte")
			}
		})
	}
}

// count is how many bytes were written.
type count int

func (c *count) Write(p []byte) (int, error) {
	*c += count(len(p))
	return len(p), nil
}
