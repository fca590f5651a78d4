// Package filetest reads and writes files by programs that are none of ours, for tests of what writes and reads
// them: SheetJS, DuckDB, the DecompressionStream of Node.js, and zstd.
package filetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// node runs one of this package's scripts and returns what it printed.
func node(tb testing.TB, script string, args ...string) []byte {
	tb.Helper()
	return nodeOn(tb, nil, script, args...)
}

// nodeOn is node with a standard input.
func nodeOn(tb testing.TB, stdin []byte, script string, args ...string) []byte {
	tb.Helper()
	_, self, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(self), "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); errors.Is(err, fs.ErrNotExist) {
		tb.Fatal("the packages of the readers are not installed: run `npm ci --prefix internal/filetest/node`")
	}
	return output(tb, stdin, "node", append([]string{filepath.Join(dir, script)}, args...)...)
}

// output runs a program, which `task setup` installs.
func output(tb testing.TB, stdin []byte, name string, args ...string) []byte {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s: %v (is it installed? `task setup` does it)\n%s", name, err, stderr.Bytes())
	}
	return out
}

// Gunzip returns what is in a gzip file, by the DecompressionStream that browsers have as well.
func Gunzip(tb testing.TB, file string) []byte {
	tb.Helper()
	return node(tb, "gunzip.mjs", file)
}

// Unzstd returns what is in a zstd file.
func Unzstd(tb testing.TB, file string) []byte {
	tb.Helper()
	return output(tb, nil, "zstd", "-dcq", file)
}

// A Sheet is one of an XLSX file.
type Sheet struct {
	Name string `json:"name"`
	// Rows have a cell for each column up to their last one.
	Rows [][]Cell `json:"rows"`
}

// A Cell has SheetJS's type, s for a string, n a number, b a boolean, "" for none; the value as text, of a
// number all digits of the double; and how it shows.
type Cell struct {
	Type  string `json:"t"`
	Value string `json:"v"`
	Shown string `json:"w"`
}

// XLSX reads a workbook with SheetJS.
func XLSX(tb testing.TB, file string) []Sheet {
	tb.Helper()
	var sheets []Sheet
	decode(tb, node(tb, "xlsx.mjs", file), &sheets)
	return sheets
}

// A Book is what SheetJS writes as a workbook. Its rows have strings, numbers, booleans, nil, and SheetJS's cells.
type Book struct {
	Sheets   []BookSheet `json:"sheets"`
	Print    int         `json:"print"`
	Date1904 bool        `json:"date1904"`
}

// A BookSheet is one of a Book.
type BookSheet struct {
	Name   string  `json:"name"`
	Hidden bool    `json:"hidden"`
	Rows   [][]any `json:"rows"`
}

// WriteXLSX writes a workbook with SheetJS, and returns what SheetJS saves as the CSV of the sheet to print.
func WriteXLSX(tb testing.TB, file string, book Book) []byte {
	tb.Helper()
	in, err := json.Marshal(book)
	if err != nil {
		tb.Fatal(err)
	}
	return nodeOn(tb, in, "xlsx-write.mjs", file)
}

// SQL has DuckDB answer a query, and returns its rows. Values are DuckDB's own text of them, and nil for
// null. In the query, $file is the quoted name of file.
func SQL(tb testing.TB, file, query string) [][]*string {
	tb.Helper()
	var rows [][]*string
	decode(tb, node(tb, "duckdb.mjs", file, query), &rows)
	return rows
}

func decode(tb testing.TB, out []byte, v any) {
	tb.Helper()
	if err := json.Unmarshal(out, v); err != nil {
		tb.Fatalf("%v in %.200q", err, out)
	}
}
