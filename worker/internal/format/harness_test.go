package format

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// small has a boundary after a few rows.
var small = limits{block: 700, sheetRows: 23, sheetBytes: 9_000, groupRows: 9, groupBytes: 2_000}

// allKinds are columns of each kind.
func allKinds() []rows.Column {
	var columns []rows.Column
	for k := rows.Text; k <= rows.JSON; k++ {
		columns = append(columns, rows.Column{Name: "a " + k.String(), Kind: k})
	}
	return columns
}

var (
	oddTexts = []string{
		"", " ", "plain", "two words ", "comma, semicolon; bar| tab\t", "quote \" and \"\"", "line\nand\r\nline", "Zoë – 東京 🌊", "\x00\x01\x1f",
		"\xff\xfe no UTF-8 \xc3", `\.`, "=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "-5", "null", "_x0041_ _x00", "<b>&amp;</b>", "\ufffe\uffff", "'quoted'",
	}
	oddFloats   = []float64{0, math.Copysign(0, -1), 1, -1.5, 0.1 + 0.2, 1e21, 1e-7, 1e300, -123456789.125, math.MaxFloat64, math.NaN(), math.Inf(1), math.Inf(-1)}
	oddInts     = []int64{0, 1, -1, 999_999_999_999_999, 1_000_000_000_000_000, math.MaxInt64, math.MinInt64}
	oddDecimals = []string{"0", "-0", "0.10", "-12.345", "007", "123456789012345", "1234567890123456", "0.000000000000000000000000000000000001", "-99999999999999999999999999999999999999.99"}
	oddDays     = []int64{0, -1, 20_000, -25_509, -25_510, -719_162, 2_932_896, 60, 11_016}
	oddJSON     = []string{`{}`, `{"a":[1,2.50,"x"]}`, "{\n \"a\" :\r\n 1 }", `"=1"`, `-5`, `null`, `no json`, `["é"]`}
)

// randomValue is of the kind, null at times and odd often.
func randomValue(r *rand.Rand, k rows.Kind) rows.Value {
	v := rows.Value{Kind: k}
	if r.IntN(8) == 0 {
		return rows.Value{}
	}
	switch odd := r.IntN(3) == 0; k {
	case rows.Text:
		v.Data = []byte("text " + strconv.Itoa(r.IntN(50)))
		if odd {
			v.Data = []byte(oddTexts[r.IntN(len(oddTexts))])
		}
	case rows.Int:
		v.Int = r.Int64N(1_000_000) - 500_000
		if odd {
			v.Int = oddInts[r.IntN(len(oddInts))]
		}
	case rows.Float:
		v.Float = r.NormFloat64() * 1000
		if odd {
			v.Float = oddFloats[r.IntN(len(oddFloats))]
		}
	case rows.Decimal:
		v.Data = strconv.AppendFloat(nil, r.NormFloat64()*1000, 'f', 2, 64)
		if odd {
			v.Data = []byte(oddDecimals[r.IntN(len(oddDecimals))])
		}
	case rows.Bool:
		v.Int = r.Int64N(2)
	case rows.Date:
		v.Int = r.Int64N(30_000)
		if odd {
			v.Int = oddDays[r.IntN(len(oddDays))]
		}
	case rows.Timestamp:
		v.Int = r.Int64N(2_000_000_000) * microsPerSecond
		if odd {
			v.Int = oddDays[r.IntN(len(oddDays))]*microsPerDay + r.Int64N(microsPerDay)
		}
	case rows.Bytes:
		v.Data = make([]byte, r.IntN(20))
		for i := range v.Data {
			v.Data[i] = byte(r.Uint32())
		}
	case rows.JSON:
		v.Data = []byte(oddJSON[r.IntN(len(oddJSON))])
	}
	return v
}

// randomTable is the same for each seed.
func randomTable(seed uint64, columns []rows.Column, n int) [][]rows.Value {
	r := rand.New(rand.NewPCG(seed, 12))
	table := make([][]rows.Value, n)
	for i := range table {
		table[i] = make([]rows.Value, len(columns))
		for j, c := range columns {
			table[i][j] = randomValue(r, c.Kind)
		}
	}
	return table
}

// A plan says what befalls a file.
type plan struct {
	columns []rows.Column
	options Options
	limits  limits
	table   [][]rows.Value
	// cut reports whether the worker dies at a boundary, after it has written late more rows.
	cut  func() bool
	late int
}

// write returns the file, and how many boundaries it had and cuts it took.
func (p plan) write() (out []byte, boundaries, cuts int, err error) {
	var file bytes.Buffer
	w, err := begin(&file, p.columns, p.options, p.limits)
	if err != nil {
		return nil, 0, 0, err
	}
	for i, row := range p.table {
		if err := w.Write(row); err != nil {
			return nil, 0, 0, err
		}
		// A Writer keeps nothing of a row: what was in it may change.
		if !w.Boundary() {
			continue
		}
		boundaries++
		if p.cut == nil || !p.cut() {
			continue
		}
		cuts++
		state, err := w.State()
		if err != nil {
			return nil, 0, 0, err
		}
		if len(state) > MaxStateBytes {
			return nil, 0, 0, errors.New("the state is too large")
		}
		size := file.Len()
		for _, lost := range p.table[i+1 : min(len(p.table), i+1+p.late)] {
			if err := w.Write(lost); err != nil {
				return nil, 0, 0, err
			}
		}
		file.Truncate(size)
		if w, err = resume(&file, p.columns, p.options, p.limits, state); err != nil {
			return nil, 0, 0, err
		}
		if again, err := w.State(); err != nil || !bytes.Equal(again, state) {
			return nil, 0, 0, errors.Join(errors.New("a resumed writer has another state"), err)
		}
	}
	err = w.Close()
	return file.Bytes(), boundaries, cuts, err
}

func (p plan) mustWrite(tb testing.TB) []byte {
	tb.Helper()
	out, _, _, err := p.write()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// store writes a file for a reader that is another program.
func store(tb testing.TB, name string, data []byte) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

// asText is what a value is in CSV, by the standard library; "": null.
func asText(v rows.Value) string {
	switch v.Kind {
	case rows.Null:
		return ""
	case rows.Int:
		return strconv.FormatInt(v.Int, 10)
	case rows.Float:
		switch {
		case math.IsInf(v.Float, 1):
			return "Infinity"
		case math.IsInf(v.Float, -1):
			return "-Infinity"
		}
		return strconv.FormatFloat(v.Float, 'g', -1, 64)
	case rows.Bool:
		return strconv.FormatBool(v.Int != 0)
	case rows.Date:
		return time.Unix(v.Int*86400, 0).UTC().Format(time.DateOnly)
	case rows.Timestamp:
		return time.UnixMicro(v.Int).UTC().Format(time.RFC3339Nano)
	case rows.Bytes:
		return `\x` + hexOf(v.Data)
	default:
		return utf8Of(v.Data)
	}
}

func hexOf(b []byte) string {
	s := ""
	for _, c := range b {
		s += strconv.FormatInt(int64(c>>4), 16) + strconv.FormatInt(int64(c&15), 16)
	}
	return s
}

// utf8Of has U+FFFD for each byte that is no UTF-8, as a range over a string has.
func utf8Of(b []byte) string { return string([]rune(string(b))) }
