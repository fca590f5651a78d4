package analysis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// What a person would remark on a column, and nothing of ordinary ones.
func TestRemarksAboutColumns(t *testing.T) {
	var csv strings.Builder
	csv.WriteString("id,same,sparse,none,mixed,price,plain\n")
	rng := rand.New(rand.NewPCG(4, 2))
	for i := range 100 {
		sparse, mixed, price := "", "7", 10+rng.Float64()
		if i%3 == 0 {
			sparse = "x"
		}
		if i%2 == 0 {
			mixed = "seven"
		}
		if i == 50 || i == 60 {
			price = 1000
		}
		fmt.Fprintf(&csv, "%d,yes,%s,,%s,%.2f,%.3f\n", i, sparse, mixed, price, rng.NormFloat64())
	}
	p := analyze(t, csv.String(), Payload{})
	var got []string
	for _, w := range p.Warnings {
		got = append(got, fmt.Sprintf("%s:%s:%d", w.Code, w.Column, w.Count))
	}
	want := []string{"constant:same:100", "mostly_null:sparse:66", "mostly_null:none:100", "mixed:mixed:0", "outliers:price:2"}
	if !slices.Equal(got, want) {
		t.Errorf("warnings are %q, want %q", got, want)
	}
	if o := p.Columns[5].Number.Outliers; o.Count != 2 || o.Above > 20 || o.Below < 0 {
		t.Errorf("outliers %+v", o)
	}
	if few := analyze(t, "a,b\n1,\n1,\n1,x\n", Payload{}); len(few.Warnings) > 0 {
		t.Errorf("three rows have warnings: %+v", few.Warnings)
	}
}

// Rows are the same when their cells are, in CSV and in NDJSON, whatever the order of their members.
func TestRepeatedRows(t *testing.T) {
	for text, want := range map[string]int64{
		"a,b\n1,2\n2,1\n1,2\n1,2\n12,\n,12\n1,\n": 2,
		"a,b\n1,\n1\n1,,\n":                       2,
		"{\"a\":1,\"b\":[2]}\n{\"b\":[2],\"a\":1}\n{\"a\":1,\"b\":[3]}\n{\"a\":\"1\",\"b\":[2]}\n": 1,
		"{\"a\":1,\"b\":null}\n{\"a\":1}\n{}\n":                                                    1,
		"a\n":                                                                                      0,
	} {
		if d := analyze(t, text, Payload{}).Duplicates; d != (Duplicates{Rows: want, Exact: true}) {
			t.Errorf("%q: %+v, want %d", text, d, want)
		}
	}
}

// Beyond what is counted exactly, the estimate keeps within its error.
func TestManyRepeatedRows(t *testing.T) {
	for _, repeats := range []int{0, 30_000} {
		var csv strings.Builder
		csv.WriteString("a,b\n")
		for i := range 100_000 {
			fmt.Fprintf(&csv, "%d,x\n", i%(100_000-repeats))
		}
		d := analyze(t, csv.String(), Payload{}).Duplicates
		if d.Exact || d.Error < 400 || d.Error > 1000 || d.Rows < int64(repeats)-2*d.Error || d.Rows > int64(repeats)+2*d.Error {
			t.Errorf("%d rows are repeated: %+v", repeats, d)
		}
	}
}

// Columns that turn out to have no numbers have no correlations, and the others are named by their places.
func TestCorrelationsNameTheirColumns(t *testing.T) {
	var csv strings.Builder
	csv.WriteString("post,x,word,twice,minus\n")
	for i := range 200 {
		post, word := fmt.Sprint(10000+i*7), "w"
		if i == 150 {
			post = "01067"
		}
		if i%2 == 0 {
			word = fmt.Sprint(i)
		}
		fmt.Fprintf(&csv, "%s,%d,%s,%d,%d\n", post, i*i%37, word, 2*(i*i%37), -(i * i % 37))
	}
	p := analyze(t, csv.String(), Payload{})
	want := []Correlation{{1, 3, 1, 200}, {1, 4, -1, 200}, {3, 4, -1, 200}}
	for i := range p.Correlations {
		r := &p.Correlations[i].R
		if *r = float64(int(*r*1e9)) / 1e9; *r > 0.999_999 {
			*r = 1
		} else if *r < -0.999_999 {
			*r = -1
		}
	}
	if !slices.Equal(p.Correlations, want) {
		t.Errorf("%+v, want %+v", p.Correlations, want)
	}
}

// Histograms count every number and every time.
func TestHistogramsOfColumns(t *testing.T) {
	p := analyze(t, string(orders(100<<10)), Payload{})
	for _, c := range p.Columns {
		var n, want int64
		switch {
		case c.Number != nil:
			for _, k := range c.Number.Histogram.Counts {
				n += k
			}
			want = p.Rows - c.Nulls
			if low, _ := c.Number.Min.Float64(); c.Number.Histogram.Start > low || len(c.Number.Histogram.Counts) > 32 {
				t.Errorf("%s: %+v", c.Name, c.Number.Histogram)
			}
		case c.Time != nil:
			for _, k := range c.Time.Histogram.Counts {
				n += k
			}
			want = p.Rows - c.Nulls
			if h := c.Time.Histogram; h.Start > c.Time.Min || h.WidthSeconds < 60 || len(h.Counts) < 4 {
				t.Errorf("%s: %+v", c.Name, h)
			}
		}
		if n != want {
			t.Errorf("%s: the histogram has %d values, want %d", c.Name, n, want)
		}
	}
}
