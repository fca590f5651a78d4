package postgres

import (
	"context"
	"strconv"
	"strings"

	"github.com/tidemark-dev/tidemark/worker/internal/source/dialect"
)

// tableOf tells of a table: its OID, whether its constraints bind every row that it gives (not those of
// a view, of a foreign table, or of one that others inherit from).
const tableOf = `SELECT c.oid, c.relkind IN ('r', 'p') AND (c.relkind = 'p' OR NOT EXISTS
	(SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid))
FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)`

// nullable names the first of the key's columns that may be NULL.
const nullable = `SELECT a.attname FROM pg_catalog.pg_attribute a
WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.attnotnull AND a.attname = ANY ($2::text[])
ORDER BY a.attnum LIMIT 1`

// unique finds an index that makes the key unique, by the collations that it is compared with. Its
// columns may be fewer than the key's.
const unique = `SELECT i.indexrelid FROM pg_catalog.pg_index i
WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
AND NOT EXISTS (
	SELECT FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) AS n
	LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n]
	WHERE a.attname IS NULL OR a.attname <> ALL ($2::text[]) OR a.attcollation <> i.indcollation[n])
LIMIT 1`

// checkTable checks the key of a table by its constraints, which cost nothing to ask and hold tomorrow,
// too. It reports whether there are any to ask.
func (s *session) checkTable(ctx context.Context) (constrained bool, err error) {
	if s.r.Table == "" {
		return false, nil
	}
	row, err := s.one(ctx, tableOf, []byte(s.tableName()))
	if err != nil || row == nil || row[1] != "t" {
		return false, err
	}
	return true, s.checkConstraints(ctx, row[0])
}

// checkKey checks that the key is NOT NULL and unique: by constraints, or else by all the rows.
func (s *session) checkKey(ctx context.Context, statements dialect.Statements, params [][]byte) error {
	if constrained, err := s.checkTable(ctx); err != nil || constrained {
		return err
	}
	row, err := s.one(ctx, statements.Nulls, params...)
	if err != nil {
		return err
	}
	if row != nil {
		return s.r.NullKey()
	}
	if row, err = s.one(ctx, statements.Duplicates, params...); err != nil {
		return err
	}
	if row != nil {
		return s.r.DuplicateKey()
	}
	return nil
}

func (s *session) checkConstraints(ctx context.Context, oid string) error {
	key := array(s.r.Key)
	row, err := s.one(ctx, nullable, []byte(oid), key)
	if err != nil {
		return err
	}
	if row != nil {
		return s.r.Permanent("column %s of its key may be NULL: declare it NOT NULL in the table, or take another key", dialect.Quote(row[0]))
	}
	if row, err = s.one(ctx, unique, []byte(oid), key); err != nil {
		return err
	}
	if row == nil {
		return s.r.Permanent("no unique index says that its key %s is unique: make one, not partial and not deferrable, or take another key", s.r.KeyName())
	}
	return nil
}

// tableName is the table's name as SQL.
func (s *session) tableName() string {
	parts := strings.Split(s.r.Table, ".")
	for i, p := range parts {
		parts[i] = dialect.Identifier(p)
	}
	return strings.Join(parts, ".")
}

// array is a text[] of the names.
func array(names []string) []byte {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(n) + `"`
	}
	return []byte("{" + strings.Join(quoted, ",") + "}")
}

// sqlState is the code that an error shows.
func sqlState(code string) string { return "SQLSTATE " + strconv.Quote(code) }
