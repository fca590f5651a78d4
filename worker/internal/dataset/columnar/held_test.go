package columnar

import (
	"bytes"
	"errors"
	"testing"
	"testing/iotest"

	"github.com/andybalholm/brotli"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

func TestARowGroupLetsGoOfTheOneBefore(t *testing.T) {
	t.Parallel()
	b := make([]byte, 8)
	l := &leaf{
		physical: typeInt32, dictRoom: b, pageRoom: b, valueRoom: b, dictionary: dictionary{b: b},
		reps: hybrid{b: b}, defs: hybrid{b: b}, values: &lengths{b}, value: value{b: b},
	}
	if err := l.begin(&Reader{size: 100}, &column{physical: typeInt32, values: 1, data: 4, bytes: 10}, 1); err != nil {
		t.Fatal(err)
	}
	if l.dictRoom != nil || l.pageRoom != nil || l.valueRoom != nil || l.dictionary.b != nil || l.reps.b != nil || l.defs.b != nil || l.values != nil || l.value.b != nil {
		t.Errorf("%+v holds the page before", l)
	}
}

// pageOf is a data page of one value, of less than 64 bytes.
func pageOf(body []byte) []byte {
	n := byte(2 * len(body)) // in zigzag
	return append([]byte{0x15, 0, 0x15, n, 0x15, n, 0x2C, 0x15, 2, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0}, body...)
}

func TestAPageIsLetGoBeforeALargerOneIsMade(t *testing.T) {
	t.Parallel()
	file, b := pageOf(make([]byte, 60)), make([]byte, 40)
	for _, most := range []int64{60, 59} {
		r := &Reader{ctx: t.Context(), most: most, held: 40, size: 100}
		l := &leaf{physical: typeInt32, entries: 1, pageRoom: b, reps: hybrid{b: b}, defs: hybrid{b: b}, values: &lengths{b}, value: value{b: b}}
		l.src.begin(bytes.NewReader(file), 0, int64(len(file)), aheadBytes)
		err := r.page(l)
		switch {
		case l.value.b != nil || l.reps.b != nil || l.defs.b != nil:
			t.Errorf("%+v holds the page before", l)
		case most == 60 && (err != nil || r.held != 60 || cap(l.pageRoom) != 60):
			t.Errorf("%d bytes are held of %d; %v", r.held, cap(l.pageRoom), err)
		case most == 59 && (!errors.Is(err, table.ErrRefused) || l.pageRoom != nil || l.values != nil):
			t.Errorf("%v, with %d bytes of the page before", err, cap(l.pageRoom))
		}
	}
}

func TestValuesThatArePutTogetherAreHeld(t *testing.T) {
	t.Parallel()
	one := []byte{0x80, 1, 1, 1, 0} // DELTA_BINARY_PACKED: one number, zero
	deltas := append(append(append([]byte(nil), one...), 0x80, 1, 1, 1, 10), "hello"...)
	for _, c := range []struct {
		leaf
		encoding int32
		body     []byte
		held     int64
	}{
		{leaf{physical: typeBytes}, encodingDeltaBytes, deltas, 5},
		{leaf{physical: typeFixed, length: 5}, encodingSplit, []byte("hello"), 5},
		{leaf{physical: typeFixed, length: 1000}, encodingSplit, []byte("hello"), 5},
	} {
		r := &Reader{most: c.held}
		if err := r.decode(&c.leaf, c.encoding, c.body); err != nil || r.held != c.held {
			t.Errorf("%+v: %d bytes are held, want %d; %v", c, r.held, c.held, err)
			continue
		}
		if c.length <= 5 && (!c.values.next(&c.value) || string(c.value.b) != "hello" || &c.value.b[0] != &c.valueRoom[0]) {
			t.Errorf("%+v is %q", c, c.value.b)
		}
		c.valueRoom = nil
		if err := (&Reader{most: c.held - 1}).decode(&c.leaf, c.encoding, c.body); !errors.Is(err, table.ErrRefused) {
			t.Errorf("%+v over the bound: %v", c, err)
		}
	}
}

// Brotli's reader returns nothing, and no error, where the last bytes that it reads have no text.
func TestAReaderMayReturnNothingBeforeItsEnd(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	w := brotli.NewWriter(&packed)
	if _, err := w.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Flush(), w.Close()); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]bool{3: false, 4: true, 5: false} {
		if got := fills(make([]byte, n), brotli.NewReader(iotest.OneByteReader(bytes.NewReader(packed.Bytes())))); got != want {
			t.Errorf("%d bytes are all: %v", n, got)
		}
	}
}

func TestTextEndsBehindTheBoundOfARow(t *testing.T) {
	t.Parallel()
	if n := len(appendString(nil, bytes.Repeat([]byte{1}, maxRowBytes))); n <= maxRowBytes || n > 2*maxRowBytes {
		t.Errorf("%d bytes of text", n)
	}
}
