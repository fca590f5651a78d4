// Package postgres reads a source from Postgres.
//
// An attempt is one session, one read-only transaction and one statement that gives all its rows: the
// server sends as fast as they are taken, and a page of them would be planned and sorted anew each
// time. The statement runs by the extended protocol, which binds parameters and sends numbers and times
// in binary. COPY does neither, and BenchmarkRead measures both.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/source/dialect"
)

// goodbye bounds how long the end of a session may take.
const goodbye = 5 * time.Second

// Check checks a URL without connecting. Its error quotes none of it.
func Check(url string) error {
	_, err := parse(url)
	return err
}

var errURL = errors.New("want postgres://user:password@host:port/database?sslmode=…, with what is no letter or digit in a password percent-encoded")

func parse(url string) (*pgconn.Config, error) {
	c, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, errURL // what a parser quotes may be of the password
	}
	return c, nil
}

// Open opens a session, checks the key, and asks for the rows. The reader ends when ctx does, and what
// it runs on the server ends with it.
func Open(ctx context.Context, r *dialect.Request) (_ *Reader, err error) {
	s, err := connect(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	snapshot, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	return s.read(ctx, snapshot)
}

func connect(ctx context.Context, r *dialect.Request) (*session, error) {
	c, err := parse(r.URL)
	if err != nil {
		return nil, r.Permanent("its URL is malformed: %v", err)
	}
	c.ConnectTimeout = r.ConnectTimeout
	c.MaxProtocolMessageBodyLen = dialect.MaxRowBytes
	c.RuntimeParams["client_encoding"] = "UTF8"
	c.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: goodbye}
	}
	conn, err := pgconn.ConnectConfig(ctx, c)
	if err != nil {
		return nil, wrong(r, err)
	}
	return &session{r: r, conn: conn}, nil
}

// A session is a connection in a transaction.
type session struct {
	r    *dialect.Request
	conn *pgconn.PgConn
}

// settings decide how values are written, whatever the server and the role are set to. They end with
// the transaction, so that a pooler's next client has its own. The limits on time are the caller's,
// who sees whether rows come.
const settings = `SELECT set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, YMD', true),
set_config('IntervalStyle', 'iso_8601', true), set_config('extra_float_digits', '1', true),
set_config('bytea_output', 'hex', true), set_config('lc_monetary', 'C', true), set_config('xmloption', 'content', true),
set_config('standard_conforming_strings', 'on', true), set_config('statement_timeout', '0', true),
set_config('lock_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true),
(extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text`

// begin begins the transaction, whose snapshot the settings' SELECT takes.
func (s *session) begin(ctx context.Context) (snapshot time.Time, err error) {
	if err := s.conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").Close(); err != nil {
		return time.Time{}, wrong(s.r, err)
	}
	row, err := s.one(ctx, settings)
	if err != nil {
		return time.Time{}, err
	}
	micros, err := strconv.ParseInt(row[len(row)-1], 10, 64)
	if err != nil {
		return time.Time{}, s.r.Permanent("the server's clock gives no time")
	}
	return time.UnixMicro(micros).UTC(), nil
}

// one runs a statement and returns its first row, as text and with "" for NULL; nil for none.
func (s *session) one(ctx context.Context, sql string, params ...[]byte) ([]string, error) {
	all := s.conn.ExecParams(ctx, sql, params, nil, nil, nil).Read()
	if all.Err != nil {
		return nil, wrong(s.r, all.Err)
	}
	if len(all.Rows) == 0 {
		return nil, nil
	}
	row := make([]string, len(all.Rows[0]))
	for i, v := range all.Rows[0] {
		row[i] = string(v)
	}
	return row, nil
}

// Describe opens a session, and returns the columns of a source and the server's names of their types.
// It reads no rows, and checks the key where constraints tell of it.
func Describe(ctx context.Context, r *dialect.Request) ([]rows.Column, []string, error) {
	s, err := connect(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	defer s.close()
	if _, err := s.begin(ctx); err != nil {
		return nil, nil, err
	}
	out, _, err := s.describe(ctx)
	if err != nil {
		return nil, nil, err
	}
	_, err = s.checkTable(ctx)
	return out.columns, out.types, err
}

// describe makes a reader that knows its columns.
func (s *session) describe(ctx context.Context) (*Reader, dialect.Statements, error) {
	sql, err := s.r.SQL(dialect.Dollar)
	if err != nil {
		return nil, dialect.Statements{}, s.r.Permanent("its query is refused: %v", err)
	}
	statements := s.r.Statements(sql, dialect.Dollar, "*")
	all, err := s.conn.Prepare(ctx, "", statements.All, nil)
	if err != nil {
		return nil, statements, wrongQuery(s.r, err)
	}
	out := &Reader{r: s.r, session: s, foreign: s.conn.ParameterStatus("server_encoding") == "SQL_ASCII"}
	out.describe(all.Fields)
	if out.key, err = s.r.CheckColumns(out.columns); err != nil {
		return nil, statements, err
	}
	out.types, err = s.typeNames(ctx, all.Fields)
	return out, statements, err
}

// read checks the source and begins to read it.
func (s *session) read(ctx context.Context, snapshot time.Time) (*Reader, error) {
	out, statements, err := s.describe(ctx)
	if err != nil {
		return nil, err
	}
	out.snapshot = snapshot
	var params [][]byte
	var oids []uint32
	var forms []int16
	for _, p := range s.r.Params {
		params, oids, forms = append(params, []byte(p.Value)), append(oids, 0), append(forms, 0)
	}
	if err := s.checkKey(ctx, statements, params); err != nil {
		return nil, err
	}

	// The key of a position has the form in which its columns arrive.
	for i, value := range s.r.After {
		oid := out.oids[out.key[i]]
		params, oids, forms = append(params, value), append(oids, keyType(oid)), append(forms, form(oid))
	}
	if out.remaining, err = s.count(ctx, statements.Count, params, oids, forms); err != nil {
		return nil, err
	}
	out.start = func() *pgconn.ResultReader { // which waits for the first row
		return s.conn.ExecParams(ctx, statements.Rows, params, oids, forms, out.forms)
	}
	return out, nil
}

func (s *session) count(ctx context.Context, sql string, params [][]byte, oids []uint32, forms []int16) (int64, error) {
	all := s.conn.ExecParams(ctx, sql, params, oids, forms, nil).Read()
	if all.Err != nil {
		return 0, wrong(s.r, all.Err)
	}
	n, err := strconv.ParseInt(string(all.Rows[0][0]), 10, 64)
	if err != nil {
		return 0, s.r.Permanent("the server's count of rows is no number")
	}
	return n, nil
}

// typeNames are the server's names of the columns' types.
func (s *session) typeNames(ctx context.Context, fields []pgconn.FieldDescription) ([]string, error) {
	names := make([]string, len(fields))
	known := map[string]string{}
	for i, f := range fields {
		key := fmt.Sprintf("%d,%d", f.DataTypeOID, f.TypeModifier)
		if _, ok := known[key]; !ok {
			row, err := s.one(ctx, "SELECT format_type($1::oid, $2::int)",
				strconv.AppendUint(nil, uint64(f.DataTypeOID), 10), strconv.AppendInt(nil, int64(f.TypeModifier), 10))
			if err != nil {
				return nil, err
			}
			known[key] = row[0]
		}
		names[i] = known[key]
	}
	return names, nil
}

// close ends the session. A statement that runs was canceled before.
func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	_ = s.conn.Close(ctx) // what is left of it ends with the connection
	select {
	case <-s.conn.CleanupDone():
	case <-ctx.Done():
	}
}

// describe takes the columns of a statement.
func (r *Reader) describe(fields []pgconn.FieldDescription) {
	r.columns = make([]rows.Column, len(fields))
	r.oids = make([]uint32, len(fields))
	r.forms = make([]int16, len(fields))
	for i, f := range fields {
		r.columns[i] = rows.Column{Name: f.Name, Kind: kind(f.DataTypeOID)}
		r.oids[i], r.forms[i] = f.DataTypeOID, form(f.DataTypeOID)
	}
}
