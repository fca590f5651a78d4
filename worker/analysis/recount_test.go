package analysis

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// The recount shares nothing with the reader: the case says how a file is written, the recount cuts it with
// encoding/csv or at its tabs, reads cells with regular expressions, and counts with numbers that
// lose nothing.

// told is how a file is written.
type told struct {
	encoding  encoding.Encoding // nil: UTF-8
	name      string            // of the encoding, as a profile has it; empty: utf-8
	above     int               // lines above the header
	delimiter rune              // 0: a comma
	literal   bool              // quotes are characters
	returns   bool              // lines end in a carriage return
}

var (
	isInteger   = regexp.MustCompile(`^[+-]?[0-9]+$`)
	isNumber    = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)
	isCode      = regexp.MustCompile(`^(0[0-9]+|\+[0-9]{8,})$`)
	isDate      = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	isTimestamp = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}.*$`)
	isBoolean   = regexp.MustCompile(`^(?i:true|false)$`)
	isNothing   = regexp.MustCompile(`^(|NULL|null|Null|\\N|N/A|n/a|#N/A)$`)
	isMissing   = regexp.MustCompile(`^(NA|na|N\.A\.|n\.a\.|NaN|nan|NAN|None|none|nil|\(null\)|[nN]/[dD]|-{1,3}|–|—|\.{1,3}|\?|\*|#(DIV/0|VALUE|REF|NUM|NULL)!|#NAME\?)$`)
)

// rows cuts a file into records, the header first.
func (f told) rows(t *testing.T, data []byte) [][]string {
	t.Helper()
	if f.encoding != nil {
		decoded, err := f.encoding.NewDecoder().Bytes(data)
		if err != nil {
			t.Fatal(err)
		}
		data = decoded
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	if f.returns {
		text = strings.ReplaceAll(text, "\r", "\n")
	}
	for range f.above {
		_, text, _ = strings.Cut(text, "\n")
	}
	if f.literal {
		var all [][]string
		for line := range strings.Lines(text) {
			all = append(all, strings.Split(strings.TrimRight(line, "\r\n"), string(f.delimiter)))
		}
		return all
	}
	r := csv.NewReader(strings.NewReader(text))
	r.Comma = cmp.Or(f.delimiter, ',')
	r.FieldsPerRecord = -1
	all, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// counted is what a person would say of a column.
type counted struct {
	kind                 string
	nulls, missing       int64
	distinct             int64
	least, most          string // of numbers, dates or texts
	mean, stddev, median float64
	shortest, longest    int64
	meanLength           float64
	sum                  string // of numbers, "" where one has an exponent or too many digits
	top                  int64
}

func recount(cells []string) counted {
	of := map[string][]string{}
	add := func(kind, cell string) { of[kind] = append(of[kind], cell) }
	var c counted
	for _, raw := range cells {
		switch cell := strings.Trim(raw, " "); {
		case isNothing.MatchString(cell):
			c.nulls++
		case isMissing.MatchString(cell):
			add("placeholder", raw)
		case isCode.MatchString(cell):
			add("code", raw)
		case isInteger.MatchString(cell):
			if _, fits := new(big.Int).SetString(cell, 10); fits && len(strings.Trim(cell, "+-")) > 1 && strings.HasPrefix(strings.Trim(cell, "+-"), "0") {
				add("text", raw)
			} else if n, _ := new(big.Int).SetString(strings.TrimPrefix(cell, "+"), 10); n.IsInt64() {
				add("integer", cell)
			} else {
				add("number", cell)
			}
		case isNumber.MatchString(cell):
			add("number", cell)
		case isDate.MatchString(cell):
			add("date", raw)
		case isTimestamp.MatchString(cell):
			add("timestamp", raw)
		case isBoolean.MatchString(cell):
			add("boolean", raw)
		default:
			add("text", raw)
		}
	}
	signed := slices.ContainsFunc(of["integer"], func(s string) bool { return strings.ContainsAny(s, "+-") })
	if n := len(of["placeholder"]); n > 0 {
		kinds := map[string]bool{}
		for kind, cells := range of {
			if len(cells) > 0 && kind != "placeholder" {
				kinds[map[string]string{"integer": "number", "code": "number", "timestamp": "date"}[kind]+kind] = true
			}
		}
		only := func(some ...string) bool {
			for kind := range kinds {
				if !slices.Contains(some, kind) {
					return false
				}
			}
			return len(kinds) > 0
		}
		if only("number", "numberinteger", "numbercode") || only("date", "datetimestamp") || only("boolean") {
			c.missing, c.nulls = int64(n), c.nulls+int64(n)
		} else {
			of["text"] = append(of["text"], of["placeholder"]...)
		}
		delete(of, "placeholder")
	}
	if len(of["code"]) > 0 {
		if len(of["number"]) == 0 && !signed {
			of["text"] = append(of["text"], of["integer"]...)
			delete(of, "integer")
		}
		of["text"] = append(of["text"], of["code"]...)
		delete(of, "code")
	}
	c.describe(of)
	return c
}

func (c *counted) describe(of map[string][]string) {
	var kinds, all []string
	times := map[string]int64{}
	for kind, cells := range of {
		if len(cells) > 0 {
			kinds, all = append(kinds, kind), append(all, cells...)
		}
	}
	for _, cell := range all {
		times[cell]++
		c.top = max(c.top, times[cell])
	}
	c.distinct = int64(len(times))
	slices.Sort(kinds)
	switch name := strings.Join(kinds, "+"); name {
	case "":
		c.kind = "null"
	case "text":
		c.kind = "string"
	case "integer+number":
		c.kind = "number"
	case "date+timestamp":
		c.kind = "timestamp"
	case "integer", "number", "date", "timestamp", "boolean":
		c.kind = name
	default:
		c.kind = "mixed"
	}
	if numbers := append(slices.Clone(of["integer"]), of["number"]...); len(numbers) > 0 {
		c.figures(numbers)
	} else if dates := of["date"]; len(dates) > 0 && len(of["timestamp"]) == 0 {
		c.least, c.most = slices.Min(dates), slices.Max(dates)
	} else if texts := of["text"]; len(texts) > 0 {
		c.least, c.most = slices.Min(texts), slices.Max(texts)
		byLength := func(a, b string) int { return cmp.Compare(len(a), len(b)) }
		c.shortest, c.longest = int64(len(slices.MinFunc(texts, byLength))), int64(len(slices.MaxFunc(texts, byLength)))
		c.meanLength = float64(len(strings.Join(texts, ""))) / float64(len(texts))
	}
}

func (c *counted) figures(numbers []string) {
	exact := make([]*big.Float, len(numbers))
	values := make([]float64, len(numbers))
	for i, n := range numbers {
		v, _, err := big.ParseFloat(n, 10, 4000, big.ToNearestEven)
		if err != nil {
			panic(err)
		}
		exact[i] = v
		values[i], _ = v.Float64()
	}
	c.mean, c.stddev = reference(values)
	sum := new(big.Rat)
	for _, n := range numbers {
		v, _ := new(big.Rat).SetString(n)
		sum.Add(sum, v)
		if strings.ContainsAny(n, "eE") || len(strings.Trim(n, "+-.")) > 19 || len(strings.Trim(n, "+-")) > 19 {
			sum = nil
			break
		}
	}
	if sum != nil {
		c.sum = sum.FloatString(18)
	}
	slices.SortFunc(exact, func(a, b *big.Float) int { return a.Cmp(b) })
	c.least, c.most = exact[0].Text('f', 20), exact[len(exact)-1].Text('f', 20)
	slices.Sort(values)
	c.median = values[(len(values)+1)/2-1]
}

// check compares a profile with the recount of its file.
func (f told) check(t *testing.T, p *Profile, data []byte) {
	t.Helper()
	all := f.rows(t, data)
	header, rows := all[0], all[1:]
	if p.Rows != int64(len(rows)) || p.Bytes != int64(len(data)) || p.Encoding != cmp.Or(f.name, "utf-8") {
		t.Errorf("%d rows, %d bytes, %s; want %d, %d, %s", p.Rows, p.Bytes, p.Encoding, len(rows), len(data), cmp.Or(f.name, "utf-8"))
	}
	if len(p.Columns) != len(header) {
		t.Fatalf("%d columns, want those of %q", len(p.Columns), header)
	}
	ragged := int64(0)
	for _, row := range rows {
		if len(row) < len(header) || strings.Join(row[len(header):], "") != "" {
			ragged++
		}
	}
	if p.Ragged != ragged {
		t.Errorf("%d ragged rows, want %d", p.Ragged, ragged)
	}
	for i, name := range header {
		cells := make([]string, len(rows))
		for j, row := range rows {
			if i < len(row) {
				cells[j] = row[i]
			}
		}
		c := p.Columns[i]
		if want := cmp.Or(strings.TrimSpace(name), fmt.Sprintf("column_%d", i+1)); c.Name != want {
			t.Errorf("column %d is called %q, want %q", i+1, c.Name, want)
		}
		recount(cells).check(t, c)
	}
}

func (c counted) check(t *testing.T, p ColumnProfile) {
	t.Helper()
	got := counted{kind: p.Type, nulls: p.Nulls, missing: p.Missing, distinct: p.Distinct}
	want := counted{kind: c.kind, nulls: c.nulls, missing: c.missing, distinct: c.distinct}
	if got != want || !p.DistinctExact {
		t.Errorf("column %s: %+v, want %+v", p.Name, got, want)
	}
	if len(p.Top) > 0 && p.TopError == 0 && p.Top[0].Count != c.top || len(p.Top) == 0 && c.top > 0 {
		t.Errorf("column %s: most frequent is %+v, want a count of %d", p.Name, p.Top, c.top)
	}
	switch {
	case p.Number != nil:
		near := func(a, b float64) bool { return math.Abs(a/2-b/2) <= 1e-9*max(math.Abs(b), c.stddev) }
		if !near(p.Number.Mean, c.mean) || !near(p.Number.Stddev, c.stddev) {
			t.Errorf("column %s: mean %v, deviation %v; want %v, %v", p.Name, p.Number.Mean, p.Number.Stddev, c.mean, c.stddev)
		}
		if want, ok := new(big.Rat).SetString(c.sum); ok {
			if got, ok := new(big.Rat).SetString(p.Number.Sum.String()); !ok || got.Cmp(want) != 0 {
				t.Errorf("column %s: sum %s, want %s", p.Name, p.Number.Sum, c.sum)
			}
		}
		for _, end := range [][2]string{{p.Number.Min.String(), c.least}, {p.Number.Max.String(), c.most}} {
			c.checkEnd(t, p, end[0], end[1])
		}
		if q := p.Number.Quantiles; q != nil && q.Exact && q.P50 != c.median {
			t.Errorf("column %s: median %v, want %v", p.Name, q.P50, c.median)
		}
	case p.Time != nil:
		if c.least != "" && (p.Time.Min != c.least || p.Time.Max != c.most) {
			t.Errorf("column %s: %+v, want %s to %s", p.Name, *p.Time, c.least, c.most)
		}
	case p.Text != nil:
		if want := (TextStats{c.least, c.most, c.shortest, c.meanLength, c.longest}); *p.Text != want {
			t.Errorf("column %s: %+v, want %+v", p.Name, *p.Text, want)
		}
	case c.least != "":
		t.Errorf("column %s has no range, want %s to %s", p.Name, c.least, c.most)
	}
}

// checkEnd holds the end of a range to the exact value: integers exactly, others as a float64 holds them.
func (c counted) checkEnd(t *testing.T, p ColumnProfile, got, want string) {
	t.Helper()
	exact := func(s string) *big.Float {
		v, _, err := big.ParseFloat(s, 10, 4000, big.ToNearestEven)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	a, b := exact(got), exact(want)
	if c.kind == "integer" {
		if a.Cmp(b) != 0 {
			t.Errorf("column %s ends at %s, want %s", p.Name, got, want)
		}
		return
	}
	x, _ := a.Float64()
	y, _ := b.Float64()
	if x != y {
		t.Errorf("column %s ends at %v, want %v", p.Name, x, y)
	}
}

var (
	western = charmap.Windows1252
	utf16LE = unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	utf16BE = unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
)

// The recount itself, on a column whose figures are plain.
func TestRecount(t *testing.T) {
	got := recount([]string{"1", "2", "NA", "", "4"})
	want := counted{kind: "integer", nulls: 2, missing: 1, distinct: 3, mean: 7.0 / 3, median: 2, top: 1, sum: "7.000000000000000000"}
	want.least, want.most, want.stddev = got.least, got.most, math.Sqrt(14.0/9)
	if math.Abs(got.stddev-want.stddev) > 1e-12 || !strings.HasPrefix(got.least, "1.000") || !strings.HasPrefix(got.most, "4.000") {
		t.Errorf("%+v", got)
	}
	if got.stddev = want.stddev; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
