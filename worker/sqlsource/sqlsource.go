// Package sqlsource says what an export needs to know of a SQL database: where its rows are, and who may
// have them. It connects to nothing; package export does.
package sqlsource

import "time"

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
	// Topics are those whose jobs may export the source, at most 1,000: one topic ("user:42"), all of a
	// kind ("team:*") or all ("*"). To the jobs of others there is no such source. Defaults to all topics:
	// each user who may enqueue jobs, on any topic, can then export it.
	Topics []string
	// Connections is how many of this process read it at a time, 1 to 100. Further ones wait. Defaults to 4.
	Connections int
	// Timeout is how long the database may take to check the key, and then to give each row, 1 s to 24 h.
	// Defaults to 10 minutes.
	Timeout time.Duration
}

// A Snapshot is a state of the database that an export's rows were read from.
type Snapshot struct {
	// At is when it was the database's, by its clock.
	At time.Time `json:"at"`
	// Rows is how many rows were read before its first one.
	Rows int64 `json:"rows"`
	// After is the key, as text, of the row before its first one; empty at the beginning.
	After []string `json:"after,omitempty"`
}
