package columnar_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/tidemark-dev/tidemark/worker/internal/dataset/columnar"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// change returns a simple file that says something else of itself.
func change(f func(m *format.FileMetaData)) crafted {
	c := simple()
	c.meta = f
	return c
}

// column changes what it says of its column.
func column(f func(c *format.ColumnChunk)) crafted {
	return change(func(m *format.FileMetaData) { f(&m.RowGroups[0].Columns[0]) })
}

// paged has other pages of three numbers.
func paged(pages ...page) crafted {
	c := simple()
	c.pages = [][]page{pages}
	return c
}

// sized is a page whose header says other sizes.
func sized(unpacked, packed int32) page {
	p := plain(3, format.Plain, numbers(1, 2, 3))
	p.header.UncompressedPageSize, p.header.CompressedPageSize = unpacked, packed
	return p
}

func wide(n int) crafted {
	c := crafted{rows: 1}
	for i := range n {
		c.schema = append(c.schema, leaf(fmt.Sprint(i), format.Int32, format.Required))
		c.pages = append(c.pages, []page{plain(1, format.Plain, numbers(1))})
	}
	return c
}

// endless is a row whose list has n items of a value.
func endless(n uint64, value []byte) crafted {
	c := listed()
	c.rows, c.schema[1] = 1, leaf("array", format.ByteArray, format.Repeated)
	c.pages = [][]page{{
		dictionary(1, append(binary.LittleEndian.AppendUint32(nil, uint32(len(value))), value...)),
		plain(int32(n), format.RLEDictionary, leveled([]byte{0}, append(run(1, 0), run(n-1, 1)...), run(n, 2))),
	}}
	return c
}

func deep(n int) crafted {
	c := crafted{rows: 1}
	for range n {
		c.schema = append(c.schema, group("g", 1, format.Required))
	}
	c.schema = append(c.schema, leaf("a", format.Int32, format.Required))
	c.pages = [][]page{{plain(1, format.Plain, numbers(1))}}
	return c
}

func TestHostileFilesAreRefused(t *testing.T) {
	t.Parallel()
	twice := wide(2)
	twice.schema[1].Name = "0"
	short, long := wide(2), wide(2)
	short.rows, short.pages[0] = 2, []page{plain(2, format.Plain, numbers(1, 2))}
	long.pages[1] = []page{plain(2, format.Plain, numbers(1, 2))}
	rows := listed()
	rows.rows = 1
	fewer := listed()
	fewer.rows = 3
	inside := listed()
	inside.pages[0][0] = plain(3, format.Plain, leveled(numbers(1, 2), run(3, 1), append(run(2, 2), run(1, 0)...)))
	level := listed()
	level.pages[0][0] = plain(3, format.Plain, leveled(numbers(1, 2), append(run(1, 0), run(2, 1)...), run(3, 3)))
	uneven := crafted{rows: 1, schema: []format.SchemaElement{group("g", 2, format.Repeated), leaf("a", format.Int32, format.Required), leaf("b", format.Int32, format.Required)}, pages: [][]page{
		{plain(2, format.Plain, leveled(numbers(1, 2), append(run(1, 0), run(1, 1)...), run(2, 1)))}, {plain(1, format.Plain, leveled(numbers(1), run(1, 0), run(1, 1)))},
	}}
	wrongNull := crafted{rows: 1, schema: []format.SchemaElement{group("g", 2, format.Optional), leaf("a", format.Int32, format.Required), leaf("b", format.Int32, format.Required)}, pages: [][]page{
		{plain(1, format.Plain, leveled(nil, run(1, 0)))}, {plain(1, format.Plain, leveled(numbers(1), run(1, 1)))},
	}}
	memory, window := wide(2), paged(sized(12, 12))
	window.meta = func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].MetaData.Codec = format.Brotli }
	memory.meta = func(m *format.FileMetaData) {
		for i := range m.RowGroups[0].Columns {
			m.RowGroups[0].Columns[i].MetaData.Codec = format.Zstd
		}
	}
	for i := range memory.pages { // one needs 15 MiB, with what decompressing takes, and two do not fit
		memory.pages[i][0].body = zeros(6 << 20)
		memory.pages[i][0].header.UncompressedPageSize = 6 << 20
		memory.pages[i][0].header.CompressedPageSize = int32(len(memory.pages[i][0].body))
	}
	copied := wide(1)
	copied.meta = memory.meta
	copied.pages[0][0].body = zeros(8 << 20)
	copied.pages[0][0].header.UncompressedPageSize = 8 << 20
	copied.pages[0][0].header.CompressedPageSize = int32(len(copied.pages[0][0].body))
	bomb := paged(sized(12, 12))
	bomb.meta = memory.meta
	bomb.pages[0][0].body = zeros(1 << 20)
	bomb.pages[0][0].header.CompressedPageSize = int32(len(bomb.pages[0][0].body))
	snappy := paged(sized(12, 12))
	snappy.meta = func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].MetaData.Codec = format.Snappy }
	snappy.pages[0][0].body = append([]byte{0xFF, 0xFF, 0xFF, 0xFF, 0x0F}, make([]byte, 7)...)
	more := paged(plain(4, format.Plain, numbers(1, 2, 3, 4)))
	more.meta = func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].MetaData.NumValues = 3 }
	crc := plain(3, format.Plain, numbers(1, 2, 3))
	crc.header.CRC = 1
	second := page{format.PageHeader{
		Type: format.DataPageV2, UncompressedPageSize: 12, CompressedPageSize: 12,
		DataPageHeaderV2: thrift.New(format.DataPageHeaderV2{NumValues: 3, NumRows: 3, RepetitionLevelsByteLength: 1<<31 - 1, DefinitionLevelsByteLength: 1<<31 - 1}),
	}, numbers(4, 5, 6)}
	headless := plain(3, format.Plain, numbers(1, 2, 3))
	headless.header.DictionaryPageHeader = dictionary(3, nil).header.DictionaryPageHeader
	offsets := func(from, n int64) crafted {
		return column(func(c *format.ColumnChunk) { c.MetaData.DataPageOffset, c.MetaData.TotalCompressedSize = from, n })
	}
	text := func(p ...page) crafted {
		c := paged(p...)
		c.schema = []format.SchemaElement{leaf("a", format.ByteArray, format.Required)}
		return c
	}
	same := wide(2)
	same.schema = []format.SchemaElement{group("g", 2, format.Optional), leaf("a", format.Int32, format.Required), leaf("a", format.Int32, format.Required)}
	for name, c := range map[string]struct {
		crafted
		want string
	}{
		"a name twice in a group": {same, "the same name"},
		"names with escapes":      {change(func(m *format.FileMetaData) { m.Schema[1].Name = strings.Repeat("\x01", 30_000) }), "131072 bytes"},
		"other rows":              {change(func(m *format.FileMetaData) { m.NumRows = 4 }), "other rows than the file"},
		"lengths without a byte":  {text(plain(3, format.DeltaLengthByteArray, nil)), "other values"},
		"deltas without a byte":   {text(plain(3, format.DeltaByteArray, nil)), "other values"},
		"indexes without a byte":  {paged(dictionary(1, numbers(1)), plain(3, format.RLEDictionary, nil)), "other values"},
		"a key of a key":          {keyed(bytes.Repeat([]byte{'"'}, 9<<18)), "8 MiB"},
		"a window of Brotli's":    {window, "more than 256 MiB"},
		"a copy of Zstandard's":   {copied, "more than 256 MiB"},
		"no columns": {change(func(m *format.FileMetaData) {
			m.Schema = m.Schema[:1]
			m.Schema[0].NumChildren = thrift.New[int32](0)
			m.RowGroups[0].Columns = nil
		}), "has no columns"},
		"no schema":     {change(func(m *format.FileMetaData) { m.Schema = nil }), "footer"},
		"a name twice":  {twice, "the same name"},
		"2,001 columns": {wide(2001), "more than 2000 columns"},
		"many elements": {change(func(m *format.FileMetaData) { m.Schema = make([]format.SchemaElement, 10_001) }), "10001 elements"},
		"long names":    {change(func(m *format.FileMetaData) { m.Schema[1].Name = strings.Repeat("a", 128<<10) }), "131072 bytes"},
		"deep groups":   {deep(33), "32 levels"},
		"an empty group": {change(func(m *format.FileMetaData) {
			m.Schema[0].NumChildren.V++
			m.Schema = append(m.Schema, group("g", 0, format.Optional))
		}), "group without columns"},
		"children that are missing": {change(func(m *format.FileMetaData) { m.Schema[0].NumChildren.V = 1<<31 - 1 }), "footer"},
		"elements that are left":    {change(func(m *format.FileMetaData) { m.Schema = append(m.Schema, m.Schema[1]) }), "footer"},
		"columns that are missing":  {change(func(m *format.FileMetaData) { m.RowGroups[0].Columns = nil }), "footer"},
		"negative rows":             {change(func(m *format.FileMetaData) { m.RowGroups[0].NumRows = -1 }), "footer"},
		"more rows than values":     {change(func(m *format.FileMetaData) { m.NumRows, m.RowGroups[0].NumRows = 4, 4 }), "fewer values"},
		"fewer rows than values":    {change(func(m *format.FileMetaData) { m.NumRows, m.RowGroups[0].NumRows = 2, 2 }), "or more"},
		"another type":              {column(func(c *format.ColumnChunk) { c.MetaData.Type = format.Int64 }), "footer"},
		"a type that is none":       {change(func(m *format.FileMetaData) { m.Schema[1].Type.V = 8 }), "type that cannot be read"},
		"no fixed length":           {change(func(m *format.FileMetaData) { m.Schema[1].Type.V = format.FixedLenByteArray }), "fixed length of 0"},
		"a variant": {change(func(m *format.FileMetaData) {
			m.Schema = []format.SchemaElement{m.Schema[0], group("v", 1, format.Optional), m.Schema[1]}
			m.Schema[1].LogicalType.Value = &format.VariantType{}
		}), "VARIANT"},
		"an unknown codec":          {column(func(c *format.ColumnChunk) { c.MetaData.Codec = format.LZO }), "method (3)"},
		"an unknown encoding":       {paged(plain(3, format.BitPacked, numbers(1, 2, 3))), "encoding (4)"},
		"another file":              {column(func(c *format.ColumnChunk) { c.FilePath = "/etc/passwd" }), "other files"},
		"encrypted columns":         {column(func(c *format.ColumnChunk) { c.CryptoMetadata.Value = &format.EncryptionWithFooterKey{} }), "encrypted"},
		"an encrypted file":         {change(func(m *format.FileMetaData) { m.EncryptionAlgorithm.Value = &format.AesGcmV1{} }), "encrypted"},
		"an offset outside":         {offsets(1<<40, 10), "not within the file"},
		"an offset before":          {offsets(0, 10), "not within the file"},
		"a negative offset":         {offsets(-1, 10), "not within the file"},
		"an end outside":            {offsets(4, 1<<62), "not within the file"},
		"a negative size":           {offsets(4, -1), "not within the file"},
		"no bytes":                  {offsets(4, 0), "fewer values"},
		"half a header":             {offsets(4, 3), "header of a page cannot be read"},
		"a page of 2 GB":            {paged(sized(12, 1<<31-1)), "more than 128 MiB"},
		"one when unpacked":         {paged(sized(1<<31-1, 12)), "more than 128 MiB"},
		"a page behind the end":     {paged(sized(12, 1000)), "behind the end"},
		"a negative page":           {paged(sized(-12, 12)), "header of a page"},
		"a size that is wrong":      {paged(sized(13, 12)), "cannot be decompressed"},
		"a page without its header": {paged(headless), "header of a page"},
		"a bomb":                    {bomb, "cannot be decompressed"},
		"a size of Snappy's":        {snappy, "cannot be decompressed"},
		"much memory":               {memory, "more than 256 MiB"},
		"a wrong checksum":          {paged(crc), "checksum"},
		"levels behind the end":     {paged(second), "behind its end"},
		"too few values":            {paged(plain(3, format.Plain, numbers(1, 2))), "other values"},
		"too many values":           {more, "more values than it says"},
		"two dictionaries":          {paged(dictionary(1, numbers(1)), dictionary(1, numbers(1)), plain(3, format.RLEDictionary, []byte{0})), "two dictionaries"},
		"a late dictionary":         {paged(plain(2, format.Plain, numbers(1, 2)), dictionary(1, numbers(1)), plain(1, format.RLEDictionary, []byte{0})), "behind its values"},
		"no dictionary":             {paged(plain(3, format.RLEDictionary, []byte{0})), "not there"},
		"a short dictionary":        {paged(dictionary(2, numbers(1)), plain(3, format.RLEDictionary, []byte{0})), "fewer values"},
		"an index outside":          {paged(dictionary(1, numbers(1)), plain(3, format.RLEDictionary, append([]byte{2}, run(3, 2)...))), "other values"},
		"wide indexes":              {paged(dictionary(1, numbers(1)), plain(3, format.RLEDictionary, []byte{33, 6, 0})), "other values"},
		"a delta's head":            {paged(plain(3, format.DeltaBinaryPacked, []byte{128, 1, 0, 3, 2})), "other values"},
		"a delta that is cut off":   {paged(plain(3, format.DeltaBinaryPacked, []byte{128, 1, 4, 3, 2})), "other values"},
		"a column with more rows":   {long, "or more"},
		"a column with fewer rows":  {short, "fewer values"},
		"a list with fewer rows":    {fewer, "other rows"},
		"a list with more rows":     {rows, "more rows"},
		"a row inside of another":   {inside, "other rows"},
		"a level that is too high":  {level, "levels"},
		"lists that are uneven":     {uneven, "levels"},
		"a null that has values":    {wrongNull, "levels"},
		"a row without end":         {endless(1<<31-1, make([]byte, 1000)), "8 MiB"},
		"an item that is large":     {endless(2, make([]byte, 9<<20)), "8 MiB"},
		"large items":               {endless(100, make([]byte, 1<<20)), "8 MiB"},
	} {
		got, err := readWithin(t, c.file(t), 16<<20)
		if !errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), c.want) || len(got) > 100 {
			t.Errorf("%s: %v after %d bytes, want a refusal that says %q", name, err, len(got), c.want)
		}
	}
}

// zeros is a frame of Zstandard that becomes n zeros, in blocks that repeat a byte: RFC 8878, 3.1.1.
func zeros(n int) []byte {
	frame := []byte{0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x58} // a window of 2 MiB, and no size
	for n > 0 {
		size := min(n, 128<<10)
		n -= size
		head := uint32(size)<<3 | 1<<1
		if n == 0 {
			head |= 1
		}
		frame = append(frame, byte(head), byte(head>>8), byte(head>>16), 0)
	}
	return frame
}

func TestFootersThatLieAreRefused(t *testing.T) {
	t.Parallel()
	good := simple().file(t)
	ends := func(n uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[len(b)-8:], n)
		return b
	}
	deep := bytes.Repeat([]byte{0x1C}, 100_000) // structures within structures
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"nothing":               {nil, "too short"},
		"eleven bytes":          {[]byte("PAR1PAR1PAR"), "too short"},
		"another file":          {append([]byte("PK34"), good[4:]...), "does not begin"},
		"cut off":               {good[:len(good)-1], "cut off"},
		"a length behind":       {ends(1<<32 - 1), "footer"},
		"a length of zero":      {ends(0), "footer"},
		"one byte too much":     {ends(uint32(len(good) - 11)), "footer"},
		"one byte too little":   {ends(uint32(len(good))/2 - 1), "footer"},
		"a long footer":         {withFooter([]byte("PAR1"), make([]byte, 16<<20+1)), "at most 16777216"},
		"an encrypted footer":   {append(append([]byte("PARE"), good[4:len(good)-4]...), "PARE"...), "encrypted"},
		"an endless list":       {withFooter([]byte("PAR1"), []byte{0x19, 0x2C, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F}), "footer"},
		"a list of row groups":  {withFooter([]byte("PAR1"), []byte{0x49, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F}), "footer"},
		"many row groups":       {withFooter([]byte("PAR1"), append([]byte{0x49, 0xFC, 0xA1, 0x8D, 0x06}, make([]byte, 100_001)...)), "100001 row groups"},
		"structures in others":  {withFooter([]byte("PAR1"), deep), "footer"},
		"lists in others":       {withFooter([]byte("PAR1"), append([]byte{0x59}, bytes.Repeat([]byte{0x19}, 100_000)...)), "footer"},
		"a map":                 {withFooter([]byte("PAR1"), append([]byte{0x5B, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F}, 0x88)), "footer"},
		"a text that is longer": {withFooter([]byte("PAR1"), []byte{0x68, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F}), "footer"},
	} {
		if got, err := readAll(t, c.file); !errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), c.want) || got != "" {
			t.Errorf("%s: %v after %q, want a refusal that says %q", name, err, got, c.want)
		}
	}
}

// samples are small files of many kinds.
func samples(tb testing.TB) [][]byte {
	tb.Helper()
	indexed := simple()
	indexed.pages = [][]page{{dictionary(2, numbers(7, 8)), plain(3, format.RLEDictionary, append([]byte{1}, 3, 0x05))}}
	files := [][]byte{simple().file(tb), listed().file(tb), indexed.file(tb), endless(20, []byte("x")).file(tb)}
	for _, version := range []int{1, 2} {
		files = append(files, byParquetGo(tb, version, 3))
	}
	return files
}

// mustEnd reads a damaged file, with little memory and up to 64 KiB of text.
func mustEnd(tb testing.TB, file []byte) {
	tb.Helper()
	r, err := columnar.Open(tb.Context(), bytes.NewReader(file), int64(len(file)))
	if err == nil {
		r.Limit(1 << 20)
		_, err = io.Copy(io.Discard, io.LimitReader(r, 64<<10))
		if closed := r.Close(); closed != nil {
			tb.Error(closed)
		}
	}
	if err != nil && !errors.Is(err, table.ErrRefused) {
		tb.Errorf("%v", err)
	}
}

func TestDamagedFilesEnd(t *testing.T) {
	t.Parallel()
	for _, file := range samples(t) {
		for i := range file {
			if i%16 == 0 {
				mustEnd(t, file[:i])
			}
			if i%2 == 0 {
				damaged := bytes.Clone(file)
				damaged[i] ^= []byte{0x01, 0x80, 0xFF}[i%3]
				mustEnd(t, damaged)
			}
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, file := range samples(f) {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) { mustEnd(t, file) })
}

// failing fails from a number of calls on.
type failing struct {
	io.ReaderAt
	left int
	err  error
}

func (f *failing) ReadAt(p []byte, at int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(p, at)
}

func TestErrorsOfTheStoreComeOut(t *testing.T) {
	t.Parallel()
	file := byParquetGo(t, 1, 2000)
	gone := errors.New("the bucket is gone")
	for _, err := range []error{gone, io.EOF} {
		want := err
		if errors.Is(err, io.EOF) {
			want = io.ErrUnexpectedEOF
		}
		n := 0
		for ; n < 1000; n++ {
			r, err := columnar.Open(t.Context(), &failing{bytes.NewReader(file), n, err}, int64(len(file)))
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				if _, again := r.Read(make([]byte, 1)); err != nil && !errors.Is(again, want) {
					t.Errorf("after %v the next Read returns %v", err, again)
				}
				if closed := r.Close(); closed != nil {
					t.Error(closed)
				}
			}
			if err == nil {
				break
			}
			if !errors.Is(err, want) || errors.Is(err, table.ErrRefused) {
				t.Fatalf("after %d calls: %v, want %v", n, err, want)
			}
		}
		if n < 4 || n == 1000 {
			t.Errorf("%d calls read the file", n)
		}
	}
}

func TestEachColumnIsOneRequest(t *testing.T) {
	t.Parallel()
	file := wide(50).file(t)
	const most = 100
	f := &failing{ReaderAt: bytes.NewReader(file), left: most}
	if _, err := io.Copy(io.Discard, open(t, f, int64(len(file)))); err != nil || most-f.left != 52 {
		t.Errorf("%d requests, want two for the footer and 50; %v", most-f.left, err)
	}
}

func TestAReaderEndsWithItsContext(t *testing.T) {
	t.Parallel()
	file := byParquetGo(t, 1, 2000)
	gone := errors.New("canceled")
	ctx, cancel := context.WithCancelCause(t.Context())
	r, err := columnar.Open(ctx, bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 100)); err != nil {
		t.Error(err)
	}
	cancel(gone)
	if n, err := r.Read(make([]byte, 100)); n != 0 || !errors.Is(err, gone) {
		t.Errorf("after its context's end a Reader gives %d bytes, %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := columnar.Open(ctx, bytes.NewReader(file), int64(len(file))); !errors.Is(err, gone) {
		t.Errorf("Open returns %v", err)
	}
}
