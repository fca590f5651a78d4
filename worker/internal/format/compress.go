package format

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// A packer compresses a file block by block. No block depends on another.
type packer interface {
	// block returns the bytes of the file that stand for raw. They are valid until the next call. first:
	// there was no block before.
	block(raw []byte, first bool) ([]byte, error)
	// end appends the file's end to what block returned last.
	end(last []byte) []byte
	save(e *encoder)
	restore(d *decoder)
}

func newPacker(c Compression) packer {
	switch c {
	case Gzip:
		return &gzipPacker{}
	case Zstd:
		return &zstdPacker{}
	default:
		return plainPacker{}
	}
}

type plainPacker struct{}

func (plainPacker) block(raw []byte, _ bool) ([]byte, error) { return raw, nil }
func (plainPacker) end(last []byte) []byte                   { return last }
func (plainPacker) save(*encoder)                            {}
func (plainPacker) restore(*decoder)                         {}

// deflater makes independent blocks of a deflate stream (RFC 1951): each starts with an empty window and
// ends with the empty stored block that brings it to a byte.
type deflater struct {
	z   *flate.Writer
	out bytes.Buffer
}

// deflateEnd is the last block of a deflate stream, an empty one with fixed codes.
var deflateEnd = []byte{0x03, 0x00}

// append compresses raw behind what out has.
func (d *deflater) append(raw []byte) error {
	if d.z == nil {
		z, err := flate.NewWriter(&d.out, flate.DefaultCompression)
		if err != nil {
			return err
		}
		d.z = z
	} else {
		d.z.Reset(&d.out)
	}
	if _, err := d.z.Write(raw); err != nil {
		return err
	}
	return d.z.Flush()
}

// gzipHead is a member's header (RFC 1952) without a time or a name, of an unknown system: it is the same
// wherever the file is written.
var gzipHead = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

// gzipPacker makes one member.
type gzipPacker struct {
	deflater
	sum  uint32
	size uint32 // modulo 2^32, as the format has it
}

func (g *gzipPacker) block(raw []byte, first bool) ([]byte, error) {
	g.out.Reset()
	if first {
		g.out.Write(gzipHead)
	}
	if len(raw) > 0 {
		if err := g.append(raw); err != nil {
			return nil, err
		}
	}
	g.sum = crc32.Update(g.sum, crc32.IEEETable, raw)
	g.size += uint32(len(raw))
	return g.out.Bytes(), nil
}

func (g *gzipPacker) end(last []byte) []byte {
	last = append(last, deflateEnd...)
	last = binary.LittleEndian.AppendUint32(last, g.sum)
	return binary.LittleEndian.AppendUint32(last, g.size)
}

func (g *gzipPacker) save(e *encoder) {
	e.uvarint(uint64(g.sum))
	e.uvarint(uint64(g.size))
}

func (g *gzipPacker) restore(d *decoder) {
	g.sum = uint32(d.uvarint(math.MaxUint32))
	g.size = uint32(d.uvarint(math.MaxUint32))
}

// zstdPacker makes a frame for each block.
type zstdPacker struct {
	z   *zstd.Encoder
	out []byte
}

func (p *zstdPacker) block(raw []byte, first bool) ([]byte, error) {
	if p.z == nil {
		// A window as large as a block, and one goroutine, since the worker has other jobs.
		z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true))
		if err != nil {
			return nil, err
		}
		p.z = z
	}
	p.out = p.out[:0]
	// An empty file has a frame as well, since no bytes at all are no zstd file.
	if len(raw) > 0 || first {
		p.out = p.z.EncodeAll(raw, p.out)
	}
	return p.out, nil
}

func (p *zstdPacker) end(last []byte) []byte { return last }
func (p *zstdPacker) save(*encoder)          {}
func (p *zstdPacker) restore(*decoder)       {}
