package table

import (
	"strings"
)

// What a table must show for lines above its header to be skipped.
const (
	// maxPreamble is how many lines above a header are looked past.
	maxPreamble = 100
	// leastAgreeing is the share of the records below a header that have its number of fields.
	leastAgreeing = 0.8
)

// above counts the lines above the header, or above the data where there is no header, and the
// bytes that they take.
func (s *sample) above(header bool) (lines, n int) {
	first := s.firstRecord(header)
	if first == 0 {
		return 0, 0
	}
	return first, s.ends[first-1]
}

func (s *sample) firstRecord(header bool) int {
	comments := 0
	for comments < min(len(s.records), maxPreamble) && s.isComment(comments) {
		comments++
	}
	if comments == len(s.records) {
		comments = 0
	}
	i := comments
	for i < min(len(s.records), maxPreamble) && (s.isComment(i) || s.isTitle(i)) {
		i++
	}
	switch {
	case i == comments, i >= min(len(s.records), maxPreamble), !s.fits(i), !s.agreesBelow(i):
		return comments
	case !header:
		if s.width < 3 {
			return comments
		}
		return i
	case !isHeader(s.records[i]):
		return comments
	}
	if padded := len(s.records[comments]) == len(s.records[i]); !s.typedBelow(i) && (padded || s.width < 3 && !s.blank[i]) {
		return comments // it may be a header above ragged data
	}
	return i
}

// isComment: the record begins with a number sign, and that is not part of a name.
func (s *sample) isComment(i int) bool {
	r := s.records[i]
	text := strings.TrimLeft(r[0], " \t")
	return strings.HasPrefix(text, "#") && (!s.fits(i) || strings.HasPrefix(text, "##") || strings.HasPrefix(text, "# "))
}

// isTitle: the record has fewer fields than most, or fewer that are not empty.
func (s *sample) isTitle(i int) bool {
	return filled(s.records[i]) < s.width && !s.fits(i) || filled(s.records[i]) < len(s.records[i]) && filled(s.records[i]) < s.headerWidth()
}

// filled is the number of fields up to the last that is not empty.
func filled(record []string) int {
	for n := len(record); n > 0; n-- {
		if strings.TrimSpace(record[n-1]) != "" {
			return n
		}
	}
	return 0
}

// headerWidth is how many fields a header has: as many as most records, without the empty one that
// a delimiter at the end of each makes.
func (s *sample) headerWidth() int {
	for _, r := range s.records {
		if len(r) == s.width && r[s.width-1] != "" {
			return s.width
		}
	}
	return s.width - 1
}

// fits: the record has as many fields as a header.
func (s *sample) fits(i int) bool {
	return s.width > 0 && (len(s.records[i]) == s.width || len(s.records[i]) == s.headerWidth())
}

func (s *sample) agreesBelow(i int) bool {
	n := 0
	for j := i; j < len(s.records); j++ {
		if s.fits(j) {
			n++
		}
	}
	return len(s.records)-i > 1 && float64(n) >= leastAgreeing*float64(len(s.records)-i)
}

// isHeader: the fields are different names. The first may be empty, as above an index, and the
// last, behind a delimiter at the end.
func isHeader(record []string) bool {
	seen := make(map[string]bool, len(record))
	for i, name := range record {
		name = strings.TrimSpace(name)
		if name == "" && (i == 0 || i == len(record)-1) {
			continue
		}
		if kind := Classify([]byte(name)).Kind; kind != Text || seen[name] {
			return false
		}
		seen[name] = true
	}
	return len(seen) > 0
}

// typedBelow: a column below record i, whose own field there is text, has numbers, dates or
// booleans alone.
func (s *sample) typedBelow(i int) bool {
	for c := range s.records[i] {
		typed, values := 0, 0
		for _, r := range s.records[i+1:] {
			if c >= len(r) {
				continue
			}
			switch kind := Classify([]byte(r[c])).Kind; kind {
			case Null:
			case Text:
				values++
			default:
				typed, values = typed+1, values+1
			}
		}
		if typed > 0 && typed == values && strings.TrimSpace(s.records[i][c]) != "" {
			return true
		}
	}
	return false
}
