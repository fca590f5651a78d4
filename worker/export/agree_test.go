package export

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/filetest"
	"github.com/tidemark-dev/tidemark/internal/pgtest"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
	"github.com/tidemark-dev/tidemark/worker/workertest"
)

// answers are what SQLite says of a table: rows, nulls, sums, minima and maxima, integers exactly.
const answers = `SELECT count(*), count(big), sum(big), min(big), max(big), count(price), min(price), max(price), sum(length(price)),
	count(ratio), sum(ratio), min(ratio), max(ratio), count(name), min(name), max(name), sum(length(name)) FROM %s`

const agreeing = "(id INTEGER PRIMARY KEY, big BIGINT, price TEXT, ratio DOUBLE PRECISION, name TEXT)"

// agreeRows is SQL that SQLite and Postgres take alike: integers up to the bounds of 64 bits, whose sum fits,
// decimals of 30 digits, texts that look like something else, and nulls.
func agreeRows() string {
	var b strings.Builder
	b.WriteString("INSERT INTO t VALUES ")
	names := []string{"plain", "with, comma", `with "quotes"`, "line\nbreak", "=1+1", "Zoë 𝄞", " blanks ", "007", "1e5", "true", "2026-11-30", "'"}
	for i := range 1200 {
		cells := []string{fmt.Sprint(i + 1), fmt.Sprint(int64(i) * 90_071_992_547_409 * (1 - 2*int64(i%2))), "", fmt.Sprintf("%de-3", i*i*37-5000), "'" + strings.ReplaceAll(names[i%len(names)], "'", "''") + "'"}
		cells[2] = fmt.Sprintf("'%d.%d7'", i-600, i)
		switch {
		case i == 0:
			cells[1] = "9223372036854775807"
		case i == 1:
			cells[1] = "-9223372036854775808"
		case i%100 == 7:
			cells[2] = fmt.Sprintf("'%d12345678901234567890.012345678%d'", i, 1+i%9)
		case i%10 == 3:
			cells[1+i/10%4] = "NULL"
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("(" + strings.Join(cells, ",") + ")")
	}
	return b.String()
}

// What other programs read in the files of a source is what SQLite has of the same rows.
func TestExportsAgreeWithSQLite(t *testing.T) {
	t.Parallel()
	insert := agreeRows()
	lite, db := sqlite(t, "CREATE TABLE t "+agreeing+"; "+insert)
	pg, session := pgtest.Server(t).Database(t)
	session.Exec("CREATE TABLE t " + strings.Replace(agreeing, "price TEXT", "price NUMERIC", 1) + "; " + insert)
	sources := []sqlsource.Source{{Name: "sqlite", URL: lite, Table: "t", Key: []string{"id"}}, {Name: "postgres", URL: pg, Table: "t", Key: []string{"id"}}}
	bucket := memblob.OpenBucket(nil)
	defer func() {
		if err := bucket.Close(); err != nil {
			t.Error(err)
		}
	}()
	table, _ := exported(t, fromSource(t, Payload{Source: "sqlite", Request: Request{Format: "csv", RunFormulas: true}}, sources))
	keep(t, bucket, string(table))

	want := ask(t, db, "t")
	for name, p := range map[string]Payload{"sqlite": {Source: "sqlite"}, "postgres": {Source: "postgres"}, "dataset": {Dataset: upload}} {
		for _, r := range []Request{{Format: "csv", RunFormulas: true}, {Format: "ndjson"}, {Format: "xlsx"}, {Format: "parquet"}} {
			p.Request = r
			export := func(p Payload) []byte {
				if p.Source != "" {
					file, _ := exported(t, fromSource(t, p, sources))
					return file
				}
				file, _ := exported(t, workertest.Run(t.Context(), t, (&handler{bucket: bucket}).run, p, workertest.Spec(engine.Spec{Topic: owner})))
				return file
			}
			file := export(p)
			t.Run(name+" "+r.Format, func(t *testing.T) { agree(t, db, want, r.Format, file) })
			if r.Format != "csv" && r.Format != "ndjson" {
				continue
			}
			p.Compression = "gzip"
			z, err := gzip.NewReader(bytes.NewReader(export(p)))
			if err != nil {
				t.Fatal(err)
			}
			if plain, err := io.ReadAll(z); err != nil || !bytes.Equal(plain, file) {
				t.Errorf("%s %s: gzip holds %d other bytes, %v", name, r.Format, len(plain), err)
			}
			p.Compression = "zstd"
			if plain := filetest.Unzstd(t, stored(t, "a.zst", export(p))); !bytes.Equal(plain, file) {
				t.Errorf("%s %s: zstd holds %d other bytes", name, r.Format, len(plain))
			}
		}
	}
}

// ask returns the answers about a table.
func ask(t *testing.T, db *sql.DB, table string) []any {
	t.Helper()
	all := make([]any, strings.Count(answers, ",")+1)
	into := make([]any, len(all))
	for i := range all {
		into[i] = &all[i]
	}
	if err := db.QueryRowContext(t.Context(), fmt.Sprintf(answers, table)).Scan(into...); err != nil {
		t.Fatal(err)
	}
	return all
}

// agree reads a file by another program, into a table of SQLite.
func agree(t *testing.T, db *sql.DB, want []any, format string, file []byte) {
	t.Helper()
	var all [][]*string
	path := stored(t, "a."+format, file)
	switch format {
	case "csv":
		all = filetest.SQL(t, path, `SELECT * FROM read_csv($file, all_varchar=true, header=true, delim=',', quote='"', escape='"', nullstr='', allow_quoted_nulls=false)`)
	case "ndjson": // which DuckDB reads with the digits of a double
		for d := json.NewDecoder(bytes.NewReader(file)); d.More(); {
			var row map[string]any
			d.UseNumber()
			if err := d.Decode(&row); err != nil {
				t.Fatal(err)
			}
			cells := make([]*string, 5)
			for i, name := range []string{"id", "big", "price", "ratio", "name"} {
				if v := row[name]; v != nil {
					cell := fmt.Sprint(v)
					cells[i] = &cell
				}
			}
			all = append(all, cells)
		}
	case "parquet":
		all = filetest.SQL(t, path, "SELECT * FROM read_parquet($file)")
	case "xlsx":
		for _, row := range filetest.XLSX(t, path)[0].Rows[1:] {
			cells := make([]*string, 5)
			for i, c := range row {
				if c.Type != "" {
					cells[i] = &c.Value
				}
			}
			all = append(all, cells)
		}
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"DROP TABLE IF EXISTS got", "CREATE TABLE got " + agreeing} {
		if _, err := tx.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range all {
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO got VALUES (?, ?, ?, ?, ?)", row[0], row[1], row[2], row[3], row[4]); err != nil {
			t.Fatalf("%v: %v", err, row)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, db, "got"); !slices.Equal(got, want) {
		t.Errorf("SQLite says %v of what is read, and %v of what was written", got, want)
	}
	var differ int
	var first sql.NullString
	if err := db.QueryRowContext(t.Context(), `WITH d AS (SELECT * FROM (SELECT * FROM t EXCEPT SELECT * FROM got) UNION ALL SELECT * FROM (SELECT * FROM got EXCEPT SELECT * FROM t))
		SELECT count(*), min(id || '|' || ifnull(big, '-') || '|' || ifnull(price, '-') || '|' || ifnull(ratio, '-') || '|' || ifnull(name, '-')) FROM d`).Scan(&differ, &first); err != nil {
		t.Fatal(err)
	}
	if differ > 0 {
		t.Errorf("%d rows differ, such as %s", differ, first.String)
	}
}

func stored(t *testing.T, name string, file []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
