package columnar

import "encoding/binary"

// maxThriftDepth is how deep structures and lists are within one another; the format has seven levels.
const maxThriftDepth = 16

// Types of Thrift's compact protocol, as fields have them: thrift-compact-protocol.md of Apache Thrift.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
	thriftUUID   = 13
)

// compact reads Thrift's compact protocol from memory and allocates nothing. Once something is damaged or cut
// off, bad is set and all that is read from then on is zero.
type compact struct {
	b     []byte
	at    int
	depth int
	bad   bool
}

func (c *compact) byte() byte {
	if c.bad || c.at >= len(c.b) {
		c.bad = true
		return 0
	}
	c.at++
	return c.b[c.at-1]
}

func (c *compact) uvarint() uint64 {
	v, n := binary.Uvarint(c.b[c.at:])
	if c.bad || n <= 0 {
		c.bad = true
		return 0
	}
	c.at += n
	return v
}

func (c *compact) take(n uint64) []byte {
	if c.bad || n > uint64(len(c.b)-c.at) {
		c.bad = true
		return nil
	}
	c.at += int(n)
	return c.b[c.at-int(n) : c.at]
}

// fields calls do for each field of a structure, which reads or skips its value.
func (c *compact) fields(do func(id int16, kind byte)) {
	if c.depth++; c.depth > maxThriftDepth {
		c.bad = true
	}
	for id := int16(0); !c.bad; {
		head := c.byte()
		if head&15 == 0 {
			break
		}
		if delta := head >> 4; delta != 0 {
			id += int16(delta)
		} else {
			id = int16(unzigzag(c.uvarint()))
		}
		do(id, head&15)
	}
	c.depth--
}

// structure reads a field that is a structure.
func (c *compact) structure(kind byte, do func(id int16, kind byte)) {
	if kind != thriftStruct {
		c.bad = true
		return
	}
	c.fields(do)
}

// list reads how many items a field that is a list has: never more than bytes follow.
func (c *compact) list(kind byte) (n int, item byte) {
	if kind != thriftList && kind != thriftSet {
		c.bad = true
	}
	head := c.byte()
	size := uint64(head >> 4)
	if size == 15 {
		size = c.uvarint()
	}
	if c.bad || size > uint64(len(c.b)-c.at) {
		c.bad = true
		return 0, 0
	}
	return int(size), head & 15
}

func (c *compact) int(kind byte) int64 {
	switch kind {
	case thriftByte:
		return int64(int8(c.byte()))
	case thriftI16, thriftI32, thriftI64:
		return unzigzag(c.uvarint())
	}
	c.bad = true
	return 0
}

// int32 reads a number, of which the format says that it has 32 bits.
func (c *compact) int32(kind byte) int32 {
	v := c.int(kind)
	if int64(int32(v)) != v {
		c.bad = true
	}
	return int32(v)
}

func (c *compact) bool(kind byte) bool {
	if kind != thriftTrue && kind != thriftFalse {
		c.bad = true
	}
	return kind == thriftTrue
}

func (c *compact) binary(kind byte) []byte {
	if kind != thriftBinary {
		c.bad = true
	}
	return c.take(c.uvarint())
}

// skip passes over the value of a field.
func (c *compact) skip(kind byte) {
	switch kind {
	case thriftTrue, thriftFalse:
	case thriftByte:
		c.byte()
	case thriftI16, thriftI32, thriftI64:
		c.uvarint()
	case thriftDouble:
		c.take(8)
	case thriftBinary:
		c.take(c.uvarint())
	case thriftUUID:
		c.take(16)
	case thriftStruct:
		c.fields(func(_ int16, kind byte) { c.skip(kind) })
	case thriftList, thriftSet:
		n, item := c.list(kind)
		c.items(n, item, 0)
	case thriftMap:
		n := c.uvarint()
		if n == 0 || c.bad {
			return
		}
		kinds := c.byte()
		if n > uint64(len(c.b)-c.at) {
			c.bad = true
			return
		}
		c.items(int(n), kinds>>4, kinds&15)
	default:
		c.bad = true
	}
}

// items skips n items, or n entries of a map where value is a type.
func (c *compact) items(n int, key, value byte) {
	if c.depth++; c.depth > maxThriftDepth {
		c.bad = true
	}
	for i := 0; i < n && !c.bad; i++ {
		c.item(key)
		if value != 0 {
			c.item(value)
		}
	}
	c.depth--
}

// item skips one item. A truth value is a byte here, and part of the head in a field.
func (c *compact) item(kind byte) {
	if kind == thriftTrue || kind == thriftFalse {
		kind = thriftByte
	}
	c.skip(kind)
}

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
