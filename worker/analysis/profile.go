package analysis

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math/bits"
	"slices"
	"strings"

	"github.com/tidemark-dev/tidemark/worker/analysis/internal/figures"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// ProfileSchema is the version of Profile's JSON.
const ProfileSchema = 1

// Profile is what an analysis found. It depends on the file's content and how it
// was read alone, so the same file gives the same bytes of JSON, however often
// its analysis was interrupted.
type Profile struct {
	Schema    int    `json:"schema"`
	Format    string `json:"format"`              // csv or ndjson; of a packed file what its text is
	Packing   string `json:"packing,omitempty"`   // gzip, zstd, zip, xlsx or parquet; bytes are those of the text then
	Encoding  string `json:"encoding"`            // utf-8, utf-16le, utf-16be or windows-1252
	Delimiter string `json:"delimiter,omitempty"` // CSV alone
	Header    bool   `json:"header,omitempty"`    // a record gave the column names
	// Skipped lines are titles and comments above the header.
	Skipped int   `json:"skipped,omitempty"`
	Bytes   int64 `json:"bytes"`
	Rows    int64 `json:"rows"` // without the header and blank lines
	// Ragged rows have more or fewer fields than there are columns. What lacks
	// counts as null, what is over is left out. Rows of which nothing is over but empty fields are
	// not among them.
	Ragged int64 `json:"ragged"`
	// Malformed lines of NDJSON are no JSON object and not among the rows.
	// Malformed records of a CSV have misplaced quotes; they are among the rows,
	// read as well as may be.
	Malformed int64 `json:"malformed"`
	// Duplicates counts the rows that repeat an earlier one.
	Duplicates Duplicates `json:"duplicates"`
	// Warnings say what about the file may not be as it was meant, the whole file's first. At most
	// maxWarnings.
	Warnings []Warning       `json:"warnings,omitempty"`
	Columns  []ColumnProfile `json:"columns"`
	// Correlations are those of the numeric columns, of the first figures.MaxCorrelated that have a number.
	Correlations []Correlation `json:"correlations,omitempty"`
}

// form is what the file is, for people.
func (p *Profile) form() string {
	switch packed.Packing(p.Packing) {
	case packed.None:
		return strings.ToUpper(p.Format)
	case packed.XLSX:
		return "XLSX"
	case packed.Parquet:
		return "Parquet"
	}
	return strings.ToUpper(p.Format) + " in " + p.Packing
}

// Duplicates counts rows whose cells are all spelled as those of an earlier row. A null and a member that is
// not there are the same.
type Duplicates struct {
	// Rows is exact, or an estimate.
	Rows  int64 `json:"rows"`
	Exact bool  `json:"exact"`
	// Error of an estimate is two of its standard errors, in rows; 0 where Rows is exact. Fewer
	// duplicates than this may be none.
	Error int64 `json:"error"`
}

// Correlation is Pearson's coefficient of two numeric columns.
type Correlation struct {
	// A and B are places in Columns, from 0, A before B.
	A int `json:"a"`
	B int `json:"b"`
	// R is from -1 to 1.
	R float64 `json:"r"`
	// Rows are those in which both have a number.
	Rows int64 `json:"rows"`
}

// ColumnProfile describes one column.
type ColumnProfile struct {
	Name string `json:"name"`
	// Type is integer, number, boolean, date, timestamp, string, object, array,
	// null (no value at all) or mixed. Integers among numbers make number, dates
	// among timestamps make timestamp.
	Type  string `json:"type"`
	Nulls int64  `json:"nulls"` // also rows in which the column is missing, and Missing
	// Missing counts the words, such as NA, that stand for a missing value among numbers.
	Missing int64 `json:"missing,omitempty"`
	// Types counts the values by kind, where there is more than one.
	Types *TypeCounts `json:"types,omitempty"`
	// Distinct counts spellings: 1 and 1.0 are two. Nested values are not counted.
	// Where DistinctExact is false it is an estimate, never above the number of
	// values.
	Distinct      int64        `json:"distinct"`
	DistinctExact bool         `json:"distinct_exact"`
	Number        *NumberStats `json:"number,omitempty"` // of the numeric values
	Time          *TimeStats   `json:"time,omitempty"`   // of dates and timestamps
	Text          *TextStats   `json:"text,omitempty"`   // of the strings
	// Top are the most frequent values, at most ten, without those that can't
	// be told from chance.
	Top []TopValue `json:"top,omitempty"`
	// TopError bounds how far a count in Top may be below the truth; a value not
	// in Top may occur a few times as often as this. Never above the truth.
	TopError int64 `json:"top_error"`
}

// TypeCounts is how many values are of each kind.
type TypeCounts struct {
	Boolean   int64 `json:"boolean,omitempty"`
	Integer   int64 `json:"integer,omitempty"`
	Number    int64 `json:"number,omitempty"`
	Date      int64 `json:"date,omitempty"`
	Timestamp int64 `json:"timestamp,omitempty"`
	String    int64 `json:"string,omitempty"`
	Object    int64 `json:"object,omitempty"`
	Array     int64 `json:"array,omitempty"`
}

// NumberStats describes the integers and numbers of a column.
type NumberStats struct {
	Min    json.Number `json:"min"`
	Max    json.Number `json:"max"`
	Mean   float64     `json:"mean"`
	Stddev float64     `json:"stddev"` // of the population
	// Sum is exact, in decimal digits. It is missing where a number has an exponent, or more digits than 64 bits or
	// 18 decimals hold.
	Sum json.Number `json:"sum,omitempty"`
	// Quantiles is missing in tables of more than 512 columns. Exact says that
	// they are values at their very rank; else they are estimates.
	Quantiles *Quantiles `json:"quantiles,omitempty"`
	// Histogram is missing in tables of more than 512 columns.
	Histogram *Histogram `json:"histogram,omitempty"`
	// Outliers is missing where the quartiles are equal or unknown, or values are few.
	Outliers *Outliers `json:"outliers,omitempty"`
}

// Histogram counts numbers in bins of one width, a power of two. Counts are exact, and the first and the last are not 0.
type Histogram struct {
	Start  float64 `json:"start"` // where the first bin begins, which it includes
	Width  float64 `json:"width"` // 0 where all numbers are the same
	Counts []int64 `json:"counts"`
}

// Outliers counts the numbers beyond Tukey's outer fences, which lie three times the distance between the
// quartiles below the lower and above the upper one.
type Outliers struct {
	Below float64 `json:"below"`
	Above float64 `json:"above"`
	Count int64   `json:"count"`
	Exact bool    `json:"exact"` // else quartiles and count are estimates
}

// Quantiles are the values below which a share of the values lies.
type Quantiles struct {
	Exact bool    `json:"exact"`
	P1    float64 `json:"p1"`
	P5    float64 `json:"p5"`
	P25   float64 `json:"p25"`
	P50   float64 `json:"p50"`
	P75   float64 `json:"p75"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
}

var quantileRanks = []float64{0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99}

// TimeStats gives the range of the dates or timestamps, in UTC.
type TimeStats struct {
	Min string `json:"min"`
	Max string `json:"max"`
	// Histogram is missing in tables of more than 512 columns.
	Histogram *TimeHistogram `json:"histogram,omitempty"`
}

// TimeHistogram counts times in bins of one width: seconds, minutes, hours, days, or days times a power of two.
// Counts are exact, and the first and the last are not 0.
type TimeHistogram struct {
	Start        string  `json:"start"`         // where the first bin begins, which it includes
	WidthSeconds int64   `json:"width_seconds"` // 0 where all times are in the same second
	Counts       []int64 `json:"counts"`
}

// TextStats gives the range of the strings in byte order, long ones cut and
// marked with an ellipsis, and of their lengths in bytes.
type TextStats struct {
	Min        string  `json:"min"`
	Max        string  `json:"max"`
	MinLength  int64   `json:"min_length"`
	MeanLength float64 `json:"mean_length"`
	MaxLength  int64   `json:"max_length"`
}

// TopValue is a frequent value and how often it occurs at least.
type TopValue struct {
	Value string `json:"value"`
	Count int64  `json:"count"`
}

// encode writes the profile as it is stored.
func (p *Profile) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(p)
	return b.Bytes(), err
}

// profile draws the conclusions. The state must have reached the file's end and
// is not to be carried on afterwards.
func (st *State) profile() *Profile {
	d := st.dialect
	p := &Profile{
		Schema: ProfileSchema, Format: d.Format, Encoding: d.Encoding.String(), Header: d.Header, Skipped: d.Skipped,
		Bytes: st.offset, Rows: int64(st.rows), Ragged: int64(st.ragged), Malformed: int64(st.malformed),
		Columns: make([]ColumnProfile, 0, len(st.columns)),
	}
	if d.Format == table.CSV {
		p.Delimiter = string(rune(d.Delimiter))
	}
	for _, c := range st.columns {
		p.Columns = append(p.Columns, c.profile(st.rows))
	}
	p.Duplicates = st.duplicates()
	p.Correlations = st.correlations(p)
	p.Warnings = st.warnings(p)
	return p
}

func (c *column) profile(rows uint64) ColumnProfile {
	of := c.settle()
	n, exact := c.distinct.count()
	if of.words {
		n += uint64(bits.OnesCount32(c.placeholders))
	}
	var values uint64
	for _, k := range of.counts {
		values += k
	}
	// The estimate of a column of unique values errs upwards as often as not.
	n = min(n, values-of.counts[table.Object]-of.counts[table.Array])
	p := ColumnProfile{
		Name: c.name, Type: of.typeName(), Nulls: int64(rows - values), Missing: int64(of.missing),
		Types: of.typeCounts(), Distinct: int64(n), DistinctExact: exact,
		Top: c.top(of), Text: c.textStats(of),
	}
	if !of.codes {
		p.Number = c.numberStats()
	}
	if len(p.Top) > 0 {
		p.TopError = int64(c.frequent.lost)
	}
	if c.times() > 0 {
		dates := c.counts[table.Timestamp] == 0
		p.Time = &TimeStats{Min: c.first.Text(dates), Max: c.last.Text(dates)}
		if start, width, counts := c.timesOf.Bins(false); counts != nil {
			whole := dates && int64(width)%86400 == 0 // else the first bin begins within a day
			p.Time.Histogram = &TimeHistogram{Start: table.Instant{Sec: int64(start)}.Text(whole), WidthSeconds: int64(width), Counts: signed(counts)}
		}
	}
	return p
}

func (c *column) numberStats() *NumberStats {
	if c.numbers() == 0 {
		return nil
	}
	s := &NumberStats{
		Min: end(c.lowest, c.least), Max: end(c.highest, c.most),
		Mean: c.average(), Stddev: c.deviation(),
	}
	if c.counts[table.Number] == 0 { // beyond 2^53 a float64 would round them
		s.Min, s.Max = jsonOf(c.smallest), jsonOf(c.largest)
	}
	if q := c.quantiles(quantileRanks); q != nil {
		s.Quantiles = &Quantiles{c.digest == nil, q[0], q[1], q[2], q[3], q[4], q[5], q[6]}
	}
	if text, ok := c.sum.Text(); ok {
		s.Sum = json.Number(text)
	}
	if start, width, counts := c.numbersOf.Bins(c.counts[table.Number] == 0); counts != nil {
		s.Histogram = &Histogram{start, width, signed(counts)}
	}
	s.Outliers = c.outliers()
	return s
}

func signed(counts []uint64) []int64 {
	all := make([]int64, len(counts))
	for i, n := range counts {
		all[i] = int64(n)
	}
	return all
}

// end writes the end of a range, with all its digits where a float64 may not hold them.
func end(v float64, exact figures.Decimal) json.Number {
	if hasMany(exact) {
		return json.Number(exact.String())
	}
	return number(v)
}

// number writes negative zero as zero.
func number(v float64) json.Number {
	if v == 0 {
		v = 0
	}
	return jsonOf(v)
}

func jsonOf(v any) json.Number {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // integers and finite floats marshal
	}
	return json.Number(b)
}

const (
	topValues = 10
	// A counter far below what all counters have lost stands for a value that
	// came late by chance, as in a column of unique values.
	topNoise = 4
)

func (c *column) top(of settled) []TopValue {
	var top []TopValue
	for i, it := range c.frequent.items {
		if it.kind == table.Placeholder && !of.words {
			continue
		}
		n := it.count - c.frequent.lost
		if n*topNoise >= c.frequent.lost {
			top = append(top, TopValue{Value: shown(c.frequent.bytes(i), it.cut), Count: int64(n)})
		}
	}
	slices.SortFunc(top, func(a, b TopValue) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Value, b.Value))
	})
	return top[:min(len(top), topValues)]
}
