package export

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/filetest"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// What an admin has to mend is said before a file is begun, and nothing of it is tried again.
func TestSourcesThatNoExportReads(t *testing.T) {
	t.Parallel()
	address, _ := sqlite(t, `CREATE TABLE t (id INTEGER PRIMARY KEY, maybe INT UNIQUE, twice INT NOT NULL, word INT);
		INSERT INTO t VALUES (1, 1, 1, 1), (2, NULL, 1, 'canary')`)
	text := func(size int) string {
		return fmt.Sprintf("SELECT 1 AS id, replace(printf('%%.*c', %d, 'x'), 'x', 'canary--') AS big", size/8)
	}
	for _, tc := range []struct{ query, key, want string }{
		{"t", "twice", `source a: no unique index says that its key "twice" is unique`},
		{"t", "maybe", `source a: column "maybe" of its key may be NULL`},
		{"SELECT * FROM t", "twice", `source a: its key "twice" is the same in several rows`},
		{"SELECT * FROM t", "maybe", `source a: its key "maybe" is NULL in some row`},
		{"t", "id", `source a: column "word" is taken for integer and holds a text`},
		{"SELECT 1 AS id" + strings.Repeat(", 1", 9_999), "id", "source a: SQLite refuses its query: too many columns"},
		{text(8<<20 + 8), "id", `source a: a cell of column "big" has 8388616 bytes; at most 8388608`},
		{text(8<<20) + ", 'more' AS more", "id", "too large"}, // for a row of a file
		{"nowhere", "id", "source a: SQLite refuses its query: no such table"},
	} {
		s := sqlsource.Source{Name: "a", URL: address, Query: tc.query, Key: []string{tc.key}}
		if !strings.Contains(tc.query, " ") {
			s.Table, s.Query = tc.query, ""
		}
		for _, format := range []string{"csv", "parquet"} {
			rec := fromSource(t, Payload{Source: "a", Request: Request{Format: format}}, []sqlsource.Source{s})
			refused(t, rec, tc.want)
			if rec.Err != nil && (strings.Contains(rec.Err.Error(), "canary") || len(rec.Err.Error()) > 300) {
				t.Errorf("the error is %.400v", rec.Err)
			}
		}
	}
}

// Cells that a spreadsheet would run are text in each format; numbers stay what they are. A NUL stays, too.
func TestCellsThatHarm(t *testing.T) {
	t.Parallel()
	address, _ := sqlite(t, `CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT, n INT);
		INSERT INTO t VALUES (1, '=cmd|''/c calc''!A1', -5), (2, '+1+1', -6), (3, '-1+1', 7), (4, '@SUM(A1)', 8), (5, ' =1', 9), (6, 'a' || char(0) || 'b', 10)`)
	sources := []sqlsource.Source{{Name: "a", URL: address, Table: "t", Key: []string{"id"}}}
	of := func(r Request) []byte {
		file, _ := exported(t, fromSource(t, Payload{Source: "a", Request: r}, sources))
		return file
	}
	csv := "id,x,n\n1,'=cmd|'/c calc'!A1,-5\n2,'+1+1,-6\n3,'-1+1,7\n4,'@SUM(A1),8\n5,\"' =1\",9\n6,a\x00b,10\n"
	if got := string(of(Request{Format: "csv"})); got != csv {
		t.Errorf("the file is %q, want %q", got, csv)
	}
	plain := strings.NewReplacer(",'", ",", `"'`, `"`).Replace(csv)
	if got := string(of(Request{Format: "csv", RunFormulas: true})); got != plain {
		t.Errorf("with run_formulas the file is %q, want %q", got, plain)
	}
	if got := string(of(Request{Format: "ndjson"})); !strings.Contains(got, `"x":"=cmd|'/c calc'!A1"`) || !strings.Contains(got, `"a\u0000b"`) {
		t.Errorf("the file is %q", got)
	}
	for i, row := range filetest.XLSX(t, stored(t, "a.xlsx", of(Request{Format: "xlsx"})))[0].Rows[1:] {
		if row[1].Type != "s" || row[2].Type != "n" {
			t.Errorf("row %d is %+v", i+1, row)
		}
	}
}
