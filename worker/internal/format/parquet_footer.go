package format

import (
	"encoding/binary"
	"math"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// pack keeps what a row group's metadata says that is not known from the columns: its rows, and of each
// chunk, which lie one behind the other, its lengths, how many nulls, and the bounds of its values.
func (f *parquetFile) pack(g *format.RowGroup) {
	e := &f.groups
	e.uvarint(uint64(g.NumRows))
	for i := range g.Columns {
		m := &g.Columns[i].MetaData
		e.uvarint(uint64(m.TotalCompressedSize))
		e.uvarint(uint64(m.TotalUncompressedSize))
		e.uvarint(uint64(m.Statistics.NullCount))
		if f.hasBounds(f.columns[i].Kind) && m.Statistics.NullCount < g.NumRows {
			least, greatest := bound(m.Statistics.MinValue), bound(m.Statistics.MaxValue)
			e.b = binary.AppendVarint(e.b, least)
			e.uvarint(uint64(greatest) - uint64(least))
		}
		f.offset += uint64(m.TotalCompressedSize)
	}
}

// unpack returns the metadata of the row group that begins at at, and moves at to its end.
func (f *parquetFile) unpack(d *decoder, at *uint64, ordinal int16) format.RowGroup {
	g := format.RowGroup{Ordinal: ordinal, FileOffset: int64(*at), NumRows: d.count()}
	g.Columns = make(thrift.Slice[format.ColumnChunk], len(f.columns))
	for i, c := range f.columns {
		m := &g.Columns[i].MetaData
		m.Type = physicalType(c.Kind)
		m.Encoding = thrift.Slice[format.Encoding]{format.Plain, format.RLE}
		m.PathInSchema = thrift.Slice[string]{string(validText([]byte(c.Name)))}
		m.Codec = format.Zstd
		m.NumValues = g.NumRows
		m.DataPageOffset = int64(*at)
		m.TotalCompressedSize = d.count()
		m.TotalUncompressedSize = d.count()
		m.Statistics.NullCount = d.count()
		if f.hasBounds(c.Kind) && m.Statistics.NullCount < g.NumRows {
			least := d.varint()
			greatest := least + int64(d.uvarint(math.MaxUint64))
			m.Statistics.MinValue, m.Statistics.MaxValue = boundBytes(c.Kind, least), boundBytes(c.Kind, greatest)
		}
		*at += uint64(m.TotalCompressedSize)
		g.TotalCompressedSize += m.TotalCompressedSize
		g.TotalByteSize += m.TotalUncompressedSize
	}
	return g
}

func physicalType(k rows.Kind) format.Type {
	switch k {
	case rows.Int, rows.Timestamp:
		return format.Int64
	case rows.Float:
		return format.Double
	case rows.Bool:
		return format.Boolean
	case rows.Date:
		return format.Int32
	default:
		return format.ByteArray
	}
}

// bound reads a minimum or maximum, a little-endian integer of 4 or 8 bytes.
func bound(b []byte) int64 {
	if len(b) == 4 {
		return int64(int32(binary.LittleEndian.Uint32(b)))
	}
	return int64(binary.LittleEndian.Uint64(b))
}

func boundBytes(k rows.Kind, v int64) []byte {
	if k == rows.Date {
		return binary.LittleEndian.AppendUint32(nil, uint32(v))
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(v))
}
