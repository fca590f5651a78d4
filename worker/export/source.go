package export

import (
	"context"

	"github.com/tidemark-dev/tidemark/worker/internal/source"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// ValidateSources says everything that is wrong with sources, of one and of all. It connects to nothing.
// The error wraps all faults, none of which holds a URL.
func ValidateSources(all []sqlsource.Source) error { return source.Validate(all) }

// CheckSource says what would keep this machine from opening a source: a URLFile or a SQLite file that is
// not there. It connects to nothing.
func CheckSource(s sqlsource.Source) error { return source.Startable(s) }

// A SourceInfo is what InspectSource tells of a source.
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

// InspectSource connects to a source and returns its columns. It reads no rows, and checks the key only as
// far as a table's constraints tell of it. The error says what is wrong and what to do, and holds
// nothing of the URL; SourceInfo.Driver is there despite it, if the URL is.
func InspectSource(ctx context.Context, s sqlsource.Source) (SourceInfo, error) {
	set, err := source.New([]sqlsource.Source{s})
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
