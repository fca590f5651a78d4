package table

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

// sniff decides the dialect from the head of a file's text, without its byte-order mark; whole says
// that there is no more. skip is how many bytes of it are above the header.
func sniff(head []byte, whole bool, o Options) (d Dialect, skip int, err error) {
	if len(bytes.TrimSpace(head)) == 0 && whole {
		return d, 0, Refuse("This file has only blank lines.")
	}
	d.Returns = endsInReturns(head)
	if d.Returns {
		head = bytes.ReplaceAll(head, []byte{'\r'}, []byte{'\n'})
	}
	if d.Format = o.Format; d.Format == "" {
		d.Format = formatOf(o.Name, head)
	}
	if d.Format == NDJSON {
		return d, 0, checkShape(head, whole)
	}
	if start := bytes.TrimLeft(head, " \t\r\n"); o.Format == "" && len(start) > 0 && start[0] == '[' {
		if err := checkShape(head, whole); err != nil {
			return d, 0, err
		}
	}
	d.Header = !o.NoHeader
	at := 0
	if delimiter, n := declared(head); n > 0 && !o.Untitled {
		d.Delimiter, at = delimiter, n
	}
	if o.Delimiter != 0 {
		d.Delimiter = o.Delimiter
	}
	s := choose(head[at:], whole, d.Delimiter, o.Name)
	d.Delimiter, d.Quotes = s.delimiter, s.quotes
	if !o.Untitled {
		lines, n := s.above(d.Header)
		d.Skipped = lines
		at += n
	}
	return d, at, nil
}

// endsInReturns reports whether lines end in a carriage return alone: outside quotes there is one,
// and no line feed.
func endsInReturns(head []byte) bool {
	quoted, returns := false, false
	for i, c := range head {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '\n':
			return false
		case c == '\r' && i+1 < len(head) && head[i+1] != '\n':
			returns = true
		}
	}
	return returns
}

// formatOf decides by the file's name, else by its first character.
func formatOf(name string, head []byte) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".csv", ".tsv", ".tab", ".psv":
		return CSV
	case ".ndjson", ".jsonl", ".ldjson":
		return NDJSON
	}
	if start := bytes.TrimLeft(head, " \t\r\n"); len(start) > 0 && start[0] == '{' {
		return NDJSON
	}
	return CSV
}

// declared reads a first line such as sep=; by which Excel tells the delimiter, and returns how
// long it is; 0: there is none.
func declared(head []byte) (delimiter byte, n int) {
	line, _, found := bytes.Cut(head, []byte{'\n'})
	if !found {
		return 0, 0
	}
	text := bytes.Trim(withoutReturns(line), `"`)
	if len(text) < 5 || !bytes.EqualFold(text[:4], []byte("sep=")) {
		return 0, 0
	}
	// A sheet that was saved again may have padded the line with delimiters.
	delimiter = text[4]
	if c := delimiter; len(bytes.Trim(text[4:], string(c))) > 0 || c >= 0x80 || c == '"' || c < ' ' && c != '\t' ||
		c-'0' <= 9 || lower(c)-'a' < 26 {
		return 0, 0
	}
	return delimiter, len(line) + 1
}

// choose reads head with each delimiter that is tried, with quotes and where it matters without,
// and returns the sample that looks most like a table. A delimiter that is not 0 is taken.
func choose(head []byte, whole bool, delimiter byte, name string) *sample {
	try := Delimiters
	if delimiter != 0 {
		try = []byte{delimiter}
	} else if d := delimiterOf(name); bytes.IndexByte(head, d) >= 0 {
		// A tab is rarely meant otherwise; by its name it is what cuts fields.
		if s := read(head, whole, d); s.share() > 0.5 {
			return s
		}
	}
	var best *sample
	for _, d := range try {
		if s := read(head, whole, d); best == nil || s.better(best) {
			best = s
		}
	}
	return best
}

func delimiterOf(name string) byte {
	switch strings.ToLower(path.Ext(name)) {
	case ".tsv", ".tab":
		return '\t'
	case ".psv":
		return '|'
	}
	return 0
}

// read samples head with a delimiter, and decides whether quotes quote.
func read(head []byte, whole bool, delimiter byte) *sample {
	quoted := newSample(head, whole, splitter{delimiter: delimiter})
	if delimiter != '\t' && delimiter != '|' || quoted.mustQuote() {
		quoted.quotes = true
		return quoted
	}
	return newSample(head, whole, splitter{delimiter: delimiter, literal: true})
}

// maxSample is how many records of the head are looked at.
const maxSample = 200

// A sample is how the head of a file reads with one delimiter.
type sample struct {
	delimiter  byte
	quotes     bool
	records    [][]string // without blank lines
	ends       []int      // in the head, where each record ends
	blank      []bool     // a blank line is above the record
	bad        bool       // quotes are misplaced, or not closed
	needed     bool       // a quoted field has a quote, delimiter or line ending in it
	throughout bool       // all fields of the first record are quoted
	width      int        // the number of fields that most records have, of those with several
	agreeing   int        // how many records have it
}

func newSample(head []byte, whole bool, sp splitter) *sample {
	s := &sample{delimiter: sp.delimiter}
	counts := map[int]int{}
	blank := false
	for at := 0; at < len(head) && len(s.records) < maxSample; {
		n := sp.record(head[at:], whole || len(s.records) == 0)
		if n == 0 {
			s.bad = s.bad || sp.openQuote >= 0
			break
		}
		text := head[at : at+n]
		at += n
		if len(sp.fields) == 0 {
			blank = true
			continue
		}
		record := make([]string, len(sp.fields))
		for i, f := range sp.fields {
			record[i] = string(f)
		}
		s.records, s.ends, s.blank = append(s.records, record), append(s.ends, at), append(s.blank, blank)
		blank = false
		s.bad = s.bad || sp.badQuotes
		if len(s.records) == 1 && !sp.literal {
			s.throughout = string(withoutReturns(bytes.TrimSuffix(text, []byte{'\n'}))) == quote(record, sp.delimiter)
		}
		s.needed = s.needed || !sp.literal && !sp.badQuotes && needsQuotes(text, record, sp.delimiter)
		if len(record) > 1 {
			counts[len(record)]++
		}
	}
	for width, n := range counts {
		if n > s.agreeing || n == s.agreeing && width > s.width {
			s.width, s.agreeing = width, n
		}
	}
	return s
}

// quote writes a record with quotes around every field.
func quote(record []string, delimiter byte) string {
	quoted := make([]string, len(record))
	for i, f := range record {
		quoted[i] = `"` + strings.ReplaceAll(f, `"`, `""`) + `"`
	}
	return strings.Join(quoted, string(rune(delimiter)))
}

// needsQuotes: a field of a record, which text is, has in it what only quotes allow.
func needsQuotes(text []byte, record []string, delimiter byte) bool {
	return bytes.IndexByte(text, '"') >= 0 && slices.ContainsFunc(record, func(f string) bool {
		return strings.ContainsAny(f, "\"\n"+string(rune(delimiter))) && bytes.Contains(text, []byte(quote([]string{f}, 0)))
	})
}

// mustQuote: quotes are quotes, also where they would otherwise be taken for characters.
func (s *sample) mustQuote() bool {
	if s.bad || len(s.records) == 0 {
		return false
	}
	return s.needed || s.throughout
}

// share is how many of the records agree on a number of fields.
func (s *sample) share() float64 {
	return float64(s.agreeing) / float64(max(1, len(s.records)))
}

// score prefers delimiters that the first record has, or that show it to be a title, and of those
// the one by which most records agree.
func (s *sample) score() float64 {
	first := s.firstRecord(true)
	score := float64(s.agreeing) / float64(max(1, len(s.records)-first))
	if first > 0 || len(s.records) > 0 && len(s.records[0]) > 1 {
		score++
	}
	return score
}

func (s *sample) better(than *sample) bool {
	if a, b := s.score(), than.score(); a != b {
		return a > b
	}
	return s.width > than.width
}
