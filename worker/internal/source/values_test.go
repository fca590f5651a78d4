package source_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// Each value is what Postgres itself says that it is, in words that no setting changes.
func TestValuesOfPostgres(t *testing.T) {
	t.Parallel()
	const plain, micros, days, hexed = "%s::text", "(extract(epoch FROM %s) * 1000000)::bigint::text", "(%s - date '1970-01-01')::text", "encode(%s, 'hex')"
	all := []struct {
		kind            rows.Kind
		sqlType, answer string
		values          []string
	}{
		{rows.Int, "smallint", plain, []string{"-32768", "32767", "0"}},
		{rows.Int, "integer", plain, []string{"-2147483648", "2147483647"}},
		{rows.Int, "bigint", plain, []string{"-9223372036854775808", "9223372036854775807", "9007199254740993"}},
		{rows.Int, "oid", plain, []string{"4294967295"}},
		{rows.Bool, "boolean", "%s::int::text", []string{"true", "false"}},
		{rows.Float, "real", plain, []string{"0.1", "3.4e38", "NaN", "-Infinity"}},
		{rows.Float, "double precision", plain, []string{"0.1", "5e-324", "1.7976931348623157e308", "NaN", "Infinity", "-0"}},
		{rows.Decimal, "numeric", plain, []string{"12345678901234567890123456789.000100", "-0.000000000000000000001", "0", "1e40"}},
		{rows.Decimal, "numeric(10,2)", plain, []string{"1", "-99999999.99"}},
		{rows.Date, "date", days, []string{"1970-01-01", "2026-02-28", "0044-03-15 BC", "5874897-12-31"}},
		{rows.Timestamp, "timestamp", micros, []string{"2026-01-02 03:04:05.000006", "1969-12-31 23:59:59.999999", "4713-01-01 00:00:00 BC", "9999-12-31 23:59:59.999999"}},
		{rows.Timestamp, "timestamptz", micros, []string{"2026-01-02 03:04:05.000006+05:30", "1900-01-01 00:00:00-12"}},
		{rows.Bytes, "bytea", hexed, []string{`\x`, `\x00ff275c`}},
		{rows.JSON, "json", plain, []string{`{"a" : [1, 2.50, "ü"], "a":null}`}},
		{rows.JSON, "jsonb", plain, []string{`{"b":1.00,"a":[true]}`}},
		{rows.Text, "text", plain, []string{"", "a\tb\nc\\d\"e'f,g", "ü\u0001𝄞\ufeff", "NULL", `\N`}},
		{rows.Text, "varchar(5)", plain, []string{"abc"}},
		{rows.Text, "name", plain, []string{"abc"}},
		{rows.Text, "uuid", plain, []string{"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"}},
		{rows.Text, "time", plain, []string{"24:00:00", "01:02:03.000004"}},
		{rows.Text, "timetz", plain, []string{"01:02:03+05:30"}},
		{rows.Text, "inet", "format('%%s', %s)", []string{"10.0.0.1/8", "::1"}},
		{rows.Text, "int[]", plain, []string{"{1,NULL,3}"}},
		{rows.Text, "text[]", plain, []string{`{"a b","c,d",NULL,"NULL"}`}},
		{rows.Text, "int4range", plain, []string{"[1,5)"}},
		{rows.Text, "bit(4)", plain, []string{"1010"}},
		{rows.Text, "mood", plain, []string{"sad", "very happy"}},
		{rows.Text, "pair", plain, []string{"(1,\"a b\")"}},
		{rows.Int, "score", plain, []string{"7"}},
		{rows.Text, "xml", plain, []string{"<a>ü</a>"}},
	}
	var columns, wants []string
	longest := 0
	for i, c := range all {
		columns = append(columns, fmt.Sprintf("c%d %s", i, c.sqlType))
		wants = append(wants, fmt.Sprintf(c.answer, fmt.Sprintf("c%d", i)))
		longest = max(longest, len(c.values))
	}
	address, session := postgres(t, "CREATE TYPE mood AS ENUM ('sad', 'very happy'); CREATE TYPE pair AS (a int, b text); CREATE DOMAIN score AS int CHECK (VALUE > 0);"+
		"CREATE TABLE kinds (id int PRIMARY KEY, "+strings.Join(columns, ", ")+")")
	for n := range longest + 1 { // the last row is all NULL
		values := []string{strconv.Itoa(n)}
		for _, c := range all {
			if n < len(c.values) {
				values = append(values, "'"+strings.ReplaceAll(c.values[n], "'", "''")+"'")
			} else {
				values = append(values, "NULL")
			}
		}
		session.Exec("SET standard_conforming_strings = on; SET datestyle = 'ISO, YMD'; INSERT INTO kinds VALUES (" + strings.Join(values, ", ") + ")")
	}
	session.Exec("SET TimeZone = 'UTC'; SET extra_float_digits = 1; SET DateStyle = 'ISO, YMD'")
	answers := session.Rows("SELECT " + strings.Join(wants, ", ") + " FROM kinds ORDER BY id")

	s := open(t, config(address, "kinds", "id"), nil, nil)
	for i, c := range s.Columns()[1:] {
		if c.Kind != all[i].kind {
			t.Errorf("%s is %s, want %s", all[i].sqlType, c.Kind, all[i].kind)
		}
	}
	got := take(t, s, -1)
	if len(got) != len(answers) {
		t.Fatalf("%d rows, want %d", len(got), len(answers))
	}
	for n, row := range got {
		for i, c := range all {
			want := answers[n][i]
			if want != "NULL" || n >= len(c.values) {
				want = wanted(t, c.kind, want, n >= len(c.values))
			} else {
				want = c.kind.String() + " " + want
			}
			if row[i+1] != want {
				t.Errorf("%s, row %d: %q, want %q", c.sqlType, n, row[i+1], want)
			}
		}
	}
}

// wanted is what show gives for a text that a database answered.
func wanted(t *testing.T, k rows.Kind, text string, null bool) string {
	t.Helper()
	if null {
		return "NULL"
	}
	if k == rows.Float {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		text = strconv.FormatFloat(f, 'g', -1, 64)
	}
	return k.String() + " " + text
}

// Intervals have a form that no setting of the server changes: the tests' one has sql_standard.
func TestSessionSettingsAreFixed(t *testing.T) {
	t.Parallel()
	address, _ := postgres(t, "CREATE VIEW v AS SELECT 1 AS id, interval '1 day 02:03:04.5' AS i, timestamptz '2026-01-02 03:04:05+00' || '' AS z, "+
		"0.1::float8 + 0.2::float8 || '' AS f, '\\x00ff'::bytea::text AS b, date '2026-02-01' || '' AS d")
	same(t, take(t, open(t, config(address, "v", "id"), nil, nil), -1), [][]string{{
		"integer 1", "text P1DT2H3M4.5S", "text 2026-01-02 03:04:05+00", "text 0.30000000000000004", `text \x00ff`, "text 2026-02-01",
	}})
}

func TestValuesWithoutAPlaceInTheirKind(t *testing.T) {
	t.Parallel()
	address, _ := postgres(t, "CREATE TABLE t (id int PRIMARY KEY, d date, ts timestamp, n numeric); INSERT INTO t VALUES (1, 'infinity', '-infinity', 'NaN')")
	for _, tc := range []struct{ query, want string }{
		{"SELECT id, d FROM t", `column "d" is taken for date and holds infinity: select it as text`},
		{"SELECT id, ts FROM t", `column "ts" is taken for timestamp and holds infinity`},
		{"SELECT id, n FROM t", `column "n" is taken for decimal and holds NaN or infinity`},
		{"SELECT id, timestamp '294276-12-31 23:59:59' AS far FROM t", `column "far" is taken for timestamp and holds a time after`},
	} {
		s := open(t, config(address, tc.query, "id"), nil, nil)
		_, err := next(t, s)
		refused(t, err, tc.want)
	}
	got := take(t, open(t, config(address, "SELECT id, CAST(d AS text) AS d FROM t", "id"), nil, nil), -1)
	same(t, got, [][]string{{"integer 1", "text infinity"}})
}

// Each value is what SQLite itself says that it is.
func TestValuesOfSQLite(t *testing.T) {
	t.Parallel()
	address, db := sqlite(t, `CREATE TABLE kinds (id INTEGER PRIMARY KEY, i BIGINT, f DOUBLE, d DECIMAL(20,4), b BOOLEAN, t VARCHAR(10), x BLOB, day DATE, at DATETIME, any, j JSON);
		INSERT INTO kinds VALUES (1, -9223372036854775808, 0.1, 12, 1, 'a''b', x'00ff', '2026-01-02', '2026-01-02 03:04:05', 'x', '{"a":1}');
		INSERT INTO kinds VALUES (2, 9223372036854775807, 3, '0.25', 0, '', x'', 20260102, 1700000000, 5, '[]');
		INSERT INTO kinds VALUES (3, 9007199254740993, 1e308, -1, NULL, char(233,0,120), NULL, 1.5, 2460000.25, 0.1, 'x');
		INSERT INTO kinds (id) VALUES (4)`)
	s := open(t, config(address, "kinds", "id"), nil, nil)
	want := []rows.Kind{rows.Int, rows.Int, rows.Float, rows.Decimal, rows.Bool, rows.Text, rows.Bytes, rows.Text, rows.Text, rows.Text, rows.Text}
	for i, c := range s.Columns() {
		if c.Kind != want[i] {
			t.Errorf("%s is %s, want %s", c.Name, c.Kind, want[i])
		}
	}
	var answers [][]string
	answered, err := db.QueryContext(t.Context(), `SELECT CAST(id AS TEXT), CAST(i AS TEXT), f, CAST(d AS TEXT), CAST(b AS TEXT), CAST(t AS TEXT), lower(hex(x)), x IS NULL,
		CAST(day AS TEXT), CAST(at AS TEXT), CAST(any AS TEXT), CAST(j AS TEXT) FROM kinds ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answered.Close() }()
	for answered.Next() {
		row := make([]*string, len(want))
		var f *float64
		var noBlob bool
		if err := answered.Scan(&row[0], &row[1], &f, &row[3], &row[4], &row[5], &row[6], &noBlob, &row[7], &row[8], &row[9], &row[10]); err != nil {
			t.Fatal(err)
		}
		if noBlob {
			row[6] = nil
		}
		texts := make([]string, len(row))
		for i, v := range row {
			texts[i] = "NULL"
			if v != nil {
				texts[i] = want[i].String() + " " + *v
			}
		}
		if f != nil {
			texts[2] = "float " + strconv.FormatFloat(*f, 'g', -1, 64)
		}
		answers = append(answers, texts)
	}
	if err := answered.Err(); err != nil {
		t.Fatal(err)
	}
	same(t, take(t, s, -1), answers)
}

// An expression declares no type, so its values say which it has.
func TestExpressionsOfSQLite(t *testing.T) {
	t.Parallel()
	address, _ := sqlite(t, "CREATE TABLE t (k TEXT NOT NULL, n INTEGER); INSERT INTO t VALUES ('a', 1), ('a', 2), ('b', 4), ('c', NULL)")
	s := open(t, config(address, "SELECT k, sum(n) AS total, avg(n) AS mean, iif(k = 'a', max(n), 'none') AS mixed, NULL AS empty FROM t GROUP BY k", "k"), nil, nil)
	same(t, take(t, s, -1), [][]string{
		{"text a", "integer 3", "float 1.5", "text 2", "NULL"},
		{"text b", "integer 4", "float 4", "text none", "NULL"},
		{"text c", "NULL", "NULL", "text none", "NULL"},
	})
}

func TestSQLiteValuesOfAnotherType(t *testing.T) {
	t.Parallel()
	address, _ := sqlite(t, `CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER, f REAL, d DECIMAL, b BOOL, x BLOB, t TEXT);
		INSERT INTO t VALUES (1, 'canary', 'canary', 'canary', 'canary', 7, CAST(x'ff' AS TEXT)), (2, 1.5, x'00', x'00', 2, 1.5, 'a')`)
	for _, tc := range []struct{ column, want string }{
		{"i", "integer and holds a text"},
		{"f", "float and holds a text"},
		{"d", "decimal and holds a text that is no number"},
		{"b", "boolean and holds a text"},
		{"x", "bytes and holds an integer"},
		{"t", "text and holds what is not UTF-8"},
	} {
		s := open(t, config(address, "SELECT id, "+tc.column+" FROM t", "id"), nil, nil)
		_, err := next(t, s)
		refused(t, err, fmt.Sprintf("column %q is taken for %s", tc.column, tc.want))
		if _, again := next(t, s); again == nil || again.Error() != err.Error() {
			t.Errorf("then it gives %v", again)
		}
	}
	for column, want := range map[string]string{"i": "a number with a fraction", "b": "a number other than 0 and 1", "d": "a blob"} {
		_, err := next(t, open(t, config(address, "SELECT id, "+column+" FROM t WHERE id = 2", "id"), nil, nil))
		refused(t, err, want)
	}
}
