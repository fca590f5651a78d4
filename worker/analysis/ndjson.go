package analysis

import (
	"bytes"
	"encoding/json"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// line slides the window past the next line and returns it without its ending,
// valid until the next call; false at the end of the file.
func (in *input) line(number uint64) ([]byte, bool, error) {
	searched := 0
	for {
		data := in.window()
		i := bytes.IndexByte(data[searched:], '\n')
		n := searched + i + 1
		if i < 0 {
			n = len(data)
		}
		switch {
		case n > in.limit:
			return nil, false, in.tooLong(number, -1)
		case i >= 0:
			in.start += n
			return bytes.TrimSuffix(data[:n-1], []byte("\r")), true, nil
		case in.eof:
			in.start += n
			return data, n > 0, nil
		}
		searched = n
		if err := in.more(); err != nil {
			return nil, false, err
		}
	}
}

// objects walks NDJSON lines. Keys become columns in the order in which they
// first appear; of a key that a line has twice, the first counts.
type objects struct {
	index   map[string]int // raw key, as spelled in the file, to column
	scratch []byte
}

// valueSeed keeps the string "5" and the number 5 apart.
const valueSeed = 0x9e3779b97f4a7c15

// add takes one line; false if it is no JSON object.
func (o *objects) add(st *State, line []byte) (bool, error) {
	if line = bytes.TrimSpace(line); line[0] != '{' || !json.Valid(line) {
		return false, nil
	}
	st.rows++
	// The line is valid, so the walk needs no checks of its own.
	w := walker{b: line, i: 1}
	for position := 0; ; position++ {
		if w.space() == '}' {
			return true, nil
		}
		c, err := o.column(st, w.stringToken(), position)
		if err != nil {
			return false, err
		}
		w.space() // the colon
		w.i++
		w.space()
		token := w.value()
		if c.row != st.rows {
			c.row = st.rows
			o.addValue(c, token)
		}
		if w.space() == ',' {
			w.i++
		}
	}
}

// column finds the column of a quoted key, or makes it. Lines mostly repeat the
// order of the first, so the key's position is tried before the map.
func (o *objects) column(st *State, token []byte, position int) (*column, error) {
	raw := token[1 : len(token)-1]
	if position < len(st.columns) && st.columns[position].name == string(raw) && bytes.IndexByte(raw, '\\') < 0 {
		return st.columns[position], nil
	}
	if i, ok := o.index[string(raw)]; ok {
		return st.columns[i], nil
	}
	name := string(bytes.ToValidUTF8(o.unescape(raw), []byte("\uFFFD")))
	for i, c := range st.columns {
		if c.name == name {
			o.remember(raw, i)
			return c, nil
		}
	}
	if len(st.columns) == MaxColumns {
		return nil, tooManyColumns("the file, up to this line,")
	}
	if st.nameBytes()+len(name) > maxNameBytes {
		return nil, namesTooLong("the file, up to this line,")
	}
	c := st.addColumn(name)
	o.remember(raw, len(st.columns)-1)
	return c, nil
}

// remember keeps a spelling of a key. Escapes allow any number of spellings, so
// the map forgets them all when there are many.
func (o *objects) remember(raw []byte, i int) {
	if o.index == nil || len(o.index) >= 4*MaxColumns {
		o.index = make(map[string]int)
	}
	o.index[string(raw)] = i
}

func (o *objects) addValue(c *column, token []byte) {
	switch token[0] {
	case '{':
		c.counts[kindObject]++
	case '[':
		c.counts[kindArray]++
	case '"':
		text := token[1 : len(token)-1]
		if bytes.IndexByte(text, '\\') >= 0 {
			text = o.unescape(text)
		}
		hash := xxhash.Sum64(text) ^ valueSeed
		if it := c.frequent.hit(hash); it != nil {
			c.repeat(it)
			return
		}
		v, ok := parseTime(text)
		if !ok {
			v = cellValue{kind: kindText}
		}
		c.add(hash, v, text)
	case 'n':
	default:
		hash := xxhash.Sum64(token)
		if it := c.frequent.hit(hash); it != nil {
			c.repeat(it)
			return
		}
		c.add(hash, literal(token), token)
	}
}

// literal classifies true, false and numbers; one that a float64 cannot hold
// counts as text.
func literal(token []byte) cellValue {
	if token[0] == 't' || token[0] == 'f' {
		return cellValue{kind: kindBool}
	}
	if v, ok := parseNumber(token); ok {
		return v
	}
	return cellValue{kind: kindText}
}

// unescape undoes JSON escapes into scratch, valid until the next call. Half of
// a surrogate pair becomes U+FFFD.
func (o *objects) unescape(s []byte) []byte {
	out := o.scratch[:0]
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(s[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if i+6 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
					low = hex4(s[i+3:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default: // a quote, a slash or a backslash
			out = append(out, s[i])
		}
	}
	o.scratch = out
	return out
}

func hex4(s []byte) rune {
	var r rune
	for _, c := range s[:4] {
		switch {
		case c <= '9':
			r = r<<4 | rune(c-'0')
		default:
			r = r<<4 | rune(lower(c)-'a'+10)
		}
	}
	return r
}

// walker steps over the tokens of valid JSON.
type walker struct {
	b []byte
	i int
}

// space skips white space and returns what follows.
func (w *walker) space() byte {
	for w.b[w.i] == ' ' || w.b[w.i] == '\t' || w.b[w.i] == '\r' {
		w.i++
	}
	return w.b[w.i]
}

// stringToken takes a string with its quotes.
func (w *walker) stringToken() []byte {
	start := w.i
	for w.i++; w.b[w.i] != '"'; w.i++ {
		if w.b[w.i] == '\\' {
			w.i++
		}
	}
	w.i++
	return w.b[start:w.i]
}

// value takes a whole value, nested ones with all they hold.
func (w *walker) value() []byte {
	start := w.i
	switch w.b[w.i] {
	case '"':
		return w.stringToken()
	case '{', '[':
		w.nested()
	default:
		for !endsLiteral(w.b[w.i]) {
			w.i++
		}
	}
	return w.b[start:w.i]
}

func (w *walker) nested() {
	for depth := 0; ; {
		switch w.b[w.i] {
		case '"':
			w.stringToken()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		w.i++
		if depth == 0 {
			return
		}
	}
}

func endsLiteral(c byte) bool {
	return c == ',' || c == '}' || c == ' ' || c == '\t' || c == '\r'
}
