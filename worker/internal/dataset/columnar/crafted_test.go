package columnar_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// A page is one of a crafted file: what its header says, and its bytes, which are not compressed.
type page struct {
	header format.PageHeader
	body   []byte
}

// plain is a data page.
func plain(n int32, encoding format.Encoding, body []byte) page {
	return page{format.PageHeader{
		Type: format.DataPage, UncompressedPageSize: int32(len(body)), CompressedPageSize: int32(len(body)),
		DataPageHeader: thrift.New(format.DataPageHeader{NumValues: n, Encoding: encoding, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE}),
	}, body}
}

// dictionary is a page of the values that others refer to.
func dictionary(n int32, body []byte) page {
	return page{format.PageHeader{
		Type: format.DictionaryPage, UncompressedPageSize: int32(len(body)), CompressedPageSize: int32(len(body)),
		DictionaryPageHeader: thrift.New(format.DictionaryPageHeader{NumValues: n, Encoding: format.Plain}),
	}, body}
}

// A crafted file has one row group, with a column for each of the lists of pages, and says what meta makes of it.
type crafted struct {
	rows   int64
	schema []format.SchemaElement
	pages  [][]page
	meta   func(m *format.FileMetaData)
}

func leaf(name string, t format.Type, repetition format.FieldRepetitionType) format.SchemaElement {
	return format.SchemaElement{Name: name, Type: thrift.New(t), RepetitionType: thrift.New(repetition)}
}

func group(name string, children int32, repetition format.FieldRepetitionType) format.SchemaElement {
	return format.SchemaElement{Name: name, NumChildren: thrift.New(children), RepetitionType: thrift.New(repetition)}
}

func marshal(tb testing.TB, v any) []byte {
	tb.Helper()
	b, err := thrift.Marshal(new(thrift.CompactProtocol), v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func (c crafted) file(tb testing.TB) []byte {
	tb.Helper()
	file := []byte("PAR1")
	group := format.RowGroup{NumRows: c.rows}
	var leaves []format.SchemaElement
	for _, e := range c.schema {
		if e.Type.Valid {
			leaves = append(leaves, e)
		}
	}
	for i, pages := range c.pages {
		from, values := len(file), int64(0)
		for _, p := range pages {
			file = append(append(file, marshal(tb, &p.header)...), p.body...)
			values += int64(p.header.DataPageHeader.V.NumValues) + int64(p.header.DataPageHeaderV2.V.NumValues)
		}
		group.Columns = append(group.Columns, format.ColumnChunk{MetaData: format.ColumnMetaData{
			Type: leaves[i].Type.V, NumValues: values, TotalCompressedSize: int64(len(file) - from), DataPageOffset: int64(from),
		}})
	}
	m := format.FileMetaData{Version: 1, NumRows: c.rows, RowGroups: []format.RowGroup{group}}
	m.Schema = append(m.Schema, group0(c.schema))
	m.Schema = append(m.Schema, c.schema...)
	if c.meta != nil {
		c.meta(&m)
	}
	return withFooter(file, marshal(tb, &m))
}

// group0 is the root, which has all elements that are in no other group.
func group0(schema []format.SchemaElement) format.SchemaElement {
	n := int32(len(schema))
	for _, e := range schema {
		n -= e.NumChildren.V
	}
	return format.SchemaElement{Name: "root", NumChildren: thrift.New(n)}
}

func withFooter(file, footer []byte) []byte {
	file = append(bytes.Clone(file), footer...)
	return append(binary.LittleEndian.AppendUint32(file, uint32(len(footer))), "PAR1"...)
}

// numbers are in PLAIN.
func numbers(n ...int32) []byte {
	var b []byte
	for _, v := range n {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return b
}

// leveled puts levels, as the first version of pages has them, before values.
func leveled(values []byte, levels ...[]byte) []byte {
	var b []byte
	for _, l := range levels {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(l))), l...)
	}
	return append(b, values...)
}

// run is n times a number of up to eight bits.
func run(n uint64, v byte) []byte { return append(binary.AppendUvarint(nil, n<<1), v) }

// simple has one column of three numbers.
func simple() crafted {
	return crafted{
		rows: 3, schema: []format.SchemaElement{leaf("a", format.Int32, format.Required)},
		pages: [][]page{{plain(3, format.Plain, numbers(1, -2, 3))}},
	}
}

// listed has two rows, [1,2] and null, in a list of the form that older writers have.
func listed() crafted {
	list := group("a", 1, format.Optional)
	list.LogicalType = format.LogicalType{Value: &format.ListType{}}
	return crafted{
		rows: 2, schema: []format.SchemaElement{list, leaf("array", format.Int32, format.Repeated)},
		pages: [][]page{{plain(3, format.Plain, leveled(numbers(1, 2), append(append(run(1, 0), run(1, 1)...), run(1, 0)...), append(run(2, 2), run(1, 0)...)))}},
	}
}
