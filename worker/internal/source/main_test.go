package source_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/tidemark-dev/tidemark/internal/leaktest"
	"github.com/tidemark-dev/tidemark/internal/pgtest"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/source"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// server is what the tests of the package share, each with a database of its own.
var server *pgtest.Postgres

func TestMain(m *testing.M) {
	var err error
	if server, err = pgtest.Start(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// postgres makes a database of what the SQL makes.
func postgres(t testing.TB, sql string) (string, *pgtest.Session) {
	t.Helper()
	leaktest.Check(t)
	address, session := server.Database(t)
	session.Exec(sql)
	return address, session
}

// sqlite makes a file of what the SQL makes.
func sqlite(t testing.TB, statements string) (string, *sql.DB) {
	t.Helper()
	leaktest.Check(t)
	path := filepath.Join(t.TempDir(), "a b%.db")
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String())
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	execute(t, db, statements)
	return (&url.URL{Scheme: "sqlite", Path: path}).String(), db
}

func execute(t testing.TB, db *sql.DB, statements string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statements); err != nil {
		t.Fatalf("%v: %.200s", err, statements)
	}
}

// series is a SELECT of the numbers from 1 to n, as value, for SQLite.
func series(n int) string {
	return fmt.Sprintf("WITH RECURSIVE series (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM series WHERE value < %d) SELECT value FROM series", n)
}

// config is a source's, with a name.
func config(url, rows string, key ...string) sqlsource.Source {
	c := sqlsource.Source{Name: "orders", URL: url, Key: key}
	if strings.ContainsAny(rows, " ") {
		c.Query = rows
	} else {
		c.Table = rows
	}
	return c
}

func set(t testing.TB, c sqlsource.Source) *source.Set {
	t.Helper()
	s, err := source.New([]sqlsource.Source{c})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// attempt opens a source, closed with the test at the latest.
func attempt(t testing.TB, c sqlsource.Source, params map[string]string, at []byte) (*source.Source, error) {
	t.Helper()
	s, err := set(t, c).Open(t.Context(), c.Name, params, at)
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

func open(t testing.TB, c sqlsource.Source, params map[string]string, at []byte) *source.Source {
	t.Helper()
	s, err := attempt(t, c, params, at)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// next reads a row as texts.
func next(t testing.TB, s *source.Source) ([]string, error) {
	t.Helper()
	row := make([]rows.Value, len(s.Columns()))
	if err := s.Next(t.Context(), row); err != nil {
		return nil, err
	}
	texts := make([]string, len(row))
	for i, v := range row {
		texts[i] = show(v)
	}
	return texts, nil
}

// take reads n rows, or all for -1.
func take(t testing.TB, s *source.Source, n int) (all [][]string) {
	t.Helper()
	for len(all) != n {
		row, err := next(t, s)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("after %d rows: %v", len(all), err)
		}
		all = append(all, row)
	}
	return all
}

// show spells a value with its kind.
func show(v rows.Value) string {
	var text string
	switch v.Kind {
	case rows.Null:
		return "NULL"
	case rows.Int, rows.Bool, rows.Date, rows.Timestamp:
		text = strconv.FormatInt(v.Int, 10)
	case rows.Float:
		text = strconv.FormatFloat(v.Float, 'g', -1, 64)
	case rows.Bytes:
		text = hex.EncodeToString(v.Data)
	default:
		text = string(v.Data)
	}
	return v.Kind.String() + " " + text
}

func position(t testing.TB, s *source.Source) []byte {
	t.Helper()
	at, err := s.Position()
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func same(t testing.TB, got, want [][]string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !slices.Equal(got[i], want[i]) {
			t.Fatalf("%d rows, want %d; they differ from row %d on:\n%.500q\n%.500q", len(got), len(want), i, got[min(i, len(got)):], want[min(i, len(want)):])
		}
	}
}

// refused checks an error of what cannot be mended by waiting, and that it tells no secret.
func refused(t testing.TB, err error, want string) {
	t.Helper()
	failed(t, err, want)
	if source.Temporary(err) {
		t.Errorf("%v is temporary", err)
	}
}

// passing checks an error of what may be gone later.
func passing(t testing.TB, err error, want string) {
	t.Helper()
	failed(t, err, want)
	if !source.Temporary(err) {
		t.Errorf("%v is not temporary", err)
	}
}

func failed(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "source orders: ") {
		t.Fatalf("the error is %v, want one of source orders with %q", err, want)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, secret := range []string{pgtest.Password, "s3cret", "127.0.0.1", pgtest.User, "canary"} {
			if strings.Contains(fmt.Sprintf("%+v", e), secret) {
				t.Errorf("%v tells %q", e, secret)
			}
		}
	}
}
