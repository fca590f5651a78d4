package source_test

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	driver "modernc.org/sqlite"

	"github.com/tidemark-dev/tidemark/internal/leaktest"
	"github.com/tidemark-dev/tidemark/internal/pgtest"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/source"
)

// wide is a table whose rows do not fit between the server and its client: it waits to send most of them.
const wide = "CREATE TABLE t (id int PRIMARY KEY, x text NOT NULL); INSERT INTO t SELECT n, repeat('x', 10000) || n FROM generate_series(1, 3000) n"

// sessions counts those of sources.
const sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

// drain reads until an error, and returns it with the rows before it.
func drain(t *testing.T, s *source.Source) (all [][]string, err error) {
	t.Helper()
	for {
		row, err := next(t, s)
		if err != nil {
			return all, err
		}
		all = append(all, row)
	}
}

// A session that an operator ends is a temporary error, and another attempt goes on from the last row.
func TestSessionIsEnded(t *testing.T) {
	t.Parallel()
	address, session := postgres(t, wide)
	c := config(address, "t", "id")
	want := take(t, open(t, c, nil, nil), -1)
	s := open(t, c, nil, nil)
	got := take(t, s, 5)
	session.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	more, err := drain(t, s)
	passing(t, err, "")
	got = append(got, more...)
	if len(got) == len(want) {
		t.Fatal("all rows came, although the session was ended")
	}
	got = append(got, take(t, open(t, c, nil, position(t, s)), -1)...)
	same(t, got, want)
}

func TestServerIsStopped(t *testing.T) {
	t.Parallel()
	leaktest.Check(t)
	own := pgtest.Server(t)
	address, session := own.Database(t)
	session.Exec(wide)
	c := config(address, "t", "id")
	want := take(t, open(t, c, nil, nil), -1)
	s := open(t, c, nil, nil)
	got := take(t, s, 5)
	if err := own.Stop(); err != nil {
		t.Fatal(err)
	}
	more, err := drain(t, s)
	passing(t, err, "")
	at := position(t, s)
	got = append(got, more...)
	_, err = attempt(t, c, nil, at)
	passing(t, err, "the database cannot be reached: nothing listens there")
	if err := own.Launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	got = append(got, take(t, open(t, c, nil, at), -1)...)
	same(t, got, want)
}

// slow gives its first row after 1000 s. The checks before it do not ask for x, which they know to have no
// effect.
const (
	sleeps = "; CREATE FUNCTION sleeps() RETURNS text STABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1000); RETURN NULL; END'"
	slow   = "SELECT id, sleeps() AS x FROM t"
)

func TestCancelEndsTheStatement(t *testing.T) {
	t.Parallel()
	address, session := postgres(t, wide+sleeps)
	ctx, cancel := context.WithCancelCause(t.Context())
	s := open(t, config(address, slow, "id"), nil, nil)
	failed := make(chan error, 1)
	go func() { failed <- s.Next(ctx, make([]rows.Value, 2)) }()
	session.Until("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'", "1")
	why := errors.New("enough")
	cancel(why)
	if err := <-failed; !errors.Is(err, why) || source.Temporary(err) {
		t.Errorf("the error is %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	session.Until(sessions, "0")
}

// A context that ends between two rows ends the statement, too, and so does Close.
func TestCancelBetweenRows(t *testing.T) {
	t.Parallel()
	address, session := postgres(t, wide)
	ctx, cancel := context.WithCancel(t.Context())
	s := open(t, config(address, "t", "id"), nil, nil)
	row := make([]rows.Value, 2)
	if err := s.Next(ctx, row); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := s.Next(ctx, row); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	at := position(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	other := open(t, config(address, "t", "id"), nil, at)
	if got := take(t, other, 1); got[0][0] != "integer 2" {
		t.Errorf("the next row is %.40q", got)
	}
	_ = other.Close()
	session.Until(sessions, "0")
}

func TestCancelOfOpening(t *testing.T) {
	t.Parallel()
	address, session := postgres(t, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
	sources := set(t, config(address, "SELECT pg_sleep(1000)::text AS id FROM t", "id"))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := sources.Open(ctx, "orders", nil, nil)
		failed <- err
	}()
	session.Until("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'", "1")
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	session.Until(sessions, "0")
}

// A database that gives no row for the timeout is a temporary error, and is not asked any longer.
func TestSilentDatabase(t *testing.T) {
	t.Parallel()
	address, session := postgres(t, wide+sleeps)
	c := config(address, slow, "id")
	c.Timeout = 5 * time.Second // in which a busy machine opens it
	s := open(t, c, nil, nil)
	_, err := next(t, s)
	passing(t, err, "the database gave no answer for 5s")
	_ = s.Close()
	session.Until(sessions, "0")

	// A table that is locked is the same.
	session.Exec("BEGIN; LOCK TABLE t")
	c.Query, c.Table = "", "t"
	_, err = attempt(t, c, nil, nil)
	passing(t, err, "is something locked")
	session.Exec("COMMIT")
	if got := take(t, open(t, c, nil, nil), 1); got[0][0] != "integer 1" {
		t.Errorf("then it gives %.40q", got)
	}
}

// As many sources are open as there may be connections. The next waits for one.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	address, session := postgres(t, "CREATE TABLE t (id int PRIMARY KEY)")
	c := config(address, "t", "id")
	c.Connections = 2
	sources := set(t, c)
	var open []*source.Source
	for range 2 {
		s, err := sources.Open(t.Context(), "orders", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // one that finds a connection would take it now and then, although its context has ended
		if _, err := sources.Open(ctx, "orders", nil, nil); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "waiting for one of its connections") {
			t.Fatalf("the error of a third is %v", err)
		}
	}
	if got := session.Rows(sessions); got[0][0] != "2" {
		t.Errorf("%s sessions are open", got)
	}
	third := make(chan error, 1)
	go func() {
		s, err := sources.Open(t.Context(), "orders", nil, nil)
		if err == nil {
			err = s.Close()
		}
		third <- err
	}()
	_ = open[0].Close()
	_ = open[0].Close() // a second time frees nothing
	if err := <-third; err != nil {
		t.Error(err)
	}
	_ = open[1].Close()
	session.Until(sessions, "0")
	// A failure gives its connection back.
	session.Exec("ALTER TABLE t DROP CONSTRAINT t_pkey")
	for range 3 {
		if _, err := sources.Open(t.Context(), "orders", nil, nil); err == nil {
			t.Fatal("a key that nothing declares is taken")
		}
	}
}

// What runs in SQLite ends with the context.
func TestCancelOfSQLite(t *testing.T) {
	t.Parallel()
	address, _ := sqlite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
	started := make(chan struct{})
	var once sync.Once
	name := fmt.Sprint("source_started_", rand.Uint64()) // a process registers a name but once
	driver.MustRegisterScalarFunction(name, 0, func(*driver.FunctionContext, []sqldriver.Value) (sqldriver.Value, error) {
		once.Do(func() { close(started) })
		return int64(1), nil
	})
	c := config(address, "WITH RECURSIVE n (id) AS (SELECT "+name+"() UNION ALL SELECT id + 1 FROM n) SELECT id FROM n", "id")
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := set(t, c).Open(ctx, "orders", nil, nil)
		failed <- err
	}()
	<-started
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// A database that another process has locked is a temporary error.
func TestLockedSQLite(t *testing.T) {
	t.Parallel()
	address, db := sqlite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
	execute(t, db, "BEGIN EXCLUSIVE; INSERT INTO t VALUES (3)")
	c := config(address, "t", "id")
	_, err := attempt(t, c, nil, nil)
	passing(t, err, "another process holds the database locked")
	execute(t, db, "COMMIT")
	if got := take(t, open(t, c, nil, nil), -1); len(got) != 3 {
		t.Errorf("then it gives %q", got)
	}
}

// In WAL mode a writer goes on beside a source, which does not see it, nor is seen.
func TestWAL(t *testing.T) {
	t.Parallel()
	address, db := sqlite(t, "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t "+series(1000))
	c := config(address, "t", "id")
	s := open(t, c, nil, nil)
	got := take(t, s, 10)
	execute(t, db, "DELETE FROM t WHERE id > 500; INSERT INTO t VALUES (2000)")
	var left int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&left); err != nil || left != 501 {
		t.Errorf("the writer sees %d rows, %v", left, err)
	}
	got = append(got, take(t, s, -1)...)
	if len(got) != 1000 || got[999][0] != "integer 1000" {
		t.Errorf("%d rows", len(got))
	}
	if got := take(t, open(t, c, nil, nil), -1); len(got) != 501 {
		t.Errorf("the next snapshot has %d rows", len(got))
	}
}

// A source's connection cannot write, whatever runs on it.
func TestSQLiteIsReadOnly(t *testing.T) {
	t.Parallel()
	address, db := sqlite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
	for _, query := range []string{
		"WITH x AS (SELECT 1) DELETE FROM t RETURNING id", "SELECT id FROM t) AS x, (DELETE FROM t", "SELECT id FROM pragma_journal_mode('WAL')", "SELECT load_extension('canary') AS id",
		"SELECT writefile('canary', 'x') AS id",
	} {
		_, err := attempt(t, config(address, query, "id"), nil, nil)
		if err == nil {
			t.Errorf("%s is taken", query)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Error(err)
		}
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil || n != 1 {
		t.Errorf("the table has %d rows, %v", n, err)
	}
}

// What answers at the address may be anything, and its answer of any length.
func TestServerThatIsNoPostgres(t *testing.T) {
	t.Parallel()
	leaktest.Check(t)
	for _, answer := range []string{"HTTP/1.1 400 Bad Request\r\n\r\ncanary", "R\x7f\xff\xff\xff", "R\x00\x00\x00\x00", "E\x00\x00\x00\x0bMcanary", "", "\x00"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var serving sync.WaitGroup
		serving.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 1024))
				_, _ = conn.Write([]byte(answer))
				_ = conn.Close()
			}
		})
		_, err = attempt(t, config("postgres://u:s3cret@"+l.Addr().String()+"/x?sslmode=disable", "t", "id"), nil, nil)
		_ = l.Close()
		serving.Wait()
		if err == nil {
			t.Errorf("%q is taken for Postgres", answer)
			continue
		}
		failed(t, err, "")
	}
}
