package packed

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"unicode"

	"github.com/klauspost/compress/flate"
	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// tailBytes is how much of an archive's end is looked at: the directory of one file fits.
const tailBytes = 128 << 10

// Sizes and signatures of PKWARE's APPNOTE, sections 4.3.7 to 4.3.16.
const (
	localBytes   = 30
	endBytes     = 22
	locatorBytes = 20
	end64Bytes   = 56
	// maxDescriptorBytes is the longest descriptor behind a file.
	maxDescriptorBytes = 24
)

const (
	packAlone = "Upload the file in it without packing, or pack it alone and again"
	oneFile   = "Pack one file alone, or upload the files one by one"
)

// An entry is the one file of an archive.
type entry struct {
	*zip.File
	tail int64 // the most that follows its data
}

// A tail is the end of an archive; what is before it reads as an error.
type tail struct {
	bytes []byte
	from  int64
}

var errBeforeTail = errors.New("the directory is before the tail")

func (t tail) ReadAt(p []byte, at int64) (int, error) {
	if at < t.from {
		return 0, errBeforeTail
	}
	n := copy(p, t.bytes[min(at-t.from, int64(len(t.bytes))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// lookUp reads an archive's directory and refuses what is not one plain file.
func lookUp(ctx context.Context, bucket *blob.Bucket, key string, size int64) (*entry, error) {
	t := tail{from: max(0, size-tailBytes)}
	r, err := openRaw(ctx, bucket, key, t.from, size, nil)
	if err != nil {
		return nil, err
	}
	t.bytes, err = io.ReadAll(io.LimitReader(r, tailBytes))
	if err := errors.Join(err, r.close()); err != nil {
		return nil, fmt.Errorf("read the directory of the archive: %w", err)
	}
	files, err := t.files()
	if err != nil {
		return nil, err
	}
	if files != 1 {
		return nil, table.Refuse("This zip archive has %d files in it, and folders count. %s.", files, oneFile)
	}
	z, err := zip.NewReader(t, size)
	if err != nil || len(z.File) != 1 {
		return nil, table.Refuse("The directory of this zip archive is damaged. Pack the file again, and upload it again.")
	}
	e := &entry{File: z.File[0], tail: tailBytes}
	return e, e.check()
}

// files reads how many files the end of the directory counts.
func (t tail) files() (uint64, error) {
	b := t.bytes
	if len(b) < endBytes {
		return 0, table.Refuse("This zip archive is cut off. Upload it again.")
	}
	end := b[len(b)-endBytes:]
	if string(end[:4]) != "PK\x05\x06" || string(end[20:22]) != "\x00\x00" {
		return 0, table.Refuse("This zip archive does not end with its directory: it is cut off, or a comment or other bytes follow. %s.", packAlone)
	}
	n := uint64(binary.LittleEndian.Uint16(end[10:]))
	if n != 0xFFFF {
		return n, nil
	}
	before := b[:len(b)-endBytes]
	if len(before) < locatorBytes+end64Bytes || string(before[len(before)-locatorBytes:][:4]) != "PK\x06\x07" {
		return n, nil
	}
	at := int64(binary.LittleEndian.Uint64(before[len(before)-locatorBytes+8:])) - t.from
	if at < 0 || at > int64(len(before)-end64Bytes) || string(before[at:][:4]) != "PK\x06\x06" {
		return n, nil
	}
	return binary.LittleEndian.Uint64(before[at+32:]), nil
}

// check refuses files that are no plain ones.
func (e *entry) check() error {
	switch {
	case strings.HasSuffix(e.Name, "/"), e.Mode().IsDir():
		return table.Refuse("This zip archive has a folder in it and no file. %s.", oneFile)
	case !e.Mode().IsRegular():
		return table.Refuse("What is in this zip archive is a link or a device, and no file. %s.", packAlone)
	case !plain(e.Name):
		return table.Refuse("The file in this zip archive has a name that leads out of a folder, or that no folder takes. %s.", packAlone)
	case e.Flags&1 != 0:
		return table.Refuse("The file in this zip archive is encrypted. Pack it without a password.")
	case e.Method != zip.Store && e.Method != zip.Deflate:
		return table.Refuse("The file in this zip archive is packed by a method (%d) that cannot be read. Pack it with deflate, which is what most programs do.", e.Method)
	}
	return nil
}

// plain: a name that stays within the folder it is unpacked into, everywhere.
func plain(name string) bool {
	if name == "" || len(name) > 1<<10 || strings.ContainsFunc(name, unicode.IsControl) || strings.ContainsAny(name, `\:`) || strings.HasPrefix(name, "/") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return false
		}
	}
	return true
}

// open reads the file's header, which begins r, and returns its text, and what verifies the rest of r
// once that was read.
func (e *entry) open(r io.Reader) (io.Reader, func() error, error) {
	buffered := bufio.NewReaderSize(r, chunkBytes)
	if err := e.header(buffered); err != nil {
		return nil, nil, err
	}
	data := &io.LimitedReader{R: buffered, N: int64(min(e.CompressedSize64, 1<<62))}
	ahead := bufio.NewReader(data)
	text := &sum{r: ahead, hash: crc32.NewIEEE()}
	if e.Method == zip.Deflate {
		text.r = flate.NewReader(ahead) // which does not read past the end of what it decodes
	}
	return text, func() error {
		switch {
		case text.n != e.UncompressedSize64:
			return table.Refuse("The file in this zip archive has %d bytes where its directory says %d. %s.", text.n, e.UncompressedSize64, packAlone)
		case data.N > 0, ahead.Buffered() > 0, text.hash.Sum32() != e.CRC32:
			return table.Refuse("The file in this zip archive is damaged: its size or checksum is wrong. Pack it again, and upload it again.")
		}
		return e.rest(buffered)
	}, nil
}

// header reads the header before the file's data.
func (e *entry) header(r io.Reader) error {
	fixed := make([]byte, localBytes)
	if _, err := io.ReadFull(r, fixed); err != nil {
		return err
	}
	if string(fixed[:4]) != "PK\x03\x04" {
		return table.Refuse("The file in this zip archive is not where the archive begins. %s.", packAlone)
	}
	le := binary.LittleEndian
	rest := make([]byte, int(le.Uint16(fixed[26:]))+int(le.Uint16(fixed[28:])))
	if _, err := io.ReadFull(r, rest); err != nil {
		return err
	}
	name := string(rest[:le.Uint16(fixed[26:])])
	const descriptor = 8
	packed, unpacked := le.Uint32(fixed[18:]), le.Uint32(fixed[22:])
	sizes := uint64(packed) == e.CompressedSize64 && uint64(unpacked) == e.UncompressedSize64
	if le.Uint16(fixed[6:])&descriptor != 0 || packed == 1<<32-1 || unpacked == 1<<32-1 {
		sizes = true // they are elsewhere, and what is read is compared with the directory
	}
	if name != e.Name || le.Uint16(fixed[8:]) != e.Method || le.Uint16(fixed[6:])&1 != 0 || !sizes {
		return table.Refuse("The directory of this zip archive and the header of the file in it disagree. %s.", packAlone)
	}
	return nil
}

// rest verifies that the directory follows the file's data.
func (e *entry) rest(r io.Reader) error {
	rest, err := io.ReadAll(io.LimitReader(r, e.tail+1))
	if err != nil {
		return err
	}
	i := bytes.Index(rest, []byte("PK\x01\x02"))
	if i < 0 || i > maxDescriptorBytes || int64(len(rest)) > e.tail {
		return table.Refuse("This zip archive has bytes between its file and its directory, which other programs may read as another file. %s.", packAlone)
	}
	return nil
}

// sum counts what is read and sums it up.
type sum struct {
	r    io.Reader
	n    uint64
	hash interface {
		io.Writer
		Sum32() uint32
	}
}

func (s *sum) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += uint64(n)
	_, _ = s.hash.Write(p[:n]) // a hash returns no error
	return n, err
}
