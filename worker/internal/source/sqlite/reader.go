package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/source/dialect"
)

// A Reader reads the rows of one statement.
type Reader struct {
	r       *dialect.Request
	session *session
	result  driver.Rows
	ended   func() error // the error of what the statement runs in

	columns   []rows.Column
	types     []string
	snapshot  time.Time
	remaining int64

	values []driver.Value // the columns, and then the key
	buf    []byte         // of the texts of a row
	last   [][]byte
	err    error // of Next; the same from then on
}

// read checks the source and begins to read it.
func (s *session) read(ctx context.Context) (*Reader, error) {
	sql, err := s.r.SQL(dialect.Question)
	if err != nil {
		return nil, s.r.Permanent("its query is refused: %v", err)
	}
	args := make([]driver.NamedValue, 0, len(s.r.Params)+len(s.r.After))
	for _, p := range s.r.Params {
		args = append(args, driver.NamedValue{Ordinal: len(args) + 1, Value: p.Value})
	}
	statements := s.r.Statements(sql, dialect.Question, "*")
	out := &Reader{r: s.r, session: s, snapshot: time.Now().UTC(), ended: ctx.Err}
	unknown, err := out.describe(ctx, statements.All, args)
	if err != nil {
		return nil, err
	}
	if err := out.examine(ctx, unknown, statements.All, args); err != nil {
		return nil, err
	}
	if err := s.checkKey(ctx, statements, args); err != nil {
		return nil, err
	}
	for _, part := range s.r.After {
		v, ok := decode(part)
		if !ok {
			return nil, s.r.Permanent("the position holds no key of SQLite's")
		}
		args = append(args, driver.NamedValue{Ordinal: len(args) + 1, Value: v})
	}
	count, err := s.one(ctx, statements.Count, args...)
	if err != nil {
		return nil, err
	}
	out.remaining = count[0].(int64)
	if out.result, err = s.query(ctx, s.r.Statements(sql, dialect.Question, out.selected()).Rows, args); err != nil {
		return nil, err
	}
	return out, nil
}

// Describe opens the file, and returns the columns of a source and their declared types. It reads no
// rows, so the kind of an expression is text, and it checks the key where constraints tell of it.
func Describe(ctx context.Context, r *dialect.Request) ([]rows.Column, []string, error) {
	s, err := open(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	defer s.close()
	sql, err := r.SQL(dialect.Question)
	if err != nil {
		return nil, nil, r.Permanent("its query is refused: %v", err)
	}
	args := make([]driver.NamedValue, len(r.Params)) // NULL is as good as any, where no row is read
	for i := range args {
		args[i].Ordinal = i + 1
	}
	out := &Reader{r: r, session: s}
	if _, err := out.describe(ctx, r.Statements(sql, dialect.Question, "*").All, args); err != nil {
		return nil, nil, err
	}
	_, err = s.checkTable(ctx)
	return out.columns, out.types, err
}

// describe finds the columns and their kinds, and returns those that are expressions.
func (r *Reader) describe(ctx context.Context, all string, args []driver.NamedValue) (unknown []int, err error) {
	result, err := r.session.query(ctx, all+" LIMIT 0", args)
	if err != nil {
		return nil, err
	}
	defer func() { _ = result.Close() }() // it gave no row
	declared := result.(driver.RowsColumnTypeDatabaseTypeName)
	for i, name := range result.Columns() {
		d := declared.ColumnTypeDatabaseTypeName(i)
		k, ok := kindOf(d)
		if !ok {
			unknown = append(unknown, i)
		}
		r.columns, r.types = append(r.columns, rows.Column{Name: name, Kind: k}), append(r.types, strings.ToLower(d))
	}
	_, err = r.r.CheckColumns(r.columns)
	return unknown, err
}

// examine finds the kinds of expressions, of whose types only the values tell.
func (r *Reader) examine(ctx context.Context, unknown []int, all string, args []driver.NamedValue) error {
	if len(unknown) == 0 {
		return nil
	}
	list := make([]string, len(unknown))
	for i, at := range unknown {
		name := "s." + dialect.Identifier(r.columns[at].Name)
		of := "CASE WHEN " + name + " IS NOT NULL THEN typeof(" + name + ") END"
		list[i] = "min(" + of + "), max(" + of + ")"
	}
	row, err := r.session.one(ctx, "SELECT "+strings.Join(list, ", ")+strings.TrimPrefix(all, "SELECT *"), args...)
	if err != nil {
		return err
	}
	for i, at := range unknown {
		r.columns[at].Kind = kindOfAll(row[2*i], row[2*i+1])
	}
	return nil
}

// selected are the columns and the key, as expressions without a declared type, whose texts the driver
// leaves alone. What is given as text is SQLite's own text of it.
func (r *Reader) selected() string {
	var list []string
	for _, c := range r.columns {
		name := "s." + dialect.Identifier(c.Name)
		if c.Kind == rows.Text {
			list = append(list, "CAST("+name+" AS TEXT)")
		} else {
			list = append(list, "+"+name)
		}
	}
	for _, k := range r.r.Key {
		list = append(list, "+s."+dialect.Identifier(k))
	}
	return strings.Join(list, ", ")
}

// Columns are those of each row.
func (r *Reader) Columns() []rows.Column { return r.columns }

// Types are the columns' declared types; "" for an expression.
func (r *Reader) Types() []string { return r.types }

// Snapshot is when the transaction began, by this machine's clock.
func (r *Reader) Snapshot() time.Time { return r.snapshot }

// Remaining is how many rows there are after the key.
func (r *Reader) Remaining() int64 { return r.remaining }

// Next reads the next row.
func (r *Reader) Next(row []rows.Value) error {
	if r.err == nil {
		r.err = r.next(row)
	}
	return r.err
}

func (r *Reader) next(row []rows.Value) error {
	if r.values == nil {
		r.values = make([]driver.Value, len(r.columns)+len(r.r.Key))
	}
	if err := r.result.Next(r.values); err != nil {
		switch {
		case errors.Is(err, io.EOF):
			return io.EOF
		case r.ended() != nil:
			return r.r.Temporary("the reading was ended")
		}
		return wrong(context.Background(), r.r, err)
	}
	r.buf = r.buf[:0]
	for i, c := range r.columns {
		if n := length(r.values[i]); n > dialect.MaxCellBytes {
			return r.r.CellTooLong(c.Name, n)
		}
	}
	for i, c := range r.columns {
		v, rest, unfit := value(c.Kind, r.values[i], r.buf)
		if unfit != "" {
			return r.r.Unfit(c.Name, c.Kind, unfit)
		}
		row[i], r.buf = v, rest
	}
	return r.keep(r.values[len(r.columns):])
}

// length is that of a text or a blob. A row's are within SQLite's limit, which is MaxRowBytes.
func length(v driver.Value) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []byte:
		return len(v)
	}
	return 0
}

func (r *Reader) keep(key []driver.Value) error {
	parts, size := make([][]byte, len(key)), 0
	for i, v := range key {
		part, ok := encode(v)
		if !ok {
			return r.r.NullKey() // a query that answers otherwise each time
		}
		parts[i] = part
		size += len(part)
	}
	if size > dialect.MaxKeyBytes {
		return r.r.KeyTooLong(size)
	}
	r.last = parts
	return nil
}

// Key is the last row's key.
func (r *Reader) Key() [][]byte { return slices.Clone(r.last) }

// Text is a key for people.
func (r *Reader) Text(key [][]byte) []string {
	all := make([]string, len(key))
	for i, part := range key {
		all[i] = show(part)
	}
	return all
}

// Close ends the transaction.
func (r *Reader) Close() error {
	_ = r.result.Close() // it has only read
	r.session.close()
	return nil
}
