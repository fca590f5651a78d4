package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// each are options of every format.
var each = []Options{
	{Format: CSV},
	{Format: CSV, Compression: Gzip, Delimiter: ';', CRLF: true},
	{Format: CSV, Compression: Zstd, NoHeader: true, RunFormulas: true},
	{Format: NDJSON},
	{Format: NDJSON, Compression: Gzip},
	{Format: NDJSON, Compression: Zstd},
	{Format: XLSX},
	{Format: XLSX, NoHeader: true},
	{Format: Parquet},
}

func nameOf(o Options) string {
	return strings.TrimSuffix(string(o.Format)+"-"+string(o.Compression), "-")
}

func TestResumedFileEqualsUndisturbed(t *testing.T) {
	t.Parallel()
	for _, o := range each {
		t.Run(nameOf(o), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				kinds := rapid.SliceOfN(rapid.IntRange(int(rows.Text), int(rows.JSON)), 1, 12).Draw(t, "kinds")
				p := plan{options: o, limits: small}
				for i, k := range kinds {
					p.columns = append(p.columns, rows.Column{Name: fmt.Sprint("column ", i), Kind: rows.Kind(k)})
				}
				seed := rapid.Uint64().Draw(t, "seed")
				p.table = randomTable(seed, p.columns, rapid.IntRange(0, 120).Draw(t, "rows"))
				whole, _, _, err := p.write()
				if err != nil {
					t.Fatal(err)
				}
				r := rand.New(rand.NewPCG(seed, 1))
				share := rapid.IntRange(1, 4).Draw(t, "share of boundaries that are cut")
				p.cut = func() bool { return r.IntN(share) == 0 }
				p.late = rapid.IntRange(0, 30).Draw(t, "rows that are lost")
				resumed, boundaries, cuts, err := p.write()
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(whole, resumed) {
					t.Fatalf("%d cuts at %d boundaries gave other bytes", cuts, boundaries)
				}
				if share == 1 && cuts != boundaries {
					t.Fatalf("%d cuts at %d boundaries", cuts, boundaries)
				}
			})
		})
	}
}

// A file has a boundary each 1 MiB before compression, of Parquet each 50,000 rows: a worker loses no more.
func TestBoundariesComeByData(t *testing.T) {
	t.Parallel()
	columns := allKinds()
	for _, o := range each {
		t.Run(nameOf(o), func(t *testing.T) {
			t.Parallel()
			n := 25_000
			if o.Format == Parquet {
				n = 50_100
			}
			p := plan{columns: columns, options: o, limits: theLimits, table: randomTable(1, columns, n), cut: func() bool { return true }}
			file, boundaries, _, err := p.write()
			if err != nil {
				t.Fatal(err)
			}
			size := 0
			switch o.Format {
			case XLSX:
				for _, sheet := range unzipped(t, file) {
					size += len(sheet)
				}
			case Parquet:
				size = len(p.table) / 50_000 << 20
			default:
				size = len(unpacked(t, o, file))
			}
			if boundaries != size>>20 {
				t.Errorf("%d bytes have %d boundaries", size, boundaries)
			}
		})
	}
}

func TestStateOfAnotherFileIsRefused(t *testing.T) {
	t.Parallel()
	columns := allKinds()
	stateOf := func(o Options, columns []rows.Column) []byte {
		w, err := begin(io.Discard, columns, o, limits{block: 1, sheetRows: 9, sheetBytes: 1 << 20, groupRows: 1, groupBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.State(); err == nil {
			t.Error("a file without a row gave a state")
		}
		if err := w.Write(randomTable(1, columns, 1)[0]); err != nil {
			t.Fatal(err)
		}
		state, err := w.State()
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	for i, o := range each {
		state := stateOf(o, columns)
		if _, err := Resume(io.Discard, columns, o, state); err != nil {
			t.Errorf("%s: %v", nameOf(o), err)
		}
		wrong := map[string][]byte{
			"empty":       nil,
			"cut":         state[:len(state)-1],
			"longer":      append(bytes.Clone(state), 0),
			"version":     bytes.Replace(state, fmt.Appendf(nil, " %d\n", versions[o.Format]), fmt.Appendf(nil, " %d\n", versions[o.Format]+1), 1),
			"other":       stateOf(each[(i+1)%len(each)], columns),
			"fewer":       stateOf(o, columns[1:]),
			"other names": stateOf(o, append([]rows.Column{{Name: "b", Kind: rows.Text}}, columns[1:]...)),
		}
		for name, state := range wrong {
			if _, err := Resume(io.Discard, columns, o, state); !errors.Is(err, ErrState) {
				t.Errorf("%s, %s: %v, want ErrState", nameOf(o), name, err)
			}
		}
	}
}

// broken takes so many bytes.
type broken struct{ left int }

var errBroken = errors.New("the disk is full")

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestFailureOfTheFileStays(t *testing.T) {
	t.Parallel()
	columns := allKinds()
	table := randomTable(1, columns, 400)
	for _, o := range each {
		w, err := begin(&broken{left: 300}, columns, o, small)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range table {
			if err = w.Write(row); err != nil {
				break
			}
		}
		if !errors.Is(err, errBroken) {
			t.Errorf("%s: %v, want the disk's error", nameOf(o), err)
		}
		if w.Boundary() {
			t.Errorf("%s: a boundary after a failure", nameOf(o))
		}
		if _, err := w.State(); err == nil {
			t.Errorf("%s: a state after a failure", nameOf(o))
		}
		if err := w.Write(table[0]); !errors.Is(err, errBroken) {
			t.Errorf("%s: then Write gives %v", nameOf(o), err)
		}
		if err := w.Close(); !errors.Is(err, errBroken) {
			t.Errorf("%s: then Close gives %v", nameOf(o), err)
		}
	}
}

func TestClosedFileTakesNothing(t *testing.T) {
	t.Parallel()
	columns := allKinds()
	for _, o := range each {
		var file bytes.Buffer
		w, err := New(&file, columns, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		size := file.Len()
		if w.Write(randomTable(1, columns, 1)[0]) == nil || w.Close() == nil || w.Boundary() {
			t.Errorf("%s: a closed file goes on", nameOf(o))
		}
		if file.Len() != size {
			t.Errorf("%s: %d bytes after the end", nameOf(o), file.Len()-size)
		}
	}
}

func TestWrongValuesAreNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		column rows.Kind
		value  rows.Value
		want   string
	}{
		"kind":      {rows.Text, rows.Value{Kind: rows.Int}, "row 2, column 1"},
		"decimal":   {rows.Decimal, rows.Value{Kind: rows.Decimal, Data: []byte("1e5")}, "row 2, column 1: not a decimal"},
		"no digits": {rows.Decimal, rows.Value{Kind: rows.Decimal, Data: []byte("-.5")}, "row 2, column 1: not a decimal"},
		"day":       {rows.Date, rows.Value{Kind: rows.Date, Int: 1 << 62}, "row 2, column 1: a time more than"},
		"moment":    {rows.Timestamp, rows.Value{Kind: rows.Timestamp, Int: -1 << 63}, ""},
		"large":     {rows.Text, rows.Value{Kind: rows.Text, Data: make([]byte, MaxRowBytes+1)}, "row 2 has 8388609 bytes, more than 8388608: too large"},
	} {
		for _, o := range each {
			w, err := New(io.Discard, []rows.Column{{Name: "x", Kind: c.column}}, o)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write([]rows.Value{{}}); err != nil {
				t.Fatal(err)
			}
			err = w.Write([]rows.Value{c.value})
			if c.want == "" {
				if err != nil {
					t.Errorf("%s, %s: %v", nameOf(o), name, err)
				}
				continue
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %s: %v, want %q", nameOf(o), name, err, c.want)
			}
			if name == "large" != errors.Is(err, ErrTooLarge) {
				t.Errorf("%s, %s: %v", nameOf(o), name, err)
			}
		}
	}
	w, err := New(io.Discard, allKinds(), Options{Format: CSV})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(make([]rows.Value, 2)); err == nil || !strings.Contains(err.Error(), "row 1 has 2 values, want 9") {
		t.Errorf("a short row: %v", err)
	}
}

func TestWrongOptionsAndColumnsAreNamed(t *testing.T) {
	t.Parallel()
	one := []rows.Column{{Name: "x", Kind: rows.Text}}
	for want, c := range map[string]struct {
		columns []rows.Column
		o       Options
	}{
		`format "pdf"`:                    {one, Options{Format: "pdf"}},
		`compression "rar"`:               {one, Options{Format: CSV, Compression: "rar"}},
		`delimiter 'x'`:                   {one, Options{Format: CSV, Delimiter: 'x'}},
		"are options of csv":              {one, Options{Format: NDJSON, CRLF: true}},
		"a header is an option":           {one, Options{Format: NDJSON, NoHeader: true}},
		"compression is an option of csv": {one, Options{Format: XLSX, Compression: Gzip}},
		"4097 columns: want 1 to 4096 in": {make([]rows.Column, MaxParquetColumns+1), Options{Format: Parquet}},
		"0 columns: want 1 to 16384":      {nil, Options{Format: CSV}},
		"16385 columns":                   {make([]rows.Column, MaxColumns+1), Options{Format: CSV}},
		"column 1 has no kind":            {make([]rows.Column, 1), Options{Format: CSV}},
		"more than 1048576 bytes":         {[]rows.Column{{Name: strings.Repeat("x", MaxNameBytes+1), Kind: rows.Text}}, Options{Format: CSV}},
		"columns 1 and 2 have the same":   {append(one, one...), Options{Format: NDJSON}},
	} {
		if _, err := New(io.Discard, c.columns, c.o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := New(io.Discard, append(one, one...), Options{Format: CSV}); err != nil {
		t.Errorf("a CSV file with one name twice: %v", err)
	}
}
