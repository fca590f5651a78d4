package workbook

import (
	"context"
	"errors"
	"io"
)

const (
	// maxSheetBytes and maxSharedXML bound the sheet's part and that of the shared texts, unpacked.
	maxSheetBytes = 16 << 30
	maxSharedXML  = 4 << 30
)

// A Reader is the first worksheet of a workbook as CSV. It is not safe for concurrent use.
type Reader struct {
	a      *archive
	texts  *shared
	layout *layout
	sheets int
	begun  bool
	out    []byte
	at     int // how much of out was read
	err    error
}

// Open finds the first worksheet of a workbook of size bytes and reads the texts that its cells share. r must
// serve reads until Close; it is read 256 KiB at a time, mostly one after the other. An error that lies in the
// workbook wraps table.ErrRefused; those of r and of the temporary files are wrapped and do not.
//
// noHeader says that the sheet has no names above its data: its first row with a value is data then, and no row is
// a title.
//
// Open and Read end within one read of r, or 64 KiB of unpacking, when ctx does, with its cause.
func Open(ctx context.Context, r io.ReaderAt, size int64, noHeader bool) (*Reader, error) {
	a := &archive{ctx: ctx, r: r, size: size}
	if err := a.directory(); err != nil {
		return nil, err
	}
	b, err := readBook(a)
	if err != nil {
		return nil, err
	}
	a.keep(b.sheet, b.shared, b.styles)
	t := &sheet{since1904: b.since1904}
	if b.styles != "" {
		s, err := a.scan(b.styles, maxPartBytes)
		if err != nil {
			return nil, err
		}
		if t.styles, err = readStyles(s); err != nil {
			return nil, err
		}
	}
	if b.shared != "" {
		s, err := a.scan(b.shared, maxSharedXML)
		if err != nil {
			return nil, err
		}
		if t.texts, err = readShared(s); err != nil {
			return nil, err
		}
	}
	if t.s, err = a.scan(b.sheet, maxSheetBytes); err != nil {
		return nil, errors.Join(err, t.texts.close())
	}
	return &Reader{a: a, texts: t.texts, layout: newLayout(t, noHeader), sheets: b.alike}, nil
}

// Sheets is how many worksheets people see in the workbook, the first of which is read; of a workbook whose sheets are all
// hidden it counts those.
func (r *Reader) Sheets() int { return r.sheets }

// Read implements io.Reader: the text is UTF-8 with commas, line feeds, and the quotes of RFC 4180. A sheet
// without a value has no text. io.EOF comes when the sheet's checksum was verified, and other errors stay.
func (r *Reader) Read(p []byte) (int, error) {
	for r.at == len(r.out) && r.err == nil {
		r.out, r.at = r.out[:0], 0
		if !r.begun {
			r.begun = true
			if r.err = r.begin(); r.err != nil {
				break
			}
		}
		r.out, r.err = r.layout.append(r.out)
	}
	n := copy(p, r.out[r.at:])
	if r.at += n; n > 0 || len(p) == 0 || r.err == nil {
		return n, nil
	}
	return 0, r.err
}

// begin reads up to the first row.
func (r *Reader) begin() error {
	if err := r.layout.sheet.s.root("worksheet"); err != nil {
		return err
	}
	return r.layout.look()
}

// Consumed is how much of the workbook's bytes was unpacked for the text that was read, and its size at the end:
// what of it needs no reading counts then.
func (r *Reader) Consumed() int64 {
	if errors.Is(r.err, io.EOF) && r.at == len(r.out) {
		return r.a.size
	}
	return min(r.a.packed, r.a.size)
}

// Close removes the temporary files.
func (r *Reader) Close() error { return r.texts.close() }
