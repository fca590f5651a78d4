package format

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// An archive writes a zip file (PKWARE's APPNOTE.TXT) whose entries become known one after another. Sizes
// and checksums come behind each entry and in the directory at the end. All entries have the same time, the
// first that the format knows.
type archive struct {
	deflater
	// flushed is how many bytes have left out.
	flushed uint64
	entries []entry
}

type entry struct {
	name   string
	offset uint64
	packed uint64
	size   uint64
	sum    uint32
}

const (
	zipVersion = 20 // 2.0: deflate
	// zipFlags: sizes are behind the entry, names are UTF-8.
	zipFlags   = 1<<3 | 1<<11
	zipDeflate = 8
	zipDate    = 1<<5 | 1 // 1 January 1980
	// maxArchive is how long a zip file is without the extension zip64, which Excel does not ask for.
	maxArchive = math.MaxUint32
)

// begin begins an entry.
func (a *archive) begin(name string) {
	a.entries = append(a.entries, entry{name: name, offset: a.flushed + uint64(a.out.Len())})
	a.record(0x04034b50, zipVersion)
	a.common(&entry{name: name})
	a.short(0) // no extra field
	a.out.WriteString(name)
}

// add compresses more of the entry, as a block of its own.
func (a *archive) add(raw []byte) error {
	e := &a.entries[len(a.entries)-1]
	before := a.out.Len()
	if err := a.append(raw); err != nil {
		return err
	}
	e.packed += uint64(a.out.Len() - before)
	e.size += uint64(len(raw))
	e.sum = crc32.Update(e.sum, crc32.IEEETable, raw)
	return nil
}

// end ends the entry.
func (a *archive) end() {
	e := &a.entries[len(a.entries)-1]
	a.out.Write(deflateEnd)
	e.packed += uint64(len(deflateEnd))
	a.long(0x08074b50)
	a.sizes(e)
}

// whole writes an entry that is in memory.
func (a *archive) whole(name, content string) error {
	a.begin(name)
	if err := a.add([]byte(content)); err != nil {
		return err
	}
	a.end()
	return nil
}

// directory ends the file.
func (a *archive) directory() {
	begin := a.flushed + uint64(a.out.Len())
	for i := range a.entries {
		e := &a.entries[i]
		a.record(0x02014b50, zipVersion, zipVersion)
		a.common(e)
		for range 4 { // no extra field, no comment, the first disk, no attributes
			a.short(0)
		}
		a.long(0)
		a.long(uint32(e.offset))
		a.out.WriteString(e.name)
	}
	size := a.flushed + uint64(a.out.Len()) - begin
	n := uint16(len(a.entries))
	a.record(0x06054b50, 0, 0, n, n)
	a.long(uint32(size))
	a.long(uint32(begin))
	a.short(0) // no comment
}

// check returns an error once the file is too long for its directory.
func (a *archive) check() error {
	if a.flushed+uint64(a.out.Len()) > maxArchive {
		return fmt.Errorf("an XLSX file of more than 4 GiB, which Excel does not open: %w", ErrTooLarge)
	}
	return nil
}

// common is what the record before an entry and the one in the directory have in common.
func (a *archive) common(e *entry) {
	a.short(zipFlags)
	a.short(zipDeflate)
	a.short(0) // midnight
	a.short(zipDate)
	a.sizes(e)
	a.short(uint16(len(e.name)))
}

func (a *archive) sizes(e *entry) {
	a.long(e.sum)
	a.long(uint32(e.packed))
	a.long(uint32(e.size))
}

func (a *archive) record(signature uint32, fields ...uint16) {
	a.long(signature)
	for _, f := range fields {
		a.short(f)
	}
}

func (a *archive) short(v uint16) {
	a.out.Write(binary.LittleEndian.AppendUint16(a.out.AvailableBuffer(), v))
}

func (a *archive) long(v uint32) {
	a.out.Write(binary.LittleEndian.AppendUint32(a.out.AvailableBuffer(), v))
}

func (a *archive) save(e *encoder) {
	e.uvarint(a.flushed)
	e.uvarint(uint64(len(a.entries)))
	for _, one := range a.entries {
		e.uvarint(one.offset)
		e.uvarint(one.packed)
		e.uvarint(one.size)
		e.uvarint(uint64(one.sum))
	}
}

// restore leaves the names of the entries to the caller.
func (a *archive) restore(d *decoder, most uint64) {
	a.flushed = d.uvarint(maxArchive)
	a.entries = make([]entry, d.uvarint(most))
	for i := range a.entries {
		a.entries[i] = entry{
			offset: d.uvarint(maxArchive),
			packed: d.uvarint(maxArchive),
			size:   d.uvarint(maxArchive),
			sum:    uint32(d.uvarint(math.MaxUint32)),
		}
	}
}
