package table

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// Names are those of a CSV's columns.
type Names struct {
	Names []string
	// Cut counts those that were longer than there was room for.
	Cut int
}

// Names reads the names of a CSV's columns, trimmed and different from each other: the header's,
// or numbered ones as many as the first record has fields. A name that is empty gets a number.
// More than columns are refused; names that take more than size bytes together are cut, the
// longest first. Call it before Record.
func (r *Reader) Names(columns, size int) (Names, error) {
	fields, err := r.firstFields()
	if err != nil {
		return Names{}, err
	}
	if len(fields) > columns {
		return Names{}, Refuse("The header has %d columns; at most %d are read. Keep fewer columns, or split the file by columns.", len(fields), columns)
	}
	names := Names{Names: make([]string, len(fields))}
	for i, f := range fields {
		if r.dialect.Header {
			names.Names[i] = string(bytes.ToValidUTF8(bytes.TrimSpace(f), replacement))
		}
		if names.Names[i] == "" {
			names.Names[i] = "column_" + strconv.Itoa(i+1)
		}
	}
	// A suffix that makes a name unique takes a few bytes.
	names.Cut = fit(names.Names, size-len(fields)*suffixBytes)
	taken := make(map[string]bool, len(fields))
	for i, name := range names.Names {
		names.Names[i] = unique(name, taken)
	}
	return names, nil
}

// suffixBytes is what unique adds at most, among as many columns as can be told apart by it.
const suffixBytes = len("_9999")

// firstFields takes the header, or looks at the first record and leaves it.
func (r *Reader) firstFields() ([][]byte, error) {
	for {
		at, lines := r.in.at, r.lines
		fields, more, err := r.Record()
		switch {
		case err != nil:
			return nil, err
		case !more:
			return nil, Refuse("This file has only blank lines.")
		case len(fields) == 0:
			continue
		case !r.dialect.Header:
			r.in.start -= r.length
			r.in.at = at
			r.records--
			r.lines, r.length = lines, 0
		}
		return fields, nil
	}
}

// fit cuts the longest names until all take at most size bytes together, and returns how many.
func fit(names []string, size int) int {
	total, longest := 0, 0
	for _, name := range names {
		total += len(name)
		longest = max(longest, len(name))
	}
	if total <= size {
		return 0
	}
	// The longest length to which all can be cut.
	low, high := len(cutMark), longest
	for low < high-1 {
		middle, sum := (low+high)/2, 0
		for _, name := range names {
			sum += min(len(name), middle)
		}
		if sum <= size {
			low = middle
		} else {
			high = middle
		}
	}
	cut := 0
	for i, name := range names {
		if len(name) > low {
			cut++
			end := low - len(cutMark)
			for end > 0 && !utf8.RuneStart(name[end]) {
				end--
			}
			names[i] = name[:end] + cutMark
		}
	}
	return cut
}

const cutMark = "…"

func unique(name string, taken map[string]bool) string {
	out := name
	for n := 2; taken[out]; n++ {
		out = name + "_" + strconv.Itoa(n)
	}
	taken[out] = true
	return out
}
