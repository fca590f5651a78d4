package columnar

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// maxPageBytes bounds a page, compressed and not.
	maxPageBytes = 128 << 20
	// maxHeaderBytes bounds what a page says of itself, the least and the greatest of its values as well.
	maxHeaderBytes = 1 << 20
	// headerBytes is how much is looked at first.
	headerBytes = 4 << 10
)

// PageType of parquet.thrift.
const (
	pageData       = 0
	pageIndex      = 1
	pageDictionary = 2
	pageDataV2     = 3
)

// A header is PageHeader with what is in it.
type header struct {
	bytes              int // of the header itself
	kind               int32
	unpacked, packed   int32
	crc                int32
	hasCRC, notPacked  bool
	values, encoding   int32
	repBytes, defBytes int32
	repLevels          int32 // their encoding
	defLevels          int32
	has                int16 // the last of the headers within
}

// parseHeader reads a page's header; false: it is damaged or longer than b.
func parseHeader(b []byte) (h header, ok bool) {
	c := compact{b: b}
	h.repLevels, h.defLevels = encodingRLE, encodingRLE
	c.fields(func(id int16, kind byte) {
		switch id {
		case 1:
			h.kind = c.int32(kind)
		case 2:
			h.unpacked = c.int32(kind)
		case 3:
			h.packed = c.int32(kind)
		case 4:
			h.crc, h.hasCRC = c.int32(kind), true
		case 5, 7, 8:
			h.has = id
			c.structure(kind, func(in int16, kind byte) { h.field(&c, id, in, kind) })
		default:
			c.skip(kind)
		}
	})
	h.bytes = c.at
	return h, !c.bad
}

// field reads a field of DataPageHeader (5), DictionaryPageHeader (7) or DataPageHeaderV2 (8).
func (h *header) field(c *compact, in, id int16, kind byte) {
	switch {
	case id == 1:
		h.values = c.int32(kind)
	case in != 8 && id == 2, in == 8 && id == 4:
		h.encoding = c.int32(kind)
	case in == 5 && id == 3:
		h.defLevels = c.int32(kind)
	case in == 5 && id == 4:
		h.repLevels = c.int32(kind)
	case in == 8 && id == 5:
		h.defBytes = c.int32(kind)
	case in == 8 && id == 6:
		h.repBytes = c.int32(kind)
	case in == 8 && id == 7:
		h.notPacked = !c.bool(kind)
	default:
		c.skip(kind)
	}
}

// of is the field that a page of the kind has to have.
func (h *header) of() int16 {
	switch h.kind {
	case pageData:
		return 5
	case pageDictionary:
		return 7
	case pageDataV2:
		return 8
	}
	return h.has
}

// check refuses what no page is, before memory is made for it.
func (h *header) check(rest, entries int64) error {
	switch {
	case h.packed < 0 || h.unpacked < 0 || h.values < 0 || h.repBytes < 0 || h.defBytes < 0 || h.has != h.of():
		return damaged("the header of a page is wrong")
	case h.packed > maxPageBytes || h.unpacked > maxPageBytes:
		return table.Refuse("A page of this Parquet file has more than %d MiB. Write smaller pages or row groups.", maxPageBytes>>20)
	case int64(h.packed) > rest:
		return damaged("a page goes on behind the end of its column")
	case (h.kind == pageData || h.kind == pageDataV2) && int64(h.values) > entries:
		return damaged("a column has more values than it says")
	}
	return nil
}

// header reads the next page's.
func (l *leaf) header() (h header, err error) {
	for n := headerBytes; ; n *= 4 {
		b, err := l.src.peek(n)
		if err != nil {
			return h, err
		}
		h, ok := parseHeader(b[:min(len(b), maxHeaderBytes)])
		switch {
		case ok:
			l.src.skip(h.bytes)
			l.src.shrink()
			return h, h.check(l.src.rest(), l.entries)
		case len(b) < n || n >= maxHeaderBytes:
			return h, damaged("the header of a page cannot be read")
		}
	}
}

// page reads pages until one has values.
func (r *Reader) page(l *leaf) error {
	for l.inPage == 0 {
		if l.src.rest() == 0 {
			return damaged("a column has fewer values than it says")
		}
		h, err := l.header()
		if err != nil {
			return err
		}
		r.took(int64(h.bytes) + int64(h.packed))
		switch h.kind {
		case pageDictionary:
			if l.hasDictionary || l.begun {
				return damaged("a column has two dictionaries, or one behind its values")
			}
			l.hasDictionary = true
			if err := r.body(l, &h, &l.dictRoom, 0); err != nil {
				return err
			}
			switch {
			case h.encoding != encodingPlain && h.encoding != encodingPlainDictionary:
				return errEncoding(h.encoding)
			case l.physical == typeBytes:
				// A value has four bytes or more, so that this is at most as much as the page.
				if err := r.hold(4 * (1 + min(int(h.values), len(l.dictRoom)/4))); err != nil {
					return err
				}
			}
			if !l.dictionary.read(l.dictRoom, l.physical, l.length, int(h.values)) {
				return damaged("a dictionary has fewer values than it says")
			}
		case pageData, pageDataV2:
			l.begun = true
			levels := int(h.repBytes) + int(h.defBytes) // of the second version, which does not compress them
			if h.kind == pageData {
				levels = 0
			}
			if levels > int(min(h.packed, h.unpacked)) {
				return damaged("the levels of a page go on behind its end")
			}
			l.letGo()
			if err := r.body(l, &h, &l.pageRoom, levels); err != nil {
				return err
			}
			if err := r.openPage(l, &h, l.pageRoom); err != nil {
				return err
			}
		default: // an index, or what a later version of the format has
			l.src.skip(int(h.packed))
		}
		if err := r.alive(); err != nil {
			return err
		}
	}
	return nil
}

// body reads a page into room, which grows, and decompresses what is behind its levels.
func (r *Reader) body(l *leaf, h *header, room *[]byte, levels int) error {
	codec := l.codec
	if h.notPacked {
		codec = codecNone
	}
	if codec == codecNone && h.packed != h.unpacked {
		return errUnpack
	}
	if err := r.grow(room, int(h.unpacked)); err != nil {
		return err
	}
	packed := *room
	if codec != codecNone {
		if err := r.grow(&r.packed, int(h.packed)); err != nil {
			return err
		}
		packed = r.packed
	}
	if err := l.src.read(packed); err != nil {
		return err
	}
	if h.hasCRC && crc32.ChecksumIEEE(packed) != uint32(h.crc) {
		return damaged("the checksum of a page is wrong")
	}
	if codec == codecNone {
		return nil
	}
	copy(*room, packed[:levels])
	dst := (*room)[levels:]
	beside := besides(codec, len(dst))
	if err := r.hold(beside); err != nil {
		return err
	}
	r.held -= int64(beside)
	return r.unpack.unpack(codec, dst, packed[levels:])
}

// grow makes room have n bytes. It lets go of what room was before it makes more, so that nothing else may refer
// to that.
func (r *Reader) grow(room *[]byte, n int) error {
	if had := cap(*room); n > had {
		*room = nil
		if err := r.hold(n - had); err != nil {
			return err
		}
		*room = make([]byte, n)
	}
	*room = (*room)[:n]
	return nil
}

// openPage begins with the values of a page.
func (r *Reader) openPage(l *leaf, h *header, b []byte) error {
	var reps, defs []byte
	if h.kind == pageDataV2 {
		reps, b = b[:h.repBytes], b[h.repBytes:]
		defs, b = b[:h.defBytes], b[h.defBytes:]
	} else {
		var ok1, ok2 bool
		reps, b, ok1 = levelsOf(b, l.maxRep, h.repLevels)
		defs, b, ok2 = levelsOf(b, l.maxDef, h.defLevels)
		if !ok1 || !ok2 {
			return damaged("the levels of a page cannot be read")
		}
	}
	l.reps = hybrid{b: reps, width: bitsFor(l.maxRep)}
	l.defs = hybrid{b: defs, width: bitsFor(l.maxDef)}
	l.inPage = int(h.values)
	l.entries -= int64(h.values)
	return r.decode(l, h.encoding, b)
}

// levelsOf cuts the levels from a page of the first version, where their length is before them.
func levelsOf(b []byte, most int, encoding int32) (levels, rest []byte, ok bool) {
	if most == 0 {
		return nil, b, true
	}
	if encoding != encodingRLE || len(b) < 4 {
		return nil, nil, false
	}
	n := binary.LittleEndian.Uint32(b)
	if b = b[4:]; uint64(n) > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}
