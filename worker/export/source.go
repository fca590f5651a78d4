package export

import (
	"context"
	"time"

	"github.com/tidemark-dev/tidemark/worker/internal/source"
)

// A Source names rows of a SQL database, which users may export without writing any SQL. The rows come
// in the order of its key. The zero value of a field that is not required is its default.
type Source struct {
	// Name is how users name it: lower-case letters, digits, _ and -, at most 64. Required.
	Name string
	// URL says where the database is: postgres://user:password@host:port/database?sslmode=…, or
	// sqlite:///path/to/file.db. It, or URLFile, is required.
	URL string
	// URLFile is a file that holds the URL, at most 4 KiB. It is read at each opening.
	URLFile string
	// Table is a table or view, as the database writes its name, with a dot after its schema if it has
	// one. It, or Query, is required.
	Table string
	// Query is one SELECT, at most 64 KiB. It may name each of Params as :name.
	Query string
	// Key are 1 to 8 columns that together are unique and NOT NULL. Those of a table must be declared so;
	// those of a view or a query are checked by reading all rows, at each opening. At most 1 KiB a row.
	// Required.
	Key []string
	// Params are the names of the query's parameters, at most 32. Users give a text of at most 4 KiB for
	// each, which is bound. Postgres finds a parameter's type by its use; in SQLite it is a text, which
	// CAST(:name AS INTEGER) makes a number.
	Params []string
	// Connections is how many of this process read it at a time, 1 to 100. Further ones wait. Defaults to 4.
	Connections int
	// Timeout is how long the database may take to check the key, and then to give each row, 1 s to 24 h.
	// Defaults to 10 minutes.
	Timeout time.Duration
}

// ValidateSources says everything that is wrong with sources, of one and of all. It connects to nothing.
// The error wraps all faults, none of which holds a URL.
func ValidateSources(all []Source) error { return source.Validate(configs(all)) }

func configs(all []Source) []source.Config {
	list := make([]source.Config, len(all))
	for i, s := range all {
		list[i] = source.Config(s)
	}
	return list
}

// Startable says what would keep this machine from opening the source: a URLFile or a SQLite file that is
// not there. It connects to nothing.
func (s Source) Startable() error { return source.Config(s).Startable() }

// A SourceInfo is what Inspect tells of a source.
type SourceInfo struct {
	// Driver is postgres or sqlite; "" if the URL cannot be read.
	Driver string
	// Columns are those of its rows.
	Columns []SourceColumn
}

// A SourceColumn is a column of a source.
type SourceColumn struct {
	Name string `json:"name"`
	// Kind is what its values are in an export: text, integer, float, decimal, boolean, date, timestamp,
	// bytes or json. An expression in SQLite is text here, and has the type of its values in an export.
	Kind string `json:"kind"`
	// Type is the database's name of its type; "" for an expression in SQLite.
	Type string `json:"type,omitempty"`
}

// Inspect connects to the source and returns its columns. It reads no rows, and checks the key only as
// far as a table's constraints tell of it. The error says what is wrong and what to do, and holds
// nothing of the URL; SourceInfo.Driver is there despite it, if the URL is.
func (s Source) Inspect(ctx context.Context) (SourceInfo, error) {
	set, err := source.New(configs([]Source{s}))
	if err != nil {
		return SourceInfo{}, err
	}
	found, err := set.Inspect(ctx, s.Name)
	info := SourceInfo{Driver: found.Driver}
	for i, c := range found.Columns {
		info.Columns = append(info.Columns, SourceColumn{c.Name, c.Kind.String(), found.Types[i]})
	}
	return info, err
}
