package columnar_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/filetest"
)

// byDuckDB has DuckDB write the rows of queries, all at once since it takes a while to start, and returns its
// answer to the last query.
func byDuckDB(tb testing.TB, writes [][2]string, last string) (files [][]byte, answer [][]*string) {
	tb.Helper()
	dir := tb.TempDir()
	path := func(i int) string { return filepath.Join(dir, fmt.Sprint(i, ".parquet")) }
	var all strings.Builder
	for i, w := range writes {
		fmt.Fprintf(&all, "COPY (%s) TO '%s' (FORMAT parquet%s);\n", w[0], path(i), w[1])
	}
	answer = filetest.SQL(tb, dir, all.String()+last)
	for i := range writes {
		file, err := os.ReadFile(path(i))
		if err != nil {
			tb.Fatal(err)
		}
		files = append(files, file)
	}
	return files, answer
}

// allTypes has a row with values at the ends of their types, one with others, and one of nulls.
const allTypes = `SELECT * FROM (VALUES
	(1, true, (-128)::TINYINT, 255::UTINYINT, (-32768)::SMALLINT, 65535::USMALLINT, (-2147483648)::INTEGER, 4294967295::UINTEGER, (-9223372036854775808)::BIGINT, 18446744073709551615::UBIGINT,
	 0.1::FLOAT, 0.1::DOUBLE, (-123.45)::DECIMAL(5,2), 0.00000001::DECIMAL(18,8), (-12345678901234567890.123456789)::DECIMAL(38,9),
	 'Zoë "q" \ ' || chr(10) || chr(1), '\xFF\x00'::BLOB, 'plain'::BLOB, '1969-12-31'::DATE, '23:59:59.999999'::TIME,
	 '1969-12-31 23:59:59.999999'::TIMESTAMP, '2262-04-11 23:47:16.854775806'::TIMESTAMP_NS, '2026-01-02 03:04:05.6+00'::TIMESTAMPTZ, '2026-01-02 03:04:05.678'::TIMESTAMP_MS,
	 '01234567-89ab-cdef-0123-456789abcdef'::UUID, '{"a": [1, 2]}'::JSON, 'b'::ENUM('a', 'b'), INTERVAL '14 months 3 days 4.005 seconds',
	 [1, NULL, 3], [['a'], [], NULL], {'x': 1, 'y': {'z': 'q'}}, MAP {'k': 1, 'l': NULL}, MAP {7: [{'n': 1.5}]}, [{'a': [1, 2], 'b': 'x'}, {'a': [], 'b': NULL}]),
	(2, false, 0, 0, 0, 0, 0, 0, 0, 0, 'NaN', '-inf', 0, 1, 0.5, '', '', '\x5Cx00', '9999-12-31', '00:00:00',
	 '2026-01-02 03:04:05', '1970-01-01', '1970-01-01 00:00:00+00', '1970-01-01', '00000000-0000-0000-0000-000000000000', '1', 'a', INTERVAL '0 seconds',
	 [], [], {'x': NULL, 'y': NULL}, MAP {}, MAP {}, []),
	(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
) t(id, b, i8, u8, i16, u16, i32, u32, i64, u64, f, d, dec4, dec8, dec16, s, blob, "text", day, "time", ts, ns, tz, ms, uuid, js, en, iv, l, ll, st, m, mm, ls) ORDER BY id`

const allTypesText = `{"id":1,"b":true,"i8":-128,"u8":255,"i16":-32768,"u16":65535,"i32":-2147483648,"u32":4294967295,"i64":-9223372036854775808,"u64":18446744073709551615,` +
	`"f":0.1,"d":0.1,"dec4":-123.45,"dec8":0.00000001,"dec16":-12345678901234567890.123456789,` +
	`"s":"Zoë \"q\" \\ \n\u0001","blob":"\\xff00","text":"plain","day":"1969-12-31","time":"23:59:59.999999",` +
	`"ts":"1969-12-31T23:59:59.999999","ns":"2262-04-11T23:47:16.854775806","tz":"2026-01-02T03:04:05.6Z","ms":"2026-01-02T03:04:05.678",` +
	`"uuid":"01234567-89ab-cdef-0123-456789abcdef","js":{"a": [1, 2]},"en":"b","iv":"P14M3DT4.005S",` +
	`"l":[1,null,3],"ll":[["a"],[],null],"st":{"x":1,"y":{"z":"q"}},"m":{"k":1,"l":null},"mm":{"7":[{"n":1.5}]},"ls":[{"a":[1,2],"b":"x"},{"a":[],"b":null}]}
{"id":2,"b":false,"i8":0,"u8":0,"i16":0,"u16":0,"i32":0,"u32":0,"i64":0,"u64":0,"f":null,"d":null,"dec4":0.00,"dec8":1.00000000,"dec16":0.500000000,"s":"","blob":"","text":"\\x5c783030",` +
	`"day":"9999-12-31","time":"00:00:00","ts":"2026-01-02T03:04:05","ns":"1970-01-01T00:00:00","tz":"1970-01-01T00:00:00Z","ms":"1970-01-01T00:00:00","uuid":"00000000-0000-0000-0000-000000000000","js":1,"en":"a","iv":"P0M0DT0.000S",` +
	`"l":[],"ll":[],"st":{"x":null,"y":null},"m":{},"mm":{},"ls":[]}
{"id":3,"b":null,"i8":null,"u8":null,"i16":null,"u16":null,"i32":null,"u32":null,"i64":null,"u64":null,"f":null,"d":null,"dec4":null,"dec8":null,"dec16":null,"s":null,"blob":null,"text":null,` +
	`"day":null,"time":null,"ts":null,"ns":null,"tz":null,"ms":null,"uuid":null,"js":null,"en":null,"iv":null,"l":null,"ll":null,"st":null,"m":null,"mm":null,"ls":null}
`

// manyRows has lists, structs and nulls across pages, in values that dictionaries, deltas and plain pages suit.
const manyRows = `SELECT i AS id, i * 7919 % 1000003 AS random, i // 100 AS slow, CASE WHEN i % 3 > 0 THEN 'word ' || i % 50 END AS word,
	'long text of row ' || i AS unique, i / 7 AS share, (i % 8 / 8)::FLOAT AS small, i % 5 = 0 AS fifth,
	CASE WHEN i % 11 > 0 THEN range(i % 4) END AS list, {'a': i, 'b': CASE WHEN i % 2 = 0 THEN ['x', NULL, 'y' || i] END} AS nested,
	MAP {'k' || i % 3: i} AS map, repeat('z', (i % 700)::INTEGER) AS wide, 'abcdefghijkl' || i AS prefix
	FROM range(2100) t(i)`

func TestDuckDBsFilesAreText(t *testing.T) {
	t.Parallel()
	writes := [][2]string{{allTypes, ""}, {allTypes, ", PARQUET_VERSION v2"}}
	types := len(writes)
	for _, options := range []string{
		", COMPRESSION uncompressed", ", COMPRESSION snappy", ", COMPRESSION gzip", ", COMPRESSION zstd, ROW_GROUP_SIZE 2048", ", COMPRESSION brotli", ", COMPRESSION lz4_raw, ROW_GROUP_SIZE 2048",
		", PARQUET_VERSION v2, COMPRESSION zstd", ", PARQUET_VERSION v2, DICTIONARY_SIZE_LIMIT 1, COMPRESSION snappy",
	} {
		writes = append(writes, [2]string{manyRows, options})
	}
	files, want := byDuckDB(t, writes, "SELECT to_json(t) FROM ("+manyRows+") t ORDER BY id")
	for i, file := range files[:types] {
		if got, err := readAll(t, file); err != nil || got != allTypesText {
			t.Errorf("%s: %v, %s in\n%s", writes[i][1], err, differ(got, allTypesText), got)
		}
	}
	first := ""
	for i, file := range files[types:] {
		got, err := readAll(t, file)
		if i == 0 {
			first = got
		}
		if err != nil || got != first {
			t.Errorf("%s: %v, %s", writes[types+i][1], err, differ(got, first))
		}
	}
	lines := strings.Split(strings.TrimSuffix(first, "\n"), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d rows, want %d", len(lines), len(want))
	}
	for i, line := range lines {
		if i%3 == 0 && !sameJSON(line, *want[i][0]) {
			t.Fatalf("row %d is\n%s\nwant\n%s", i, line, *want[i][0])
		}
	}
	readAgain(t, files[types+3], first)
}

// sameJSON compares numbers as the doubles that DuckDB's shortest digits are.
func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

// readAgain reads a file in pieces of several sizes.
func readAgain(t *testing.T, file []byte, first string) {
	t.Helper()
	for _, size := range []int{7, 1 << 20} {
		r := open(t, bytes.NewReader(file), int64(len(file)))
		var again bytes.Buffer
		last := int64(0)
		for p := make([]byte, size); ; {
			n, err := r.Read(p)
			again.Write(p[:n])
			if now := r.Consumed(); now < last || now > int64(len(file)) {
				t.Fatalf("consumed %d bytes after %d, of %d", now, last, len(file))
			} else {
				last = now
			}
			if err != nil {
				break
			}
		}
		if again.String() != first || last != int64(len(file)) {
			t.Errorf("in pieces of %d: %s, %d bytes consumed of %d", size, differ(first, again.String()), last, len(file))
		}
	}
}

func differ(a, b string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%q and %q at %d", a[i:min(len(a), i+50)], b[i:min(len(b), i+50)], i)
		}
	}
	return fmt.Sprintf("%d and %d bytes", len(a), len(b))
}
