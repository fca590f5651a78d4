package columnar

import (
	"encoding/binary"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// maxFixedBytes is the longest FIXED_LEN_BYTE_ARRAY.
const maxFixedBytes = 1 << 20

// A leaf is a column, and where it is read in the row group.
type leaf struct {
	physical       int32
	length         int // of a value of typeFixed
	maxDef, maxRep int
	write          writer

	src           source
	codec         int32
	entries       int64 // values and nulls that no page had yet
	inPage        int   // the same of the page
	begun         bool
	hasDictionary bool
	dictionary    dictionary
	dictRoom      []byte
	pageRoom      []byte
	valueRoom     []byte // of decoders that put values together
	reps, defs    hybrid
	values        decoder

	// rep and def are the levels of the present entry; ended: there is none.
	rep, def int
	ended    bool
	value    value
}

var (
	errLevels = damaged("the levels of its columns do not fit each other")
	errValues = damaged("a page has other values than it says")
)

func errEncoding(encoding int32) error {
	return table.Refuse("A column of this Parquet file has an encoding (%d) that cannot be read. Write it plain or with a dictionary.", encoding)
}

// begin goes to the start of the column in a row group.
func (l *leaf) begin(r *Reader, c *column, rows int64) error {
	from := c.data
	if c.dict > 0 && c.dict < from {
		from = c.dict
	}
	switch {
	case c.encrypted:
		return errEncrypted
	case c.elsewhere:
		return table.Refuse("The columns of this Parquet file are in other files. Write them into one file.")
	case c.hasNoDetails || c.physical != l.physical:
		return errFooter
	case c.values < rows || l.maxRep == 0 && c.values != rows:
		return damaged("a column has fewer values than its row group has rows, or more")
	case from < int64(len(magic)) || c.bytes < 0 || c.bytes > r.size-from:
		return damaged("a column is not within the file")
	}
	if err := checkCodec(c.codec); err != nil {
		return err
	}
	l.src.begin(r.r, from, c.bytes, r.ahead)
	l.codec, l.entries, l.inPage = c.codec, c.values, 0
	l.begun, l.hasDictionary, l.dictionary = false, false, dictionary{}
	l.dictRoom, l.pageRoom, l.valueRoom = nil, nil, nil
	l.letGo()
	l.ended = false
	// Chunks that overlap would make a small file endless.
	if r.chunks += c.bytes; r.chunks > r.size {
		return damaged("its columns have more bytes than the file")
	}
	return nil
}

// letGo forgets what refers to a page.
func (l *leaf) letGo() {
	l.value, l.values, l.reps, l.defs = value{}, nil, hybrid{}, hybrid{}
}

// decode begins with the values of a page, behind its levels.
func (r *Reader) decode(l *leaf, encoding int32, b []byte) error {
	w, ok := width(l.physical, l.length), true
	number := l.physical == typeInt32 || l.physical == typeInt64
	switch {
	case len(b) == 0: // a page of nulls, in any encoding
		l.values = &lengths{}
	case encoding == encodingPlain && l.physical == typeBoolean:
		l.values = &bitmap{b: b}
	case encoding == encodingPlain && l.physical == typeBytes:
		l.values = &lengths{b}
	case encoding == encodingPlain:
		l.values = &fixed{b, l.physical, w}
	case encoding == encodingDictionary || encoding == encodingPlainDictionary:
		if !l.hasDictionary {
			return damaged("a page refers to a dictionary that is not there")
		}
		l.values, ok = &indexed{hybrid{b: b[1:], width: uint(b[0])}, &l.dictionary}, b[0] <= 32
	case encoding == encodingRLE && l.physical == typeBoolean:
		ok = len(b) >= 4 && uint64(binary.LittleEndian.Uint32(b)) <= uint64(len(b)-4)
		if ok {
			l.values = &hybrid{b: b[4:][:binary.LittleEndian.Uint32(b)], width: 1}
		}
	case encoding == encodingDeltaPacked && number:
		var d delta
		d, ok = newDelta(b)
		d.narrow = l.physical == typeInt32
		l.values = &d
	case encoding == encodingDeltaLength && l.physical == typeBytes:
		l.values, ok = newDeltaLengths(b)
	case encoding == encodingDeltaBytes && (l.physical == typeBytes || l.physical == typeFixed):
		var d *deltaBytes
		if d, ok = newDeltaBytes(b, l.length); ok {
			// No value has more bytes than all suffixes.
			if err := r.grow(&l.valueRoom, min(maxRowBytes, len(d.suffixes.b))); err != nil {
				return err
			}
			d.last = l.valueRoom[:0]
			l.values = d
		}
	case encoding == encodingSplit && w > 0 && l.physical != typeInt96:
		if err := r.grow(&l.valueRoom, min(w, len(b))); err != nil {
			return err
		}
		l.values = &split{b: b, physical: l.physical, width: w, one: l.valueRoom[:0]}
	default:
		return errEncoding(encoding)
	}
	if !ok {
		return errValues
	}
	return nil
}

// load goes to the next entry.
func (r *Reader) load(l *leaf) error {
	if l.inPage == 0 {
		if l.entries == 0 {
			l.rep, l.def, l.ended = 0, 0, true
			return nil
		}
		if err := r.page(l); err != nil {
			return err
		}
	}
	if r.loads++; r.loads%loadsAlive == 0 {
		if err := r.alive(); err != nil {
			return err
		}
	}
	l.inPage--
	rep, ok1 := l.reps.one()
	def, ok2 := l.defs.one()
	if !ok1 || !ok2 || rep > uint64(l.maxRep) || def > uint64(l.maxDef) {
		return errLevels
	}
	l.rep, l.def = int(rep), int(def)
	if l.def == l.maxDef && !l.values.next(&l.value) {
		return errValues
	}
	return nil
}
