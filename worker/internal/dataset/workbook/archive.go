package workbook

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// windowBytes is how much a read of the workbook takes: each may be a request to a store.
	windowBytes = 256 << 10
	unpackBytes = 64 << 10
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

// list refuses archives that programs may read in several ways, or not at all.
func (a *archive) list(files []*zip.File) error {
	a.files = make(map[string]*zip.File, len(files))
	names := 0
	for _, f := range files {
		name := strings.ToLower(f.Name) // as part names are compared (ECMA-376 part 2, 6.2.2.3)
		names += len(name)
		switch _, twice := a.files[name]; {
		case names > maxNames:
			return table.Refuse("The names of this workbook's parts have more than %d KiB together, the most that is read. Copy the cells into a new workbook.", maxNames>>10)
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

// keep forgets all parts but some.
func (a *archive) keep(names ...string) {
	files := make(map[string]*zip.File, len(names))
	for _, name := range names {
		name = strings.ToLower(name)
		files[name] = a.files[name]
	}
	a.files = files
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
