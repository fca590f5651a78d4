package workbook

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"github.com/klauspost/compress/flate"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// maxDirectory, maxEntries and maxNames, the bytes of all names, bound the directory of the archive.
	maxDirectory = 2 << 20
	maxEntries   = 10_000
	maxNames     = 512 << 10
)

// Sizes of PKWARE's APPNOTE, sections 4.3.14 to 4.3.16.
const (
	endBytes     = 22
	locatorBytes = 20
	end64Bytes   = 56
)

var errFloor = errors.New("the directory is before the end")

// directory reads what parts there are.
func (a *archive) directory() error {
	if err := a.load(max(0, a.size-windowBytes), windowBytes); err != nil {
		return err
	}
	size, count, err := a.tail()
	if err != nil {
		return err
	}
	if size > maxDirectory {
		return table.Refuse("The directory of this workbook has more than %d MiB, the most that is read. Copy the cells into a new workbook.", maxDirectory>>20)
	}
	if whole := int64(size) + endBytes + locatorBytes + end64Bytes; whole > windowBytes {
		if err := a.load(max(0, a.size-whole), whole); err != nil {
			return err
		}
	}
	if count > maxEntries || bytes.Count(a.window, []byte("PK\x01\x02")) > maxEntries {
		return table.Refuse("This workbook has more than %d parts, the most that are read. Copy the cells into a new workbook.", maxEntries)
	}
	a.floor = a.from
	z, err := zip.NewReader(a, a.size)
	if a.floor = 0; cap(a.window) > windowBytes {
		a.window = nil
	}
	if err != nil {
		return a.fault(badDirectory())
	}
	z.RegisterDecompressor(zip.Store, func(r io.Reader) io.ReadCloser { return io.NopCloser(&counter{r, &a.packed}) })
	z.RegisterDecompressor(zip.Deflate, func(r io.Reader) io.ReadCloser {
		return flate.NewReader(bufio.NewReaderSize(&counter{r, &a.packed}, unpackBytes))
	})
	files := z.File
	z.File = nil // each file has z
	return a.list(files)
}

func badDirectory() error {
	return table.Refuse("The directory of this workbook is damaged. %s", saveAgain)
}

// tail reads the size of the directory from its end, and how many entries there should be: what package zip makes
// room for.
func (a *archive) tail() (size, count uint64, err error) {
	if len(a.window) < endBytes {
		return 0, 0, table.Refuse("This workbook is cut off. Upload it again.")
	}
	before, b := a.window[:len(a.window)-endBytes], a.window[len(a.window)-endBytes:]
	if string(b[:4]) != "PK\x05\x06" || string(b[20:]) != "\x00\x00" {
		return 0, 0, table.Refuse("This workbook does not end with its directory: it is cut off, or other bytes follow. Upload it again, or open it in a spreadsheet program and save it again.")
	}
	size, count = uint64(binary.LittleEndian.Uint32(b[12:])), uint64(binary.LittleEndian.Uint16(b[10:]))
	n := len(before) - locatorBytes
	if n < 0 || string(before[n:][:4]) != "PK\x06\x07" {
		return size, count, nil
	}
	at := int64(binary.LittleEndian.Uint64(before[n+8:])) - a.from
	if at < 0 || at > int64(n-end64Bytes) || string(before[at:][:4]) != "PK\x06\x06" {
		return 0, 0, badDirectory() // package zip may find it, elsewhere
	}
	// Package zip takes either: the larger counts, but for what says that the other has it.
	if size == math.MaxUint32 {
		size = 0
	}
	if count == math.MaxUint16 {
		count = 0
	}
	return max(size, binary.LittleEndian.Uint64(before[at+40:])), max(count, binary.LittleEndian.Uint64(before[at+32:])), nil
}
