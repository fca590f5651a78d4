package source_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/worker/internal/source"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// resumed reads a source with attempts that end at random rows, and returns the rows of all of them.
func resumed(t *testing.T, c sqlsource.Source, r *rand.Rand) (all [][]string) {
	t.Helper()
	var at []byte
	for range 1000 {
		s := open(t, c, nil, at)
		n := r.IntN(12)
		got := take(t, s, n)
		all = append(all, got...)
		at = position(t, s)
		if done, _ := s.Progress(); done != int64(len(all)) {
			t.Fatalf("%d rows are done, want %d", done, len(all))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if len(got) < n {
			return all
		}
	}
	t.Fatal("it does not end")
	return nil
}

// agrees checks that a source gives the rows in the key's order, as the database itself orders them, and the
// same however often it is resumed.
func agrees(t *testing.T, c sqlsource.Source, order []string) {
	t.Helper()
	whole := open(t, c, nil, nil)
	if _, total := whole.Progress(); total != int64(len(order)) {
		t.Errorf("it has %d rows, want %d", total, len(order))
	}
	want := take(t, whole, -1)
	names := make([]string, len(want))
	for i, row := range want {
		names[i] = row[0][strings.Index(row[0], " ")+1:]
	}
	if !slices.Equal(names, order) {
		t.Fatalf("the order is\n%q\nwant\n%q", names, order)
	}
	same(t, resumed(t, c, rand.New(rand.NewPCG(1, uint64(len(order))))), want)
}

// words are texts that collations order in different ways, with prefixes that are equal.
var words = []string{"", "a", "A", "ab", "aB", "Ab", "AB", "a b", "a-b", "ä", "Ä", "z", "Z", "é", "e", "É", "ß", "ss", "_", "1", "10", "2", "𝄞", " a", "aa", strings.Repeat("a", 200), strings.Repeat("a", 200) + "b"}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func TestResumedRowsOfPostgres(t *testing.T) {
	t.Parallel()
	address, session := postgres(t, `CREATE COLLATION icu (provider = icu, locale = 'de-DE');
		CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		CREATE TABLE words (n int NOT NULL, w text COLLATE "C" UNIQUE NOT NULL, i text COLLATE icu UNIQUE NOT NULL);
		CREATE TABLE loose (n int NOT NULL, k text COLLATE loose UNIQUE NOT NULL);
		CREATE TABLE pairs (n int NOT NULL, a int NOT NULL, b text NOT NULL, c char(4) NOT NULL, UNIQUE (a, b, c));
		CREATE TABLE others (n int NOT NULL, f float8 UNIQUE NOT NULL, d numeric UNIQUE NOT NULL, u uuid UNIQUE NOT NULL, at timestamptz UNIQUE NOT NULL, x bytea UNIQUE NOT NULL, day date UNIQUE NOT NULL);
		CREATE TYPE mood AS ENUM ('zero', 'one', 'a', 'of'); CREATE DOMAIN score AS bigint CHECK (VALUE >= 0);
		CREATE TABLE odd (n int NOT NULL, m mood NOT NULL, i interval UNIQUE NOT NULL, l int[] UNIQUE NOT NULL, r real UNIQUE NOT NULL, o oid UNIQUE NOT NULL, s score UNIQUE NOT NULL,
			ip inet UNIQUE NOT NULL, j jsonb UNIQUE NOT NULL, b boolean NOT NULL, v varchar(9) UNIQUE NOT NULL, UNIQUE (b, m, n));
		INSERT INTO odd SELECT n, (ARRAY['zero', 'one', 'a', 'of'])[1 + n % 4]::mood, n * interval '-1 day 7 hours 0.1 seconds', ARRAY[n % 7, n, NULL], n / 3.0 - 9, n::bigint * 100000000 % 4000000007, n,
			inet '10.0.0.0' + n * 77, to_jsonb(n::text), n % 2 = 0, chr(65 + n % 26) || n FROM generate_series(0, 49) n;
		CREATE VIEW seen AS SELECT n, w || '' AS w FROM words;
		INSERT INTO pairs SELECT n, n % 3, repeat('p', n % 4), n / 12 FROM generate_series(0, 99) n;
		INSERT INTO others SELECT n, CASE n WHEN 0 THEN '-Infinity' WHEN 99 THEN 'NaN' ELSE n / 7.0 END, n / 3.0 - 11, gen_random_uuid(),
			timestamptz '2026-01-01' + n * interval '1 microsecond', decode(lpad(to_hex(n * 37 % 251), 2 * (1 + n % 3), '0'), 'hex') || decode(lpad(to_hex(n), 2, '0'), 'hex'), date '1999-12-01' + n FROM generate_series(0, 99) n`)
	for n, w := range words {
		session.Exec(fmt.Sprintf("INSERT INTO words VALUES (%d, %s, %[2]s); INSERT INTO loose VALUES (%[1]d, %[2]s) ON CONFLICT DO NOTHING", n, quoted(w)))
	}
	for _, tc := range []struct{ rows, key string }{
		{"words", "w"},
		{"words", "i"},
		{"loose", "k"},
		{"pairs", "a,b,c"},
		{"pairs", "c,a,b"},
		{"seen", "w"},
		{"odd", "i"},
		{"odd", "l"},
		{"odd", "r"},
		{"odd", "o"},
		{"odd", "s"},
		{"odd", "ip"},
		{"odd", "j"},
		{"odd", "v"},
		{"odd", "b,m,n"},
		{"others", "f"},
		{"others", "d"},
		{"others", "u"},
		{"others", "at"},
		{"others", "x"},
		{"others", "day"},
		{"SELECT n, a * 2 AS a, b, c FROM pairs -- a comment", "b,a,c"},
		{"SELECT a AS n, count(*) FROM pairs GROUP BY a", "n"},
	} {
		t.Run(tc.rows+" by "+tc.key, func(t *testing.T) {
			from := tc.rows
			if strings.Contains(from, " ") {
				from = "(" + from + "\n) AS q"
			}
			var order []string
			for _, row := range session.Rows("SELECT n FROM " + from + " ORDER BY " + tc.key) {
				order = append(order, row[0])
			}
			agrees(t, config(address, tc.rows, strings.Split(tc.key, ",")...), order)
		})
	}
}

func TestResumedRowsOfSQLite(t *testing.T) {
	t.Parallel()
	statements := []string{`CREATE TABLE words (n INTEGER NOT NULL, w TEXT UNIQUE NOT NULL);
		CREATE TABLE loose (n INTEGER NOT NULL, k TEXT UNIQUE NOT NULL COLLATE NOCASE);
		CREATE TABLE pairs (n INTEGER NOT NULL, a INT NOT NULL, b TEXT NOT NULL, c, PRIMARY KEY (a, b, n)) WITHOUT ROWID;
		CREATE TABLE mixed (n INTEGER PRIMARY KEY, k UNIQUE NOT NULL);
		INSERT INTO mixed VALUES (1, 5), (2, 5.5), (3, '5'), (4, x'35'), (5, 'abc'), (6, -1), (7, 9223372036854775807), (8, 9223372036854775806), (9, 1e300), (10, x''), (11, '')`}
	for n, w := range words {
		statements = append(statements, fmt.Sprintf("INSERT INTO words VALUES (%d, %s); INSERT OR IGNORE INTO loose VALUES (%[1]d, %[2]s)", n, quoted(w)))
	}
	for n := range 100 {
		statements = append(statements, fmt.Sprintf("INSERT INTO pairs VALUES (%d, %d, '%s', NULL)", n, n%3, strings.Repeat("p", n%4)))
	}
	address, db := sqlite(t, strings.Join(statements, ";"))
	for _, tc := range []struct{ rows, key string }{
		{"words", "w"},
		{"words", "n"},
		{"loose", "k"},
		{"pairs", "a,b,n"},
		{"pairs", "n,b,a"},
		{"mixed", "n"},
		{"mixed", "k"},
		{"SELECT n, upper(w) || n AS w FROM words -- a comment", "w"},
		{"SELECT a AS n, count(*) AS c FROM pairs GROUP BY a", "c,n"},
	} {
		t.Run(tc.rows+" by "+tc.key, func(t *testing.T) {
			if tc.rows == "words" && tc.key == "n" { // not declared unique
				_, err := attempt(t, config(address, "words", "n"), nil, nil)
				refused(t, err, "no unique index")
				return
			}
			from := tc.rows
			if strings.Contains(from, " ") {
				from = "(" + from + "\n) AS q"
			}
			got, err := db.QueryContext(t.Context(), "SELECT n FROM "+from+" ORDER BY "+tc.key)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = got.Close() }()
			var order []string
			for got.Next() {
				var n string
				if err := got.Scan(&n); err != nil {
					t.Fatal(err)
				}
				order = append(order, n)
			}
			if err := got.Err(); err != nil {
				t.Fatal(err)
			}
			agrees(t, config(address, tc.rows, strings.Split(tc.key, ",")...), order)
		})
	}
}

// An attempt has one snapshot, and the next one of its own, which the position lists.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	pg, session := postgres(t, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10)")
	lite, db := sqlite(t, "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t "+series(10))
	for name, tc := range map[string]struct {
		url  string
		exec func(string)
	}{
		"postgres": {pg, session.Exec},
		"sqlite":   {lite, func(sql string) { execute(t, db, sql) }},
	} {
		t.Run(name, func(t *testing.T) {
			before := time.Now().Add(-time.Minute)
			c := config(tc.url, "t", "id")
			first := open(t, c, nil, nil)
			take(t, first, 3)
			tc.exec("DELETE FROM t WHERE id = 5; INSERT INTO t VALUES (-1), (11)")
			if got := take(t, first, 2); got[1][0] != "integer 5" {
				t.Errorf("after a deletion, the snapshot's fifth row is %q", got[1])
			}
			at := position(t, first)
			// An attempt that reads nothing leaves no snapshot.
			idle := open(t, c, nil, at)
			at = position(t, idle)
			last := open(t, c, nil, at)
			if done, total := last.Progress(); done != 5 || total != 11 {
				t.Errorf("%d of %d rows are done, want 5 of 11", done, total)
			}
			if got := take(t, last, -1); len(got) != 6 || got[5][0] != "integer 11" {
				t.Errorf("the new snapshot gives %q", got)
			}
			all, omitted, err := source.Snapshots(position(t, last))
			if err != nil || omitted != 0 || len(all) != 2 {
				t.Fatalf("%d snapshots, %d omitted, %v", len(all), omitted, err)
			}
			if all[0].Rows != 0 || len(all[0].After) != 0 || all[1].Rows != 5 || len(all[1].After) != 1 || all[1].After[0] != "5" {
				t.Errorf("the snapshots begin at %+v", all)
			}
			if all[0].At.Before(before) || all[1].At.Before(all[0].At) || time.Now().Before(all[1].At.Add(-time.Minute)) {
				t.Errorf("the snapshots are of %v", all)
			}
		})
	}
}

func TestPositionIsBounded(t *testing.T) {
	t.Parallel()
	address, _ := sqlite(t, "CREATE TABLE t (k TEXT UNIQUE NOT NULL); INSERT INTO t SELECT char(1 + value % 30) || hex(zeroblob(400)) || printf('%04d', value) FROM ("+series(200)+")")
	c := config(address, "t", "k")
	var at []byte
	for range 200 {
		s := open(t, c, nil, at)
		take(t, s, 1)
		at = position(t, s)
		_ = s.Close()
	}
	all, omitted, err := source.Snapshots(at)
	if err != nil || len(at) > 64<<10 || len(at) < 60<<10 || omitted < 100 || len(all)+omitted != 200 || all[0].Rows != 0 || all[len(all)-1].Rows != 199 {
		t.Errorf("%d bytes, %d snapshots from %d to %d and %d omitted, %v", len(at), len(all), all[0].Rows, all[len(all)-1].Rows, omitted, err)
	}
}

// A position leads nowhere in what it is not of.
func TestPositionOfAnother(t *testing.T) {
	t.Parallel()
	address, session := postgres(t, "CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT generate_series(1, 10), 1")
	c := config(address, "SELECT * FROM t WHERE a = :a", "id")
	c.Params = []string{"a"}
	s := open(t, c, map[string]string{"a": "1"}, nil)
	take(t, s, 2)
	at := position(t, s)
	_ = s.Close()
	changed := func(c sqlsource.Source, params map[string]string) {
		t.Helper()
		s, err := attempt(t, c, params, at)
		if !isChanged(err) {
			t.Errorf("the error is %v, want ErrChanged", err)
		}
		if s != nil {
			_ = s.Close() // which would keep the table from being altered
		}
	}
	other := c
	other.Query += " AND true"
	changed(other, map[string]string{"a": "1"})
	changed(c, map[string]string{"a": "2"})
	other = c
	other.Key = []string{"id", "a"}
	changed(other, map[string]string{"a": "1"})
	_ = open(t, c, map[string]string{"a": "1"}, at).Close()
	session.Exec("ALTER TABLE t ALTER a TYPE bigint")
	changed(c, map[string]string{"a": "1"})
	for _, broken := range []string{"", "{}", "x", string(at[:len(at)-2]), strings.Repeat(" ", 64<<10) + string(at)} {
		if _, err := attempt(t, c, map[string]string{"a": "1"}, []byte(broken)); err == nil || !strings.Contains(err.Error(), "a position that no source gave") {
			t.Errorf("the position %.20q: %v", broken, err)
		}
	}
}
