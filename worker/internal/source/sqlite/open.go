// Package sqlite reads a source from a SQLite file.
//
// An attempt is one connection that can only read, one transaction and one statement. In WAL mode
// writers go on beside it; with a rollback journal they wait until it ends.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"modernc.org/libc"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/tidemark-dev/tidemark/worker/internal/source/dialect"
)

// maxLockWait is how long a locked database is waited for before it is a temporary error.
const maxLockWait = 5 * time.Second

var errURL = errors.New("want sqlite:///path/to/file.db, or sqlite:file.db from the working directory, with nothing after the path")

// Path is the file that a URL names. Its error quotes none of it.
func Path(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "sqlite" || u.RawQuery != "" || u.Fragment != "" || u.Host != "" || u.User != nil {
		return "", errURL
	}
	path := u.Path
	if u.Opaque != "" {
		if path, err = url.PathUnescape(u.Opaque); err != nil {
			return "", errURL
		}
	}
	if path == "" || strings.ContainsRune(path, 0) {
		return "", errURL
	}
	return path, nil
}

// Open opens the file, checks the key, and asks for the rows. The reader ends when ctx does.
func Open(ctx context.Context, r *dialect.Request) (*Reader, error) {
	s, err := open(ctx, r)
	if err != nil {
		return nil, err
	}
	out, err := s.read(ctx)
	if err != nil {
		s.close()
		return nil, err
	}
	return out, nil
}

// Readable says what is wrong with the file in words that SQLite lacks. It does not open it.
func Readable(r *dialect.Request) error {
	_, err := file(r)
	return err
}

func file(r *dialect.Request) (path string, err error) {
	path, err = Path(r.URL)
	if err != nil {
		return "", r.Permanent("its URL is malformed: %v", err)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", r.Permanent("the file that its URL names is not there")
	case errors.Is(err, os.ErrPermission):
		return "", r.Permanent("this user may not read the file that its URL names")
	case err != nil:
		return "", r.Temporary("the file that its URL names cannot be read now")
	case !info.Mode().IsRegular():
		return "", r.Permanent("what its URL names is no file")
	}
	return path, nil
}

func open(ctx context.Context, r *dialect.Request) (*session, error) {
	path, err := file(r)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, r.Permanent("the working directory is gone, and its URL is relative to it")
	}
	// Not immutable: another process may write to the file.
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: fmt.Sprintf("mode=ro&_query_only=1&_busy_timeout=%d", maxLockWait.Milliseconds())}
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, r.Permanent("its file cannot be opened")
	}
	s := &session{r: r, db: sql.OpenDB(connector)}
	if err := s.connect(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// A session is a connection in a transaction.
type session struct {
	r    *dialect.Request
	db   *sql.DB
	conn *sql.Conn
	raw  driver.Conn
	stop func() bool // of the interrupt
	done chan struct{}
}

// connect connects, begins a transaction, and has whatever runs end with ctx: the driver does so for
// the first row of a statement alone.
func (s *session) connect(ctx context.Context) (err error) {
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return wrong(ctx, s.r, err)
	}
	if _, err := sqlite.Limit(s.conn, sqlite3.SQLITE_LIMIT_LENGTH, dialect.MaxRowBytes); err != nil {
		return s.r.Permanent("SQLite takes no limit of a row's length")
	}
	// The statements below run on it directly: database/sql would convert each cell.
	_ = s.conn.Raw(func(c any) error {
		s.raw = c.(driver.Conn)
		return nil
	})
	db := handle(s.raw)
	s.done = make(chan struct{})
	s.stop = context.AfterFunc(ctx, func() {
		defer close(s.done)
		tls := libc.NewTLS() // one of its own, for a call beside one that runs
		defer tls.Close()
		sqlite3.Xsqlite3_interrupt(tls, db)
	})
	if _, err := s.raw.(driver.ExecerContext).ExecContext(ctx, "BEGIN", nil); err != nil {
		return wrong(ctx, s.r, err)
	}
	return nil
}

// handle is SQLite's handle of a connection, which the driver keeps to itself.
func handle(c driver.Conn) uintptr {
	return uintptr(reflect.ValueOf(c).Elem().FieldByName("db").Uint())
}

// query runs a statement.
func (s *session) query(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.raw.(driver.QueryerContext).QueryContext(ctx, text, args)
	if err != nil {
		return nil, wrong(ctx, s.r, err)
	}
	return rows, nil
}

// one returns the first row of a statement; nil for none.
func (s *session) one(ctx context.Context, text string, args ...driver.NamedValue) ([]driver.Value, error) {
	rows, err := s.query(ctx, text, args)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its error is Next's
	row := make([]driver.Value, len(rows.Columns()))
	switch err := rows.Next(row); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, wrong(ctx, s.r, err)
	}
	return row, nil
}

// all returns the rows of a statement that has few.
func (s *session) all(ctx context.Context, text string, args ...driver.NamedValue) ([][]driver.Value, error) {
	rows, err := s.query(ctx, text, args)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its error is Next's
	var all [][]driver.Value
	for {
		row := make([]driver.Value, len(rows.Columns()))
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, wrong(ctx, s.r, err)
		}
		all = append(all, row)
	}
}

func (s *session) close() {
	if s.stop != nil && !s.stop() {
		<-s.done // it uses the handle
	}
	if s.conn != nil {
		_ = s.conn.Close() // it has only read
	}
	_ = s.db.Close()
}

// wrong is what an error of the driver means for a source. SQLite's own words are shown where they are
// about the query's text; others may quote a value.
func wrong(ctx context.Context, r *dialect.Request, err error) error {
	if ctx.Err() != nil {
		return r.Temporary("the reading was ended")
	}
	var said *sqlite.Error
	if !errors.As(err, &said) {
		return r.Permanent("SQLite refuses its query: its parameters do not fit, which are written :name")
	}
	switch code := said.Code() & 0xff; code {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return r.Temporary("another process holds the database locked")
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_FULL:
		return r.Temporary("the machine's disk or memory fails it (SQLite code %d)", said.Code())
	case sqlite3.SQLITE_INTERRUPT:
		return r.Temporary("the reading was ended")
	case sqlite3.SQLITE_TOOBIG:
		return r.Permanent("a row or a cell has more than %d bytes", dialect.MaxRowBytes)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return r.Permanent("its file is no SQLite database, or a damaged one")
	case sqlite3.SQLITE_CANTOPEN:
		return r.Temporary("its file cannot be opened: is it readable, and is its folder writable or not in WAL mode?")
	case sqlite3.SQLITE_READONLY:
		return r.Permanent("its query writes, or its folder is read-only and its WAL was not closed")
	case sqlite3.SQLITE_ERROR:
		if text := words(said.Error()); text != "" {
			return r.Permanent("SQLite refuses its query: %s", text)
		}
		return r.Permanent("SQLite refuses its query at one of its values: a function or an operator does not take it")
	default:
		return r.Permanent("SQLite refuses its query (code %d)", said.Code())
	}
}
