package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

const (
	chunkBytes = 256 << 10 // what one read asks for
	headBytes  = 64 << 10  // what the dialect is decided from
)

// input is a window on a file's text that slides forward record by record. It grows to the
// longest record, at most limit and one chunk.
type input struct {
	ctx      context.Context //nolint:containedctx // of the one reader; input does not outlive it
	src      io.Reader
	encoding Encoding
	returns  bool // CR ends a line

	buf     []byte // text: UTF-8, unless damaged
	start   int    // first byte that no record has taken
	end     int    // end of what was read
	at      int64  // byte offset of buf[start] in the file
	suspect int    // text before it may be damaged
	limit   int    // longest record
	eof     bool
	mark    bool // the file begins with a byte-order mark

	raw    []byte // what was read and not yet decoded
	source int64  // byte offset of what the next read returns
}

func newInput(ctx context.Context, src io.Reader, encoding Encoding, offset int64, limit int) *input {
	return &input{
		ctx: ctx, src: src, encoding: encoding, at: offset, source: offset, limit: limit,
		buf: make([]byte, min(chunkBytes, limit+chunkBytes)),
	}
}

func (in *input) window() []byte { return in.buf[in.start:in.end] }

// take moves the window past n bytes of text.
func (in *input) take(n int) {
	if in.encoding.transcoded() {
		in.at += int64(in.encoding.sourceBytes(in.buf[in.start : in.start+n]))
	} else {
		in.at += int64(n)
	}
	in.start += n
	if in.eof && in.start == in.end {
		in.at = in.source // half a unit of UTF-16 counts as half a unit
	}
}

// open reads what a file begins with, refuses what is no text, and takes the byte-order mark.
func (in *input) open(name string) error {
	for !in.eof && in.end < headBytes {
		if err := in.read(); err != nil {
			return err
		}
	}
	head := in.window()
	if err := Look(name, head); err != nil {
		return err
	}
	in.encoding = startEncoding(head)
	if in.encoding.transcoded() {
		in.transcode(0)
	}
	if err := in.examine(0); err != nil {
		return err
	}
	if in.mark = bytes.HasPrefix(in.window(), markUTF8); in.mark {
		in.take(len(markUTF8))
	}
	return nil
}

// head is the start of the window, from which the dialect is decided.
func (in *input) head() []byte { return in.buf[in.start:min(in.end, in.start+headBytes)] }

// whole reports whether head is all there is.
func (in *input) whole() bool { return in.eof && in.end-in.start <= headBytes }

// more reads at least one byte more into the window, or finds the end.
func (in *input) more() error {
	if in.start > 0 {
		copy(in.buf, in.buf[in.start:in.end])
		in.end -= in.start
		in.suspect -= in.start
		in.start = 0
	}
	fresh := in.end
	for in.end == fresh && !in.eof {
		if err := in.read(); err != nil {
			return err
		}
		if in.encoding.transcoded() {
			in.decode()
		}
	}
	return in.examine(fresh)
}

// read reads at least a byte: into the window, or into raw, which decode takes.
func (in *input) read() error {
	into := in.room()
	for range 100 {
		n, err := in.src.Read(into)
		in.source += int64(n)
		if in.encoding.transcoded() {
			in.raw = in.raw[:len(in.raw)+n]
		} else {
			in.end += n
		}
		switch {
		case err == io.EOF:
			in.eof = true
			return nil
		case err != nil:
			if in.ctx.Err() != nil {
				return context.Cause(in.ctx)
			}
			if errors.Is(err, ErrRefused) {
				return err // src has read the file as far as that
			}
			return fmt.Errorf("read at byte offset %d: %w", in.source, err)
		case n > 0:
			return nil
		}
	}
	return fmt.Errorf("read at byte offset %d: %w", in.source, io.ErrNoProgress)
}

// room is where the next read goes.
func (in *input) room() []byte {
	if !in.encoding.transcoded() {
		if in.end == len(in.buf) {
			in.grow(2 * len(in.buf))
		}
		return in.buf[in.end:]
	}
	if cap(in.raw) == 0 {
		in.raw = make([]byte, 0, chunkBytes/4)
	}
	return in.raw[len(in.raw):cap(in.raw)]
}

func (in *input) grow(size int) {
	grown := make([]byte, size)
	copy(grown, in.buf[:in.end])
	in.buf = grown
}

// decode moves what raw holds into the window.
func (in *input) decode() {
	if most := in.end + utf8.UTFMax*len(in.raw); most > len(in.buf) {
		in.grow(max(most, 2*len(in.buf)))
	}
	text, n := in.encoding.decode(in.buf[:in.end], in.raw, in.eof)
	in.end = len(text)
	in.raw = in.raw[:copy(in.raw, in.raw[n:])]
}

// transcode decodes what the window holds from index i on, which was read as it is.
func (in *input) transcode(i int) {
	raw := bytes.Clone(in.buf[i:in.end])
	in.end = i
	if most := i + utf8.UTFMax*len(raw); most > len(in.buf) {
		in.grow(most)
	}
	text, n := in.encoding.decode(in.buf[:i], raw, in.eof)
	in.end = len(text)
	in.raw = append(make([]byte, 0, chunkBytes/4), raw[n:]...)
}

// examine looks at text that has come, from index fresh on: it decides the encoding at the first
// byte that is not ASCII, refuses NUL, and brings line endings into their usual form.
func (in *input) examine(fresh int) error {
	if in.encoding == ASCII {
		if i := firstHigh(in.buf[fresh:in.end]); i >= 0 {
			if err := in.decide(fresh + i); err != nil {
				return err
			}
		}
	}
	text := in.buf[fresh:in.end]
	if i := bytes.IndexByte(text, 0); i >= 0 {
		at := in.at + int64(in.encoding.sourceBytes(in.buf[in.start:fresh+i]))
		return zeroByte(at)
	}
	if in.encoding != ASCII && damaged(text) {
		in.suspect = in.end
	}
	if in.returns {
		feed(text)
	}
	return nil
}

// decide settles the encoding by the text from index i of the window on, as much as the head has.
func (in *input) decide(i int) error {
	for !in.eof && in.end-i < headBytes {
		if err := in.read(); err != nil {
			return err
		}
	}
	encoding, known := laterEncoding(in.buf[i:min(in.end, i+headBytes)])
	if !known {
		return Refuse("From byte offset %d on this is no text in UTF-8, UTF-16 or Windows-1252. If it is text, save it as UTF-8, and take that.",
			in.at+int64(i-in.start))
	}
	if in.encoding = encoding; encoding.transcoded() {
		in.transcode(i)
	}
	return nil
}

// feed makes line feeds of carriage returns.
func feed(text []byte) {
	for i := bytes.IndexByte(text, '\r'); i >= 0; {
		text[i] = '\n'
		next := bytes.IndexByte(text[i+1:], '\r')
		if next < 0 {
			return
		}
		i += 1 + next
	}
}

// damagedRecord reports whether the next n bytes of the window are damaged.
func (in *input) damagedRecord(n int) bool {
	return in.start < in.suspect && damaged(in.buf[in.start:in.start+n])
}
