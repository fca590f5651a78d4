package export

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"

	"github.com/tidemark-dev/tidemark/worker/internal/format"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// A Request says which rows of a source go into a file, and how. The zero value of a field that is not
// required is its default.
type Request struct {
	// Format of the file: csv, ndjson, xlsx or parquet. Required.
	Format string `json:"format"`
	// Compression of a csv or ndjson file: gzip or zstd. Defaults to none.
	Compression string `json:"compression,omitempty"`
	// Delimiter of a csv file's cells: a comma, a semicolon, a tab or a bar. Defaults to a comma.
	Delimiter string `json:"delimiter,omitempty"`
	// CRLF ends the lines of a csv file with CR LF in place of LF.
	CRLF bool `json:"crlf,omitempty"`
	// NoHeader leaves the names of the columns out of a csv or xlsx file.
	NoHeader bool `json:"no_header,omitempty"`
	// RunFormulas leaves texts in a csv file as they are, although a spreadsheet runs some of them. Without
	// it they get an apostrophe before them.
	RunFormulas bool `json:"run_formulas,omitempty"`

	// Name of the file, without its extension: [A-Za-z0-9_-][A-Za-z0-9._-]{0,99}. Defaults to "export".
	Name string `json:"name,omitempty"`
	// Columns that the file has, in the file's order, each once. Defaults to all of the source.
	Columns []string `json:"columns,omitempty"`
	// Filter selects the rows of which all conditions hold, at most 32.
	Filter []Condition `json:"filter,omitempty"`
	// Limit is how many rows the file has at most. Defaults to all.
	Limit int64 `json:"limit,omitempty"`
}

var fileName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$`)

const maxConditions = 32

// Validate checks what can be checked without the source. Its error names the field and the bound.
func (r Request) Validate() error {
	var all []error
	if o, err := r.options(); err != nil {
		all = append(all, err)
	} else if err := o.Validate(); err != nil {
		all = append(all, err)
	}
	if r.Name != "" && !fileName.MatchString(r.Name) {
		all = append(all, errors.New("name: want at most 100 letters, digits, dots, _ and -, and no dot first"))
	}
	if n := len(r.Columns); n > format.MaxColumns {
		all = append(all, fmt.Errorf("columns: %d are named, at most %d may be", n, format.MaxColumns))
	}
	if n := len(r.Filter); n > maxConditions {
		all = append(all, fmt.Errorf("filter: %d conditions, at most %d may be", n, maxConditions))
	}
	for i, c := range r.Filter {
		if err := c.validate(); err != nil {
			all = append(all, fmt.Errorf("filter %d: %w", i+1, err))
		}
	}
	if r.Limit < 0 {
		all = append(all, fmt.Errorf("limit: %d, want at least 0", r.Limit))
	}
	return errors.Join(all...)
}

func (r Request) options() (format.Options, error) {
	o := format.Options{
		Format: format.Format(r.Format), Compression: format.Compression(r.Compression),
		CRLF: r.CRLF, NoHeader: r.NoHeader, RunFormulas: r.RunFormulas,
	}
	switch len(r.Delimiter) {
	case 0:
	case 1:
		o.Delimiter = r.Delimiter[0]
	default:
		return o, errors.New("delimiter: want one character")
	}
	return o, nil
}

// extensions and media types of files, by format.
var extensions = map[format.Format][2]string{
	format.CSV:     {".csv", "text/csv; charset=utf-8"},
	format.NDJSON:  {".ndjson", "application/x-ndjson"},
	format.XLSX:    {".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
	format.Parquet: {".parquet", "application/vnd.apache.parquet"},
}

// file is the name and the media type of the file.
func (r Request) file() (name, mediaType string) {
	known := extensions[format.Format(r.Format)]
	name, mediaType = cmp.Or(r.Name, "export")+known[0], known[1]
	switch format.Compression(r.Compression) {
	case format.Gzip:
		return name + ".gz", "application/gzip"
	case format.Zstd:
		return name + ".zst", "application/zstd"
	default:
		return name, mediaType
	}
}

// id tells a request to a source from others, so that no file goes on with what another began.
func (r Request) id(source string) string {
	b, _ := json.Marshal(r) // strings, numbers and booleans, which all encode
	sum := sha256.Sum256(append(append(b, '\n'), source...))
	return hex.EncodeToString(sum[:12])
}

// A selection is what of a source's rows goes into the file.
type selection struct {
	columns []rows.Column
	places  []int
	filter  []predicate
	limit   int64
}

func (r Request) selection(of []rows.Column) (*selection, error) {
	s := &selection{limit: cmp.Or(r.Limit, math.MaxInt64)}
	place := func(name string) (int, error) {
		i := slices.IndexFunc(of, func(c rows.Column) bool { return c.Name == name })
		if i < 0 {
			return 0, fmt.Errorf("the source has no column %.80q", name)
		}
		return i, nil
	}
	if len(r.Columns) == 0 {
		for i := range of {
			s.places = append(s.places, i)
		}
	}
	taken := map[string]bool{}
	for _, name := range r.Columns {
		i, err := place(name)
		if err != nil {
			return nil, fmt.Errorf("columns: %w", err)
		}
		if taken[name] {
			return nil, fmt.Errorf("columns: %.80q is named twice", name)
		}
		taken[name] = true
		s.places = append(s.places, i)
	}
	for _, i := range s.places {
		s.columns = append(s.columns, of[i])
	}
	for i, c := range r.Filter {
		at, err := place(c.Column)
		if err != nil {
			return nil, fmt.Errorf("filter %d: %w", i+1, err)
		}
		p, err := c.predicate(at, of[at].Kind)
		if err != nil {
			return nil, fmt.Errorf("filter %d: %w", i+1, err)
		}
		s.filter = append(s.filter, p)
	}
	return s, nil
}

// has reports whether a row of the source is selected.
func (s *selection) has(row []rows.Value) bool {
	for _, p := range s.filter {
		if !p(row) {
			return false
		}
	}
	return true
}

// pick copies the selected cells.
func (s *selection) pick(dst, row []rows.Value) {
	for i, at := range s.places {
		dst[i] = row[at]
	}
}
