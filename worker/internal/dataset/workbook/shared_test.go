package workbook

import (
	"bytes"
	"testing"
)

// A cache of two pages reads what is in a file of five.
func TestPagesAreTheFile(t *testing.T) {
	t.Parallel()
	p, err := newPages(2)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 5*pageBytes-7)
	for i := range want {
		want[i] = byte(i * 31 >> 8)
	}
	if err := p.write(want); err != nil {
		t.Fatal(err)
	}
	if err := p.flush(); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		at, n := i*7919%len(want), i*977%(2*pageBytes)
		n = min(n, len(want)-at)
		if got, err := p.append(nil, int64(at), n); err != nil || !bytes.Equal(got, want[at:at+n]) {
			t.Fatalf("%d bytes at %d are others, %v", n, at, err)
		}
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}
