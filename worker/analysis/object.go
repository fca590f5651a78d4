package analysis

import (
	"bytes"

	"github.com/cespare/xxhash/v2"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// objects takes lines of NDJSON. Keys become columns in the order in which they
// first appear; of a key that a line has twice, the first counts.
type objects struct {
	index   map[string]int // raw key, as spelled in the file, to column
	scratch []byte
}

// valueSeed keeps the string "5" and the number 5 apart.
const valueSeed = 0x9e3779b97f4a7c15

// add takes one line; false if it is no JSON object.
func (o *objects) add(st *State, line []byte) (bool, error) {
	w, ok := table.NewWalk(line)
	if !ok {
		return false, nil
	}
	st.rows++
	row := uint64(0)
	for position := 0; ; position++ {
		key, value, ok := w.Member()
		if !ok {
			st.endRow(row)
			return true, nil
		}
		c, err := o.column(st, key, position)
		if err != nil {
			return false, err
		}
		if c.row != st.rows {
			c.row = st.rows
			if hash := o.addValue(c, value); hash != 0 {
				row += rowHash(c.at, hash)
			}
		}
	}
}

// column finds the column of a raw key, or makes it. Lines mostly repeat the
// order of the first, so the key's position is tried before the map.
func (o *objects) column(st *State, raw []byte, position int) (*column, error) {
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
		return nil, table.Refuse("The objects up to line %d have more than %d different keys, the most that are read. "+
			"Keep fewer, or nest those that are data.", st.records, MaxColumns)
	}
	if st.nameBytes()+len(name) > maxNameBytes {
		return nil, table.Refuse("The keys of the objects up to line %d take more than %d bytes together, the most that are read. Shorten them.",
			st.records, maxNameBytes)
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

// addValue returns the value's hash; 0 of null.
func (o *objects) addValue(c *column, token []byte) uint64 {
	switch token[0] {
	case '{':
		c.counts[table.Object]++
		return xxhash.Sum64(token)
	case '[':
		c.counts[table.Array]++
		return xxhash.Sum64(token)
	case '"':
		text := token[1 : len(token)-1]
		if bytes.IndexByte(text, '\\') >= 0 {
			text = o.unescape(text)
		}
		hash := xxhash.Sum64(text) ^ valueSeed
		if it := c.frequent.hit(hash); it != nil {
			c.repeat(it, text)
			return hash
		}
		c.add(hash, table.OfString(text), text)
		return hash
	case 'n':
		return 0
	default:
		hash := xxhash.Sum64(token)
		if it := c.frequent.hit(hash); it != nil {
			c.repeat(it, token)
			return hash
		}
		c.add(hash, table.OfLiteral(token), token)
		return hash
	}
}

// unescape undoes JSON escapes into scratch, valid until the next call.
func (o *objects) unescape(s []byte) []byte {
	o.scratch = table.Unescape(o.scratch[:0], s)
	return o.scratch
}
