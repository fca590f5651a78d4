package workbook

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// windowBytes is how much a read of the workbook takes: each may be a request to a store.
	windowBytes = 256 << 10
	unpackBytes = 64 << 10
	// maxDirectory and maxEntries bound the directory of the archive.
	maxDirectory = 2 << 20
	maxEntries   = 10_000
)

// Sizes of PKWARE's APPNOTE, sections 4.3.14 to 4.3.16.
const (
	endBytes     = 22
	locatorBytes = 20
	end64Bytes   = 56
)

const saveAgain = "Open it in a spreadsheet program and save it again."

// An archive is the zip file that a workbook is. It reads one part at a time.
type archive struct {
	ctx    context.Context //nolint:containedctx // of the one Reader, which does not outlive it
	r      io.ReaderAt
	size   int64
	window []byte // the bytes from from on
	from   int64
	floor  int64 // what is before it is not read
	err    error // of r, or of the context
	packed int64 // bytes of parts that were taken for unpacking
	files  map[string]*zip.File
}

var errFloor = errors.New("the directory is before the end")

// ReadAt implements io.ReaderAt.
func (a *archive) ReadAt(p []byte, at int64) (int, error) {
	n := 0
	for n < len(p) {
		switch from := at + int64(n); {
		case from >= a.size:
			return n, io.EOF
		case from < a.floor:
			return n, errFloor
		case from < a.from || from >= a.from+int64(len(a.window)):
			if err := a.load(from, windowBytes); err != nil {
				return n, err
			}
		default:
			n += copy(p[n:], a.window[from-a.from:])
		}
	}
	return n, nil
}

// load moves the window.
func (a *archive) load(from, n int64) error {
	if a.ctx.Err() != nil {
		a.err = context.Cause(a.ctx)
		return a.err
	}
	n = min(n, a.size-from)
	if int64(cap(a.window)) < n {
		a.window = make([]byte, max(n, windowBytes))
	}
	a.window, a.from = a.window[:n], from
	got, err := a.r.ReadAt(a.window, from)
	if int64(got) == n {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // it is shorter than it was said to be
	}
	a.window = a.window[:0]
	a.err = fmt.Errorf("read the workbook: %w", err)
	return a.err
}

// fault is err, or what it comes from if that is no fault of the workbook.
func (a *archive) fault(err error) error {
	if a.err != nil {
		return a.err
	}
	return err
}

// directory reads what parts there are.
func (a *archive) directory() error {
	if err := a.load(max(0, a.size-windowBytes), windowBytes); err != nil {
		return err
	}
	size, err := a.tail()
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
	if bytes.Count(a.window, []byte("PK\x01\x02")) > maxEntries {
		return table.Refuse("This workbook has more than %d parts, the most that are read. Copy the cells into a new workbook.", maxEntries)
	}
	a.floor = a.from
	z, err := zip.NewReader(a, a.size)
	if a.floor = 0; err != nil {
		return a.fault(table.Refuse("The directory of this workbook is damaged. %s", saveAgain))
	}
	z.RegisterDecompressor(zip.Store, func(r io.Reader) io.ReadCloser { return io.NopCloser(&counter{r, &a.packed}) })
	z.RegisterDecompressor(zip.Deflate, func(r io.Reader) io.ReadCloser {
		return flate.NewReader(bufio.NewReaderSize(&counter{r, &a.packed}, unpackBytes))
	})
	return a.list(z.File)
}

// tail reads the size of the directory from its end.
func (a *archive) tail() (uint64, error) {
	if len(a.window) < endBytes {
		return 0, table.Refuse("This workbook is cut off. Upload it again.")
	}
	before, b := a.window[:len(a.window)-endBytes], a.window[len(a.window)-endBytes:]
	if string(b[:4]) != "PK\x05\x06" || string(b[20:]) != "\x00\x00" {
		return 0, table.Refuse("This workbook does not end with its directory: it is cut off, or other bytes follow. Upload it again, or open it in a spreadsheet program and save it again.")
	}
	size := uint64(binary.LittleEndian.Uint32(b[12:]))
	if n := len(before) - locatorBytes; n >= end64Bytes && string(before[n:][:4]) == "PK\x06\x07" {
		at := int64(binary.LittleEndian.Uint64(before[n+8:])) - a.from
		if at >= 0 && at <= int64(n-end64Bytes) && string(before[at:][:4]) == "PK\x06\x06" {
			size = max(binary.LittleEndian.Uint64(before[at+40:]), size&0x7FFFFFFF)
		}
	}
	return size, nil
}

// list refuses archives that programs may read in several ways, or not at all.
func (a *archive) list(files []*zip.File) error {
	a.files = make(map[string]*zip.File, len(files))
	for _, f := range files {
		name := strings.ToLower(f.Name) // as part names are compared (ECMA-376 part 2, 6.2.2.3)
		switch _, twice := a.files[name]; {
		case twice:
			return table.Refuse("This workbook has two parts of the same name, and programs differ in which one they read. %s", saveAgain)
		case f.Flags&1 != 0:
			return table.Refuse("This workbook is encrypted. Save it without a password.")
		case f.Method != zip.Store && f.Method != zip.Deflate:
			return table.Refuse("This workbook is packed by a method (%d) that cannot be read. %s", f.Method, saveAgain)
		}
		a.files[name] = f
	}
	return nil
}

func (a *archive) has(name string) bool { return a.files[strings.ToLower(name)] != nil }

// open opens a part, which has; most is how large it may be.
func (a *archive) open(name string, most int64) (*part, error) {
	f := a.files[strings.ToLower(name)]
	r, err := f.Open()
	if err != nil {
		return nil, a.fault(damaged())
	}
	return &part{a: a, r: r, most: most}, nil
}

func damaged() error {
	return table.Refuse("This workbook is damaged: a part of it cannot be unpacked, or its checksum is wrong. Upload it again, or open it in a spreadsheet program and save it again.")
}

// A part is the text of an entry. It ends within one read when the context does, and verifies the checksum.
type part struct {
	a       *archive
	r       io.ReadCloser
	n, most int64
}

// Read implements io.Reader.
func (p *part) Read(b []byte) (int, error) {
	if p.a.ctx.Err() != nil {
		return 0, context.Cause(p.a.ctx)
	}
	n, err := p.r.Read(b)
	if p.n += int64(n); p.n > p.most {
		return 0, table.Refuse("Unpacked, a part of this workbook has more than %d MiB, the most that is read. Split the sheet, or save it as CSV.", p.most>>20)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = p.a.fault(damaged())
	}
	return n, err
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n *int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	*c.n += int64(n)
	return n, err
}
