package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/filetest"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// exact is how DuckDB says all of a column of the kind.
func exact(c rows.Column) string {
	name := strconv.Quote(c.Name)
	switch c.Kind {
	case rows.Text, rows.JSON, rows.Decimal:
		return "CAST(" + name + " AS VARCHAR)"
	case rows.Date:
		return name + " - DATE '1970-01-01'"
	case rows.Timestamp:
		return "epoch_us(" + name + ")"
	case rows.Bytes:
		return "hex(" + name + ")"
	default:
		return name
	}
}

func TestParquetReadsBackEqual(t *testing.T) {
	t.Parallel()
	columns := allKinds()
	for _, seed := range []uint64{1, 2} {
		r := rand.New(rand.NewPCG(seed, 2))
		p := plan{columns: columns, options: Options{Format: Parquet}, limits: small, table: randomTable(seed, columns, 1_000)}
		p.limits.groupRows, p.limits.groupBytes = 90, 1<<20
		p.cut = func() bool { return r.IntN(3) == 0 }
		file := store(t, "a.parquet", p.mustWrite(t))
		var query []string
		for _, c := range columns {
			query = append(query, exact(c))
		}
		got := filetest.SQL(t, file, "SELECT "+strings.Join(query, ", ")+" FROM read_parquet($file)")
		if len(got) != len(p.table) {
			t.Fatalf("%d rows, want %d", len(got), len(p.table))
		}
		for i, row := range got {
			for j, cell := range row {
				if v := p.table[i][j]; !sameValue(cell, v) {
					t.Fatalf("row %d, %s: %q, want %q", i, columns[j].Name, *cell, asText(v))
				}
			}
		}
		// What the footer says of nulls, minima and maxima leads DuckDB past row groups.
		var queries, want []string
		count := func(condition string, holds func(row []rows.Value) bool) {
			n := 0
			for _, row := range p.table {
				if holds(row) {
					n++
				}
			}
			queries, want = append(queries, fmt.Sprintf("SELECT %d AS n, count(*) FROM read_parquet($file) WHERE %s", len(queries), condition)), append(want, fmt.Sprint(condition, ": ", n))
		}
		for j, c := range columns {
			count(strconv.Quote(c.Name)+" IS NULL", func(row []rows.Value) bool { return row[j].Kind == rows.Null })
		}
		count(`"a integer" > 400000`, func(row []rows.Value) bool { return row[1].Kind == rows.Int && row[1].Int > 400_000 })
		count(`"a date" < '1970-01-01'`, func(row []rows.Value) bool { return row[5].Kind == rows.Date && row[5].Int < 0 })
		for i, row := range filetest.SQL(t, file, strings.Join(queries, " UNION ALL ")+" ORDER BY n") {
			condition, _, _ := strings.Cut(want[i], ":")
			if got := condition + ": " + *row[1]; got != want[i] {
				t.Errorf("DuckDB finds %s, want %s", got, want[i])
			}
		}
		groups := filetest.SQL(t, file, "SELECT count(DISTINCT row_group_id), sum(num_values) FROM parquet_metadata($file)")[0]
		if *groups[0] != "12" || *groups[1] != fmt.Sprint(len(p.table)*len(columns)) {
			t.Errorf("%s row groups with %s values", *groups[0], *groups[1])
		}
	}
}

// sameValue reports whether DuckDB's value is v.
func sameValue(got *string, v rows.Value) bool {
	if got == nil || v.Kind == rows.Null {
		return got == nil && v.Kind == rows.Null
	}
	switch v.Kind {
	case rows.Float:
		f, err := strconv.ParseFloat(*got, 64)
		return err == nil && (f == v.Float || math.IsNaN(f) && math.IsNaN(v.Float))
	case rows.Date, rows.Timestamp:
		return *got == strconv.FormatInt(v.Int, 10)
	case rows.Bytes:
		return strings.EqualFold(*got, hexOf(v.Data))
	case rows.JSON:
		return sameJSON([]byte(*got), v)
	default:
		return *got == asText(v)
	}
}

func TestParquetHasTypes(t *testing.T) {
	t.Parallel()
	columns := allKinds()
	columns[1].Name = "zoë \"quoted\" \xff"
	for _, n := range []int{0, 1} {
		file := store(t, "a.parquet", plan{columns: columns, options: Options{Format: Parquet}, limits: theLimits, table: randomTable(1, columns, n)}.mustWrite(t))
		want := []string{"VARCHAR", "BIGINT", "DOUBLE", "VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP WITH TIME ZONE", "BLOB", "JSON"}
		for i, row := range filetest.SQL(t, file, "DESCRIBE SELECT * FROM read_parquet($file)") {
			if name := utf8Of([]byte(columns[i].Name)); *row[0] != name || *row[1] != want[i] {
				t.Errorf("column %d is %q of %s, want %q of %s", i, *row[0], *row[1], name, want[i])
			}
		}
		if by := *filetest.SQL(t, file, "SELECT created_by FROM parquet_file_metadata($file)")[0][0]; by != "tidemark" {
			t.Errorf("the file is by %q", by)
		}
	}
}

func TestParquetGroupsEndByBytes(t *testing.T) {
	t.Parallel()
	columns := []rows.Column{{Name: "x", Kind: rows.Text}}
	p := plan{columns: columns, options: Options{Format: Parquet}, limits: theLimits}
	for range 65 {
		p.table = append(p.table, []rows.Value{{Kind: rows.Text, Data: bytes.Repeat([]byte("x"), 1<<20)}})
	}
	if _, boundaries, _, err := p.write(); err != nil || boundaries != 2 {
		t.Errorf("65 MiB have %d boundaries, %v", boundaries, err)
	}
}

func TestParquetHasItsBounds(t *testing.T) {
	t.Parallel()
	columns := allKinds()
	w, err := begin(io.Discard, columns, Options{Format: Parquet}, limits{groupRows: 1, groupBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	f := w.(*parquetFile)
	f.groups.b = make([]byte, MaxStateBytes-stateHead-200)
	for _, row := range randomTable(3, columns, 50) {
		if err = w.Write(row); err != nil {
			break
		}
		if state, err := w.State(); err != nil || len(state) > MaxStateBytes {
			t.Fatalf("a state of %d bytes, %v", len(state), err)
		}
	}
	if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "row groups of 9 columns") || f.written < 3 {
		t.Errorf("after %d row groups %v, want ErrTooLarge", f.written, err)
	}
}
