package workbook

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// orders is a workbook as Excel writes it, with n rows and about as many shared texts.
func orders(n int) parts {
	var cells, texts strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&cells, `<row r="%d" spans="1:5" x14ac:dyDescent="0.25"><c r="A%d"><v>%d</v></c><c r="B%d" s="2"><v>%d.524305555555</v></c>`+
			`<c r="C%d" t="s"><v>%d</v></c><c r="D%d"><v>%d.25</v></c><c r="E%d" t="b"><v>1</v></c></row>`, i, i, 100_000+i, i, 45_000+i/1000, i, i-1, i, i%97, i)
		fmt.Fprintf(&texts, `<si><t>customer-%d@example.com</t></si>`, i)
	}
	p := bookOf(cells.String())
	return p.with("xl/sharedStrings.xml", head+`<sst `+mainSpace+`>`+texts.String()+`</sst>`)
}

// BenchmarkRead compares reading a workbook with a bare loop over the tokens that encoding/xml and this package's
// scanner find in the same XML. All MB/s count the bytes of XML, of the sheet and the shared texts.
func BenchmarkRead(b *testing.B) {
	p := orders(50_000)
	file, text := p.zip(b), []string{p["xl/sharedStrings.xml"], p[sheet1]}
	size := int64(len(text[0]) + len(text[1]))
	b.Run("baseline=encoding/xml", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			for _, part := range text {
				d := xml.NewDecoder(strings.NewReader(part))
				for {
					if _, err := d.RawToken(); errors.Is(err, io.EOF) {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
			}
		}
	})
	b.Run("scanner", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			for _, part := range text {
				s := newScanner(strings.NewReader(part))
				for {
					if t, err := s.next(); err != nil {
						b.Fatal(err)
					} else if t == end {
						break
					}
				}
			}
		}
	})
	b.Run("workbook", func(b *testing.B) {
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			r, err := Open(b.Context(), bytes.NewReader(file), int64(len(file)), false)
			if err != nil {
				b.Fatal(err)
			}
			n, err := io.Copy(io.Discard, r)
			if err := errors.Join(err, r.Close()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(n), "CSV-bytes")
		}
	})
}
