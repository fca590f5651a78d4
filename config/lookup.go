package config

import (
	"slices"
	"strings"
)

func find(key string) *Setting {
	settings := allSettings()
	i := slices.IndexFunc(settings, func(s Setting) bool { return s.Key == key })
	if i < 0 {
		return nil
	}
	return &settings[i]
}

func findVariable(name string) *Setting {
	settings := allSettings()
	i := slices.IndexFunc(settings, func(s Setting) bool { return s.Variable() == name })
	if i < 0 {
		return nil
	}
	return &settings[i]
}

// isSection reports whether keys of settings begin with path and a dot.
func isSection(path string) bool {
	return slices.ContainsFunc(allSettings(), func(s Setting) bool { return strings.HasPrefix(s.Key, path+".") })
}

func didYouMean(key string) string {
	if s := closest(strings.ToLower(key), func(s Setting) string { return s.Key }); s != nil {
		return "; did you mean " + s.Key + "?"
	}
	return "; `tidemark config print` lists them all"
}

// closest finds the setting whose name is a slip of the keyboard away from what was
// typed, or whose last word it is.
func closest(typed string, name func(Setting) string) *Setting {
	var best *Setting
	least := 4
	settings := allSettings()
	for i := range settings {
		full := name(settings[i])
		_, last, _ := strings.Cut(full, ".")
		_, typedLast, _ := strings.Cut(typed, ".")
		d := min(distance(typed, full), distance(typed, last)+1)
		if typedLast != "" {
			d = min(d, distance(typedLast, last)+2)
		}
		// A third of the word may be wrong, no more: "x" is not a slip of "data".
		if d < least && 3*d <= len(typed) {
			best, least = &settings[i], d
		}
	}
	return best
}

// distance is the number of letters to insert, drop, replace or swap with their
// neighbour to make a of b (optimal string alignment).
func distance(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
