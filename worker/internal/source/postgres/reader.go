package postgres

import (
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/source/dialect"
)

// A Reader reads the rows of one statement.
type Reader struct {
	r       *dialect.Request
	session *session
	start   func() *pgconn.ResultReader
	result  *pgconn.ResultReader // once Next was called

	columns   []rows.Column
	types     []string
	oids      []uint32
	forms     []int16
	key       []int // the places of the key's columns
	snapshot  time.Time
	remaining int64
	// foreign says that the server's texts may be of any encoding.
	foreign bool

	last [][]byte // the key of the last row, in buffers of its own
	err  error    // of Next; the same from then on
}

// Columns are those of each row.
func (r *Reader) Columns() []rows.Column { return r.columns }

// Types are the server's names of the columns' types.
func (r *Reader) Types() []string { return r.types }

// Snapshot is when the transaction's snapshot was taken, by the server's clock.
func (r *Reader) Snapshot() time.Time { return r.snapshot }

// Remaining is how many rows there are after the key.
func (r *Reader) Remaining() int64 { return r.remaining }

// Next reads the next row.
func (r *Reader) Next(row []rows.Value) error {
	if r.err != nil {
		return r.err
	}
	if r.result == nil {
		r.result = r.start()
	}
	if !r.result.NextRow() {
		if _, err := r.result.Close(); err != nil {
			r.err = wrong(r.r, err)
		} else {
			r.err = io.EOF
		}
		return r.err
	}
	values := r.result.Values()
	for i, data := range values {
		if data == nil {
			row[i] = rows.Value{}
			continue
		}
		v, unfit := value(r.oids[i], data)
		switch {
		case len(data) > dialect.MaxCellBytes:
			return r.fail(r.r.CellTooLong(r.columns[i].Name, len(data)))
		case unfit != "":
			return r.fail(r.r.Unfit(r.columns[i].Name, v.Kind, unfit))
		case r.foreign && !validText(v):
			return r.fail(r.r.Unfit(r.columns[i].Name, v.Kind, "what is not UTF-8"))
		}
		row[i] = v
	}
	return r.keep(values)
}

func (r *Reader) fail(err error) error {
	r.err = err
	return err
}

// keep keeps the row's key, which the next row's values overwrite.
func (r *Reader) keep(values [][]byte) error {
	size := 0
	for _, at := range r.key {
		if values[at] == nil {
			return r.fail(r.r.NullKey()) // a query that answers otherwise each time
		}
		size += len(values[at])
	}
	if size > dialect.MaxKeyBytes {
		return r.fail(r.r.KeyTooLong(size))
	}
	if r.last == nil {
		r.last = make([][]byte, len(r.key))
	}
	for i, at := range r.key {
		r.last[i] = append(r.last[i][:0], values[at]...)
	}
	return nil
}

// Key is the last row's key.
func (r *Reader) Key() [][]byte {
	var key [][]byte
	for _, part := range r.last {
		key = append(key, append([]byte{}, part...))
	}
	return key
}

// Text is a key for people.
func (r *Reader) Text(key [][]byte) []string {
	all := make([]string, len(key))
	for i, part := range key {
		all[i] = show(r.oids[r.key[i]], part)
	}
	return all
}

// Close ends the session. The caller has ended the context that Open got, so that what is left of the
// statement does not come.
func (r *Reader) Close() error {
	if r.result != nil {
		_, _ = r.result.Close() // of what is not wanted any more
	}
	r.session.close()
	return nil
}
