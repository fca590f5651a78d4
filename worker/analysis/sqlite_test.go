package analysis

import (
	"database/sql"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

// A profile's rows, nulls, distinct values, sums and ends are SQLite's own of the same data: of integers within 64 bits
// exactly, and of decimals to the last digit, which SQLite adds as whole numbers of their last digit's unit.
func TestProfileAgreesWithSQLite(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+t.TempDir()+"/rows.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkClose(t, db) })
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE t (big INTEGER, small INTEGER, price TEXT, long TEXT, word TEXT)"); err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(12, 1))
	var csv, ndjson strings.Builder
	csv.WriteString("big,small,price,long,word\n")
	book, columns := newSheet(t), newColumns()
	for i := range 3000 {
		var row [5]any
		signs := rng.Int64N(2)*2 - 1
		if row[0] = signs * (math.MaxInt64/2 - rng.Int64N(1000)); i == 7 {
			row[0] = int64(math.MaxInt64)
		} else if i == 8 {
			row[0] = int64(math.MinInt64)
		}
		if rng.IntN(5) > 0 {
			row[1] = rng.Int64N(100)
		}
		if rng.IntN(3) > 0 {
			row[2] = fmt.Sprintf("%d.%02d", rng.IntN(1000), rng.IntN(100))
		}
		row[3] = fmt.Sprintf("%d.%06d", 9_007_199_254-rng.IntN(3), 999_990+rng.IntN(10))
		if rng.IntN(4) > 0 {
			row[4] = fmt.Sprintf("w%d", rng.IntN(50))
		}
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO t VALUES (?, ?, ?, ?, ?)", row[:]...); err != nil {
			t.Fatal(err)
		}
		var cells, members []string
		for j, v := range row {
			name := []string{"big", "small", "price", "long", "word"}[j]
			switch {
			case v == nil:
				cells = append(cells, "")
				members = append(members, fmt.Sprintf(`"%s": null`, name))
			case j == 4:
				cells = append(cells, fmt.Sprint(v))
				members = append(members, fmt.Sprintf(`"%s": "%v"`, name, v))
			default:
				cells = append(cells, fmt.Sprint(v))
				members = append(members, fmt.Sprintf(`"%s": %v`, name, v))
			}
		}
		book.write(t, row)
		columns.write(t, row)
		csv.WriteString(strings.Join(cells, ",") + "\n")
		ndjson.WriteString("{" + strings.Join(members, ", ") + "}\n")
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	ask := func(query string) (answer string) {
		t.Helper()
		var v sql.NullString
		if err := db.QueryRowContext(t.Context(), query).Scan(&v); err != nil {
			t.Fatal(query, err)
		}
		return v.String
	}
	same := func(got, want string) bool {
		a, ok := new(big.Rat).SetString(got)
		b, too := new(big.Rat).SetString(want)
		return ok && too && a.Cmp(b) == 0
	}
	for format, file := range map[string][]byte{
		"csv": []byte(csv.String()), "ndjson": []byte(ndjson.String()), "xlsx": book.file(t), "parquet": columns.file(t),
	} {
		p := profileOf(t, file)
		if got := fmt.Sprint(p.Rows); got != ask("SELECT count(*) FROM t") {
			t.Errorf("%s: %s rows", format, got)
		}
		for i, c := range p.Columns {
			name := c.Name
			if got := fmt.Sprint(c.Nulls); got != ask("SELECT count(*) - count("+name+") FROM t") {
				t.Errorf("%s: %s nulls of %s", format, got, name)
			}
			if got := fmt.Sprint(c.Distinct); c.DistinctExact && got != ask("SELECT count(DISTINCT "+name+") FROM t") {
				t.Errorf("%s: %s distinct of %s", format, got, name)
			}
			// Decimals have 2 or 6 digits behind their point.
			unit := []string{"", "", "e-2", "e-6", ""}[i]
			value := name
			if unit != "" {
				value = "CAST(replace(" + name + ", '.', '') AS INTEGER)"
			}
			if name == "word" {
				if want := ask("SELECT min(word) FROM t") + ask("SELECT max(word) FROM t"); c.Text.Min+c.Text.Max != want {
					t.Errorf("%s: words from %s to %s", format, c.Text.Min, c.Text.Max)
				}
				if want := ask("SELECT avg(length(word)) FROM t"); !same(fmt.Sprint(c.Text.MeanLength), want) {
					t.Errorf("%s: words of %v bytes, want %s", format, c.Text.MeanLength, want)
				}
				continue
			}
			// A sum beyond 64 bits is two halves', which SQLite adds.
			high, low := ask("SELECT sum("+value+" / 1000000) FROM t"), ask("SELECT sum("+value+" % 1000000) FROM t")
			want, _ := new(big.Int).SetString(high, 10)
			rest, _ := new(big.Int).SetString(low, 10)
			want.Mul(want, big.NewInt(1_000_000)).Add(want, rest)
			for what, pair := range map[string][2]string{
				"sum": {c.Number.Sum.String(), want.String() + unit},
				"min": {c.Number.Min.String(), ask("SELECT min("+value+") FROM t") + unit},
				"max": {c.Number.Max.String(), ask("SELECT max("+value+") FROM t") + unit},
			} {
				if !same(pair[0], pair[1]) {
					t.Errorf("%s: %s of %s is %s, SQLite says %s", format, what, name, pair[0], pair[1])
				}
			}
		}
	}
}
