package columnar_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// plainDictionary is what older writers call RLE_DICTIONARY.
const plainDictionary = 2

func TestCraftedFilesAreText(t *testing.T) {
	t.Parallel()
	nested := listed()
	nested.schema[1] = group("list", 1, format.Repeated)
	nested.schema = append(nested.schema, leaf("element", format.Int32, format.Required))
	bare := listed()
	bare.schema[0].LogicalType = format.LogicalType{}
	tuple := listed()
	tuple.schema = []format.SchemaElement{tuple.schema[0], group("a_tuple", 1, format.Repeated), leaf("x", format.Int32, format.Required)}
	indexed := simple()
	indexed.pages = [][]page{{dictionary(2, numbers(7, 8)), plain(2, format.RLEDictionary, append([]byte{1}, run(2, 1)...)), plain(1, plainDictionary, append([]byte{1}, run(1, 0)...))}}
	alone := simple()
	alone.pages = [][]page{{dictionary(1, numbers(9)), plain(3, format.RLEDictionary, []byte{0})}}
	none := simple()
	none.rows, none.pages = 0, [][]page{{}}
	without := simple()
	without.meta = func(m *format.FileMetaData) { m.NumRows, m.RowGroups = 0, nil }
	odd := simple()
	odd.schema[0].Name = "a\"\\\n\xff\u2028"
	second := simple()
	second.pages = [][]page{{page{format.PageHeader{
		Type: format.DataPageV2, UncompressedPageSize: 12, CompressedPageSize: 12,
		DataPageHeaderV2: thrift.New(format.DataPageHeaderV2{NumValues: 3, NumRows: 3, Encoding: format.Plain}),
	}, numbers(4, 5, 6)}}}
	index := plain(0, format.Plain, numbers(1, 2))
	index.header = format.PageHeader{Type: format.IndexPage, UncompressedPageSize: 8, CompressedPageSize: 8}
	passed := paged(index, plain(3, format.Plain, numbers(1, -2, 3)))
	nulls := func(encoding format.Encoding) crafted {
		c := paged(plain(3, encoding, leveled(nil, run(3, 0))))
		c.schema = []format.SchemaElement{leaf("a", format.ByteArray, format.Optional)}
		return c
	}
	// LogicalTypes.md, backward-compatibility rules of lists.
	inLists := func(of format.LogicalType, schema ...format.SchemaElement) crafted {
		c := listed()
		c.rows, c.schema = 1, append(c.schema[:1], schema...)
		c.schema[1].LogicalType = of
		c.pages = [][]page{{plain(2, format.Plain, leveled(numbers(1, 2), append(run(1, 0), run(1, 2)...), run(2, 3)))}}
		return c
	}
	aList, aMap := format.LogicalType{Value: &format.ListType{}}, format.LogicalType{Value: &format.MapType{}}
	maps := inLists(aMap, group("array", 1, format.Repeated), group("key_value", 2, format.Repeated), leaf("key", format.Int32, format.Required), leaf("value", format.Int32, format.Required))
	maps.pages = [][]page{{plain(1, format.Plain, leveled(numbers(1), run(1, 0), run(1, 3)))}, {plain(1, format.Plain, leveled(numbers(2), run(1, 0), run(1, 3)))}}
	root := crafted{
		rows: 1, schema: []format.SchemaElement{leaf("a", format.Int32, format.Repeated)}, meta: func(m *format.FileMetaData) { m.Schema[0].LogicalType = aList },
		pages: [][]page{{plain(2, format.Plain, leveled(numbers(1, 2), append(run(1, 0), run(1, 1)...), run(2, 1)))}},
	}
	fixed := simple()
	fixed.rows, fixed.schema = 1, []format.SchemaElement{leaf("a", format.ByteArray, format.Required)}
	fixed.schema[0].TypeLength = thrift.New[int32](3)
	fixed.pages = [][]page{{plain(1, format.DeltaByteArray, append([]byte{0x80, 1, 1, 1, 0, 0x80, 1, 1, 1, 10}, "hello"...))}}
	for name, c := range map[string]struct {
		crafted
		want string
	}{
		"a page of an index":           {passed, "{\"a\":1}\n{\"a\":-2}\n{\"a\":3}\n"},
		"numbers":                      {simple(), "{\"a\":1}\n{\"a\":-2}\n{\"a\":3}\n"},
		"an old list":                  {listed(), "{\"a\":[1,2]}\n{\"a\":null}\n"},
		"a list":                       {nested, "{\"a\":[1,2]}\n{\"a\":null}\n"},
		"a repeated column":            {bare, "{\"a\":{\"array\":[1,2]}}\n{\"a\":null}\n"},
		"a list of tuples":             {tuple, "{\"a\":[{\"x\":1},{\"x\":2}]}\n{\"a\":null}\n"},
		"a dictionary":                 {indexed, "{\"a\":8}\n{\"a\":8}\n{\"a\":7}\n"},
		"a dictionary of one value":    {alone, "{\"a\":9}\n{\"a\":9}\n{\"a\":9}\n"},
		"a page of the second version": {second, "{\"a\":4}\n{\"a\":5}\n{\"a\":6}\n"},
		"no row":                       {none, ""},
		"no row group":                 {without, ""},
		"nulls in deltas":              {nulls(format.DeltaBinaryPacked), "{\"a\":null}\n{\"a\":null}\n{\"a\":null}\n"},
		"nulls in lengths":             {nulls(format.DeltaLengthByteArray), "{\"a\":null}\n{\"a\":null}\n{\"a\":null}\n"},
		"an old list of lists":         {inLists(aList, group("array", 1, format.Repeated), leaf("array", format.Int32, format.Repeated)), "{\"a\":[[1,2]]}\n"},
		"an old list of maps":          {maps, "{\"a\":[{\"1\":2}]}\n"},
		"a list of groups with a list": {inLists(format.LogicalType{}, group("x", 1, format.Repeated), leaf("y", format.Int32, format.Repeated)), "{\"a\":[{\"y\":[1,2]}]}\n"},
		"a root that is a list":        {root, "{\"a\":[1,2]}\n"},
		"a length of no fixed length":  {fixed, "{\"a\":\"hello\"}\n"},
		"a key that is a map":          {keyed([]byte("x")), "{\"m\":{\"{\\\"x\\\":null}\":null}}\n"},
		"an odd name":                  {odd, strings.ReplaceAll("{\"a\\\"\\\\\\n\ufffd\u2028\":?1}\n{\"a\\\"\\\\\\n\ufffd\u2028\":?-2}\n{\"a\\\"\\\\\\n\ufffd\u2028\":?3}\n", "?", "")},
	} {
		if got, err := readAll(t, c.file(t)); err != nil || got != c.want {
			t.Errorf("%s: %v, %q, want %q", name, err, got, c.want)
		}
	}
}

// keyed has a row of a map whose one key is a map with the key; all values are null.
func keyed(key []byte) crafted {
	aMap := func(name string) format.SchemaElement {
		e := group(name, 1, format.Required)
		e.LogicalType.Value = &format.MapType{}
		return e
	}
	return crafted{
		rows: 1,
		schema: []format.SchemaElement{
			aMap("m"), group("key_value", 2, format.Repeated), aMap("key"), group("key_value", 2, format.Repeated),
			leaf("key", format.ByteArray, format.Required), leaf("value", format.Int32, format.Optional), leaf("value", format.Int32, format.Optional),
		},
		pages: [][]page{
			{plain(1, format.Plain, leveled(append(binary.LittleEndian.AppendUint32(nil, uint32(len(key))), key...), run(1, 0), run(1, 2)))},
			{plain(1, format.Plain, leveled(nil, run(1, 0), run(1, 2)))},
			{plain(1, format.Plain, leveled(nil, run(1, 0), run(1, 1)))},
		},
	}
}
