package analysis

import (
	"bytes"
	"strconv"
)

// columnNames turns the first record into names: trimmed, valid UTF-8, and
// different from each other. Without a header they are numbered.
func columnNames(fields [][]byte, header bool) ([]string, error) {
	if len(fields) > MaxColumns {
		return nil, tooManyColumns("the header")
	}
	names := make([]string, len(fields))
	taken := make(map[string]bool, len(fields))
	total := 0
	for i, f := range fields {
		name := ""
		if header {
			name = string(bytes.ToValidUTF8(bytes.TrimSpace(f), []byte("\uFFFD")))
		}
		if name == "" {
			name = "column_" + strconv.Itoa(i+1)
		}
		if total += len(name); total > maxNameBytes {
			return nil, namesTooLong("the header")
		}
		names[i] = unique(name, taken)
		total += len(names[i]) - len(name)
	}
	if total > maxNameBytes {
		return nil, namesTooLong("the header")
	}
	return names, nil
}

func unique(name string, taken map[string]bool) string {
	out := name
	for n := 2; taken[out]; n++ {
		out = name + "_" + strconv.Itoa(n)
	}
	taken[out] = true
	return out
}
