package analysis

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// ProfileSchema is the version of Profile's JSON.
const ProfileSchema = 1

// Profile is what an analysis found. It depends on the file's content and how it
// was read alone, so the same file gives the same bytes of JSON, however often
// its analysis was interrupted.
type Profile struct {
	Schema    int    `json:"schema"`
	Format    string `json:"format"`              // csv or ndjson
	Delimiter string `json:"delimiter,omitempty"` // CSV alone
	Header    bool   `json:"header,omitempty"`    // the first record gave the column names
	Bytes     int64  `json:"bytes"`
	Rows      int64  `json:"rows"` // without the header and blank lines
	// Ragged rows have more or fewer fields than there are columns. What lacks
	// counts as null, what is over is left out.
	Ragged int64 `json:"ragged"`
	// Malformed lines of NDJSON are no JSON object and not among the rows.
	// Malformed records of a CSV have misplaced quotes; they are among the rows,
	// read as well as may be.
	Malformed int64           `json:"malformed"`
	Columns   []ColumnProfile `json:"columns"`
}

// ColumnProfile describes one column.
type ColumnProfile struct {
	Name string `json:"name"`
	// Type is integer, number, boolean, date, timestamp, string, object, array,
	// null (no value at all) or mixed. Integers among numbers make number, dates
	// among timestamps make timestamp.
	Type  string `json:"type"`
	Nulls int64  `json:"nulls"` // also rows in which the column is missing
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
	// Quantiles is missing in tables of more than 512 columns. Exact says that
	// they are values at their very rank; else they are estimates.
	Quantiles *Quantiles `json:"quantiles,omitempty"`
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
}

// TextStats gives the range of the strings in byte order, long ones cut and
// marked with an ellipsis, and of their lengths in bytes.
type TextStats struct {
	Min       string `json:"min"`
	Max       string `json:"max"`
	MinLength int64  `json:"min_length"`
	MaxLength int64  `json:"max_length"`
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
	p := &Profile{
		Schema: ProfileSchema, Format: st.format, Header: st.header,
		Bytes: st.offset, Rows: int64(st.rows), Ragged: int64(st.ragged), Malformed: int64(st.malformed),
		Columns: make([]ColumnProfile, 0, len(st.columns)),
	}
	if st.format == formatCSV {
		p.Delimiter = string(st.delimiter)
	}
	for _, c := range st.columns {
		p.Columns = append(p.Columns, c.profile(st.rows))
	}
	return p
}

func (c *column) profile(rows uint64) ColumnProfile {
	n, exact := c.distinct.count()
	var values uint64
	for _, k := range c.counts {
		values += k
	}
	// The estimate of a column of unique values errs upwards as often as not.
	n = min(n, values-c.counts[kindObject]-c.counts[kindArray])
	p := ColumnProfile{
		Name: c.name, Type: c.typeName(), Nulls: int64(rows - values),
		Types: c.typeCounts(), Distinct: int64(n), DistinctExact: exact,
		Number: c.numberStats(), Top: c.top(),
	}
	if len(p.Top) > 0 {
		p.TopError = int64(c.frequent.lost)
	}
	if c.times() > 0 {
		dates := c.counts[kindTimestamp] == 0
		p.Time = &TimeStats{Min: c.first.text(dates), Max: c.last.text(dates)}
	}
	if c.counts[kindText] > 0 {
		p.Text = &TextStats{
			Min: c.lowText.String(), Max: c.highText.String(),
			MinLength: int64(c.shortest), MaxLength: int64(c.longest),
		}
	}
	return p
}

// typeName is the narrowest type that holds all values.
func (c *column) typeName() string {
	name := "null"
	for k, n := range c.counts {
		if n == 0 {
			continue
		}
		switch is := kindNames[k]; {
		case name == "null", name == "integer" && is == "number", name == "date" && is == "timestamp":
			name = is // kinds are in this order
		default:
			return "mixed"
		}
	}
	return name
}

func (c *column) typeCounts() *TypeCounts {
	several := 0
	for _, n := range c.counts {
		if n > 0 {
			several++
		}
	}
	if several < 2 {
		return nil
	}
	of := func(k kind) int64 { return int64(c.counts[k]) }
	return &TypeCounts{
		Boolean: of(kindBool), Integer: of(kindInteger), Number: of(kindNumber), Date: of(kindDate),
		Timestamp: of(kindTimestamp), String: of(kindText), Object: of(kindObject), Array: of(kindArray),
	}
}

func (c *column) numberStats() *NumberStats {
	if c.numbers() == 0 {
		return nil
	}
	s := &NumberStats{
		Min: number(c.lowest), Max: number(c.highest),
		Mean: c.average(), Stddev: c.deviation(),
	}
	if c.counts[kindNumber] == 0 { // beyond 2^53 a float64 would round them
		s.Min, s.Max = jsonOf(c.smallest), jsonOf(c.largest)
	}
	if q := c.quantiles(quantileRanks); q != nil {
		s.Quantiles = &Quantiles{c.digest == nil, q[0], q[1], q[2], q[3], q[4], q[5], q[6]}
	}
	return s
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

func (c *column) top() []TopValue {
	var top []TopValue
	for i, it := range c.frequent.items {
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
