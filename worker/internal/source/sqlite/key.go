package sqlite

import (
	"context"
	"database/sql/driver"
	"slices"
	"strings"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/worker/internal/source/dialect"
)

// texts begin what SQLite says of a query's text, as its parser does, which knows no values.
var texts = []string{
	"no such ", "near ", "too many ", "ambiguous column name", "wrong number of arguments to function", "incomplete input", "unrecognized token",
	"misuse of ", "SELECTs to the left and right of", "a GROUP BY clause is required", "aggregate functions are not allowed", "row value misused",
}

// words are SQLite's own about a query's text, without its code; "" if they are about something else.
func words(text string) string {
	text = strings.TrimPrefix(text, "SQL logic error: ")
	if !slices.ContainsFunc(texts, func(begin string) bool { return strings.HasPrefix(text, begin) }) {
		return ""
	}
	if at := strings.LastIndex(text, " ("); at > 0 {
		text = text[:at]
	}
	return excerpt.Of(strings.ReplaceAll(text, "\n", " "), 200)
}

// checkTable checks what a table declares of the key, and reports whether that proves it.
func (s *session) checkTable(ctx context.Context) (proved bool, err error) {
	if s.r.Table == "" {
		return false, nil
	}
	schema, name := s.tableName()
	row, err := s.one(ctx, "SELECT type, wr FROM pragma_table_list WHERE schema = ?1 COLLATE NOCASE AND name = ?2 COLLATE NOCASE", text(1, schema), text(2, name))
	if err != nil || row == nil || row[0] != "table" {
		return false, err // a view declares nothing
	}
	return s.checkConstraints(ctx, schema, name, row[1] == int64(1))
}

// checkKey checks that the key is NOT NULL and unique: by what a table declares, and all the rows.
func (s *session) checkKey(ctx context.Context, statements dialect.Statements, args []driver.NamedValue) error {
	if proved, err := s.checkTable(ctx); err != nil || proved {
		return err
	}
	row, err := s.one(ctx, statements.Nulls, args...)
	if err != nil {
		return err
	}
	if row != nil {
		return s.r.NullKey()
	}
	if row, err = s.one(ctx, statements.Duplicates, args...); err != nil {
		return err
	}
	if row != nil {
		return s.r.DuplicateKey()
	}
	return nil
}

func (s *session) tableName() (schema, name string) {
	if schema, name, ok := strings.Cut(s.r.Table, "."); ok {
		return schema, name
	}
	return "main", s.r.Table
}

func text(n int, s string) driver.NamedValue { return driver.NamedValue{Ordinal: n, Value: s} }

// checkConstraints checks what a table declares, and reports whether that proves the key. A column of a
// primary key may be NULL in SQLite, unless the table has no rowid or the column is the rowid. A unique
// index proves nothing: its collation may tell apart what the column's own does not, and SQLite has no
// pragma for the latter.
func (s *session) checkConstraints(ctx context.Context, schema, name string, withoutRowid bool) (proved bool, err error) {
	columns, err := s.all(ctx, `SELECT name, "notnull", pk, upper(type) FROM pragma_table_xinfo(?1, ?2)`, text(1, name), text(2, schema))
	if err != nil {
		return false, err
	}
	indexes, err := s.all(ctx, `SELECT name, origin FROM pragma_index_list(?1, ?2) WHERE "unique" AND NOT partial`, text(1, name), text(2, schema))
	if err != nil {
		return false, err
	}
	// A primary key of one INTEGER that has no index is the rowid.
	indexed := slices.ContainsFunc(indexes, func(i []driver.Value) bool { return i[1] == "pk" })
	for _, key := range s.r.Key {
		at := slices.IndexFunc(columns, func(c []driver.Value) bool { return strings.EqualFold(c[0].(string), key) })
		if at < 0 {
			continue // a name of the rowid; CheckColumns has seen the rest
		}
		c := columns[at]
		switch {
		case c[2] != int64(0) && c[3] == "INTEGER" && !withoutRowid && !indexed:
			proved = true // whatever comes with it
		case c[1] == int64(0) && (!withoutRowid || c[2] == int64(0)):
			return false, s.r.Permanent("column %s of its key may be NULL: declare it NOT NULL in the table, or take another key", dialect.Quote(key))
		}
	}
	if proved {
		return true, nil
	}
	for _, index := range indexes {
		within, err := s.indexWithin(ctx, schema, index[0].(string))
		if err != nil || within {
			return false, err
		}
	}
	return false, s.r.Permanent("no unique index says that its key %s is unique: make one that is not partial, or take another key", s.r.KeyName())
}

// indexWithin reports whether the index's columns are all of the key.
func (s *session) indexWithin(ctx context.Context, schema, index string) (bool, error) {
	columns, err := s.all(ctx, "SELECT name FROM pragma_index_xinfo(?1, ?2) WHERE key", text(1, index), text(2, schema))
	if err != nil {
		return false, err
	}
	for _, c := range columns {
		column, ok := c[0].(string) // an expression has no name
		if !ok || !slices.ContainsFunc(s.r.Key, func(k string) bool { return strings.EqualFold(k, column) }) {
			return false, nil
		}
	}
	return len(columns) > 0, nil
}
