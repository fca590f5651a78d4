package source_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/pgtest"
	"github.com/tidemark-dev/tidemark/worker/internal/source"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

func isChanged(err error) bool { return errors.Is(err, source.ErrChanged) }

func TestKeysThatPostgresRefuses(t *testing.T) {
	t.Parallel()
	address, _ := postgres(t, `CREATE TABLE t (id int PRIMARY KEY, maybe int UNIQUE, twice int NOT NULL, part int NOT NULL, late int NOT NULL UNIQUE DEFERRABLE,
			fold text COLLATE "C" NOT NULL, a int NOT NULL, b int NOT NULL, UNIQUE (a, b));
		CREATE UNIQUE INDEX ON t (part) WHERE part > 0; CREATE UNIQUE INDEX ON t (lower(fold)); CREATE UNIQUE INDEX ON t (fold COLLATE "ucs_basic");
		INSERT INTO t SELECT n, nullif(n, 7), n % 5, n, n, 'x' || n, n, n FROM generate_series(1, 10) n;
		CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent); INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1);
		CREATE VIEW v AS SELECT * FROM t`)
	for _, tc := range []struct{ rows, key, want string }{
		{"t", "maybe", `column "maybe" of its key may be NULL`},
		{"t", "id,maybe", `column "maybe" of its key may be NULL`},
		{"t", "twice", `no unique index says that its key "twice" is unique`},
		{"t", "part", `no unique index says that its key "part"`},
		{"t", "late", `no unique index says that its key "late"`},
		{"t", "fold", `no unique index says that its key "fold"`},
		{"t", "a", `no unique index says that its key "a"`},
		{"t", "none", `it has no column "none"`},
		{"parent", "id", `its key "id" is the same in several rows`},
		{"v", "maybe", `its key "maybe" is NULL in some row`},
		{"v", "twice", `its key "twice" is the same in several rows`},
		{"SELECT * FROM t", "twice,part", ""},
		{"SELECT * FROM t WHERE id < 6", "maybe", ""},
		{"SELECT * FROM t", "twice,maybe", `its key ("twice", "maybe") is NULL in some row`},
		{"SELECT x.id, y.id AS other FROM t x, t y", "id", `its key "id" is the same in several rows`},
		{"t", "a,b", ""},
		{"t", "b,a", ""},
		{"t", "twice,id", ""},
		{"public.t", "id", ""},
	} {
		_, err := attempt(t, config(address, tc.rows, strings.Split(tc.key, ",")...), nil, nil)
		if tc.want != "" {
			refused(t, err, tc.want)
		} else if err != nil {
			t.Errorf("%s by %s: %v", tc.rows, tc.key, err)
		}
	}
}

func TestKeysThatSQLiteRefuses(t *testing.T) {
	t.Parallel()
	address, _ := sqlite(t, `CREATE TABLE t (id TEXT PRIMARY KEY, twice INT NOT NULL, part INT NOT NULL, fold TEXT NOT NULL COLLATE NOCASE, a INT NOT NULL, b INT NOT NULL, UNIQUE (a, b));
		CREATE UNIQUE INDEX p ON t (part) WHERE part > 0; CREATE UNIQUE INDEX f ON t (fold COLLATE BINARY); CREATE UNIQUE INDEX e ON t (twice + a);
		INSERT INTO t VALUES ('x', 1, 1, 'a', 1, 1), (NULL, 1, 2, 'A', 2, 1);
		CREATE TABLE w (id TEXT PRIMARY KEY, n INT UNIQUE) WITHOUT ROWID; CREATE TABLE r (id INTEGER PRIMARY KEY, n INT); CREATE TABLE d (id INTEGER PRIMARY KEY DESC);
		CREATE VIEW v AS SELECT * FROM t`)
	for _, tc := range []struct{ rows, key, want string }{
		{"t", "id", `column "id" of its key may be NULL`},
		{"t", "twice", `no unique index says that its key "twice" is unique`},
		{"t", "part", `no unique index says that its key "part"`},
		{"t", "fold", `its key "fold" is the same in several rows`},
		{"t", "a", `no unique index says that its key "a"`},
		{"t", "none", `it has no column "none"`},
		{"w", "n", `column "n" of its key may be NULL`},
		{"v", "id", `its key "id" is NULL in some row`},
		{"v", "twice", `its key "twice" is the same in several rows`},
		{"t", "a,b", ""},
		{"t", "b,twice,a", ""},
		{"w", "id", ""},
		{"w", "id,n", `column "n" of its key may be NULL`},
		{"r", "id", ""},
		{"main.r", "id", ""},
		{"R", "id", ""},
		{"r", "id,n", `column "n" of its key may be NULL`},
		{"d", "id", `column "id" of its key may be NULL`},
	} {
		_, err := attempt(t, config(address, tc.rows, strings.Split(tc.key, ",")...), nil, nil)
		if tc.want != "" {
			refused(t, err, tc.want)
		} else if err != nil {
			t.Errorf("%s by %s: %v", tc.rows, tc.key, err)
		}
	}
}

// A database that does not take a value says so in words that quote it; the source's error does not.
func TestRefusedValuesAreNotQuoted(t *testing.T) {
	t.Parallel()
	pg, _ := postgres(t, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
	lite, _ := sqlite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
	for address, query := range map[string]string{
		pg: "SELECT id, CAST(CAST(:who AS text) AS regclass)::text AS c FROM t", lite: "SELECT id, json_extract('{}', :who) AS c FROM t",
	} {
		c := config(address, query, "id")
		c.Params = []string{"who"}
		src, err := attempt(t, c, map[string]string{"who": "canary"}, nil)
		if err == nil {
			_, err = next(t, src)
		}
		refused(t, err, "refuses its query") // and does not say canary
	}
}

// What a user gives is a value, whatever it looks like.
func TestHostileParameters(t *testing.T) {
	t.Parallel()
	pg, session := postgres(t, "CREATE TABLE t (id int PRIMARY KEY, k text); INSERT INTO t VALUES (1, 'a')")
	lite, db := sqlite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT); INSERT INTO t VALUES (1, 'a')")
	for name, address := range map[string]string{"postgres": pg, "sqlite": lite} {
		c := config(address, "SELECT id, CAST(:who AS text) AS who, CAST(:what AS text) AS what, ':who' AS quoted /* :none */ FROM t WHERE id <> CAST(:n AS integer) OR k = :who", "id")
		c.Params = []string{"who", "what", "n"}
		for _, value := range []string{
			"", "'", "''; DROP TABLE t; --", `\'; DROP TABLE t; --`, "$1", ":what", "?1", "%s", `"`, "\\", "$$", "/*", "*/", "a\n\tb", "ü\u202e𝄞", "NULL",
			"') OR true --", strings.Repeat("x", 4<<10),
		} {
			s := open(t, c, map[string]string{"who": value, "what": value, "n": "0"}, nil)
			same(t, take(t, s, -1), [][]string{{"integer 1", "text " + value, "text " + value, "text :who"}})
			_ = s.Close()
		}
		if got := take(t, open(t, c, map[string]string{"who": "b", "what": "", "n": "1"}, nil), -1); len(got) != 0 {
			t.Errorf("%s: no row is asked for, and it gives %q", name, got)
		}
		for _, tc := range []struct {
			params map[string]string
			want   string
		}{
			{map[string]string{"who": "", "n": ""}, "what is missing"},
			{map[string]string{"who": "", "what": "", "n": "", "canary'": "canary"}, "it has none named \"canary'\""},
			{map[string]string{"who": strings.Repeat("x", 4<<10+1), "what": "", "n": ""}, "who has 4097 bytes; at most 4096"},
			{map[string]string{"who": "canary\x00", "what": "", "n": ""}, "who is not UTF-8 without NUL"},
			{map[string]string{"who": "\xff", "what": "", "n": ""}, "who is not UTF-8 without NUL"},
		} {
			if _, err := attempt(t, c, tc.params, nil); !errors.Is(err, source.ErrParams) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: the error is %v, want %q", name, err, tc.want)
			}
		}
	}
	// Postgres quotes a value that it does not take; the error must not.
	c := config(pg, "SELECT id FROM t WHERE id > :n", "id")
	c.Params = []string{"n"}
	_, err := attempt(t, c, map[string]string{"n": "canary"}, nil)
	refused(t, err, "a parameter or a value is not of the type that its query wants")
	if got := session.Rows("SELECT count(*) FROM t"); got[0][0] != "1" {
		t.Errorf("the table has %s rows", got)
	}
	execute(t, db, "SELECT id FROM t")
}

func TestSourcesThatAreRefused(t *testing.T) {
	t.Parallel()
	pg, _ := postgres(t, `CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE SEQUENCE s;
		CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM t; RETURN 1; END'`)
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("canary ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	lite, db := sqlite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
	wide := func(n int) string {
		query := "SELECT 1 AS id"
		for i := range n - 1 {
			query += fmt.Sprintf(", 1 AS c%d", i)
		}
		return query
	}
	_, base, _ := strings.Cut(pg, "@127.0.0.1")
	port, _, _ := strings.Cut(base, "/")
	for _, tc := range []struct{ name, url, rows, want string }{
		{"wrong password", strings.Replace(pg, "s3cret", "wrong", 1), "t", `refuses the login: check user and password of its URL, and the server's pg_hba.conf (SQLSTATE "28P01")`},
		{"no such user", "postgres://nobody:canary@127.0.0.1" + port + "/x?sslmode=disable", "t", "refuses the login"},
		{"no such database", server.URL("none"), "t", "there is no such database"},
		{"no such table", pg, "none", `relation "none" does not exist (SQLSTATE "42P01")`},
		{"no such schema", pg, "none.t", `relation "none.t" does not exist`},
		{"no such column", pg, "SELECT id, none FROM t", `column "none" does not exist`},
		{"bad syntax", pg, "SELECT id FROM t WHERE", "syntax error"},
		{"two statements", pg, "SELECT id FROM (t)) x; DELETE FROM t", ""},
		{"a query that writes", pg, "SELECT writes() AS id", "its query writes, and a source only reads"},
		{"a query that takes from a sequence", pg, "SELECT nextval('s') AS id", "its query writes"},
		{"a change in a WITH", pg, "WITH x AS (DELETE FROM t RETURNING id) SELECT id FROM x", "the server refuses its query"},
		{"division by zero", pg, "SELECT 1 / (id - 1) AS id FROM t", "its query divides by zero"},
		{"two columns of a name", pg, "SELECT id, id FROM t", `it has two columns "id"`},
		{"1001 columns", pg, wide(1001), "it has 1001 columns; at most 1000"},
		{"10,000 columns", pg, "SELECT 1 AS id" + strings.Repeat(", 1", 9_999), "over a limit of the server"},
		{"no such file", "sqlite:///none/canary.db", "t", "the file that its URL names is not there"},
		{"a folder", "sqlite://" + dir, "t", "what its URL names is no file"},
		{"another file", "sqlite://" + garbage, "t", "its file is no SQLite database"},
		{"no such table in SQLite", lite, "none", "SQLite refuses its query: no such table: none"},
		{"bad syntax in SQLite", lite, "SELECT id FROM t WHERE", "SQLite refuses its query: "},
		{"1001 columns in SQLite", lite, wide(1001), "it has 1001 columns; at most 1000"},
		{"10,000 columns in SQLite", lite, "SELECT 1 AS id" + strings.Repeat(", 1", 9_999), "SQLite refuses its query: too many columns"},
		{"a foreign parameter", lite, "SELECT id FROM t WHERE id = @canary", "its parameters do not fit"},
	} {
		c := config(tc.url, tc.rows, "id")
		if tc.want == "" { // not even a source
			if _, err := source.New([]sqlsource.Source{c}); err == nil || !strings.Contains(err.Error(), "it has a semicolon") {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			_, err := attempt(t, c, nil, nil)
			refused(t, err, tc.want)
		})
	}
	execute(t, db, "INSERT INTO t VALUES (2)") // nobody holds it
}

func TestUnknownSource(t *testing.T) {
	t.Parallel()
	s, err := source.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), "none", nil, nil); !errors.Is(err, source.ErrUnknown) {
		t.Errorf("the error is %v", err)
	}
}

func TestURLFile(t *testing.T) {
	t.Parallel()
	address, _ := postgres(t, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
	c := config("", "t", "id")
	c.URLFile = filepath.Join(t.TempDir(), "url")
	_, err := attempt(t, c, nil, nil)
	refused(t, err, "its url_file is not there")
	for _, tc := range []struct{ text, want string }{
		{"", "its url_file: want postgres://"},
		{"canary", "its url_file: want postgres://"},
		{"postgres://" + pgtest.Password + ":canary@:x", "its url_file: want postgres://user:password@host"},
		{strings.Repeat("postgres://", 1000), "want postgres://"},
		{"sqlite:///x?mode=rw", "want sqlite:///path/to/file.db"},
	} {
		if err := os.WriteFile(c.URLFile, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := attempt(t, c, nil, nil)
		refused(t, err, tc.want)
	}
	if err := os.WriteFile(c.URLFile, []byte(address+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	same(t, take(t, open(t, c, nil, nil), -1), [][]string{{"integer 1"}})
}

func TestHugeCells(t *testing.T) {
	t.Parallel()
	pg, _ := postgres(t, "CREATE TABLE t (id int PRIMARY KEY, big text, more text)")
	lite, _ := sqlite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY, big TEXT, more TEXT)")
	for name, tc := range map[string]struct{ url, text string }{
		"postgres": {pg, "repeat('canary ', %d)"},
		"sqlite":   {lite, "replace(printf('%%.*c', %d, 'x'), 'x', 'canary ')"},
	} {
		of := func(columns ...int) string {
			query := "SELECT 1 AS id"
			for i, n := range columns {
				query += fmt.Sprintf(", "+tc.text+" AS c%d", n/7, i)
			}
			return query
		}
		t.Run(name, func(t *testing.T) {
			fits := take(t, open(t, config(tc.url, of(8<<20, 8<<20), "id"), nil, nil), -1)
			if len(fits) != 1 || len(fits[0][2]) != len("text ")+(8<<20)/7*7 {
				t.Errorf("%d rows", len(fits))
			}
			_, err := next(t, open(t, config(tc.url, of(7, 8<<20+7), "id"), nil, nil))
			refused(t, err, "a cell of column \"c1\" has 8388611 bytes; at most 8388608")
			s, err := attempt(t, config(tc.url, of(33<<20), "id"), nil, nil)
			if err == nil {
				_, err = next(t, s)
			}
			refused(t, err, "33554432")
			s, err = attempt(t, config(tc.url, "SELECT "+fmt.Sprintf(tc.text, 200)+" AS id", "id"), nil, nil)
			if err == nil {
				_, err = next(t, s)
			}
			refused(t, err, "a key has 140")
		})
	}
}
