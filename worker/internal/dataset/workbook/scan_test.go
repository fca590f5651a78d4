package workbook

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// tokens are what a part is, as the scanner has it or as encoding/xml has it, with pieces of text joined.
type tokens struct {
	strings.Builder
	texts strings.Builder
}

func (k *tokens) put(s ...string) {
	if k.texts.Len() > 0 {
		k.WriteString("text " + k.texts.String() + "\n")
		k.texts.Reset()
	}
	k.WriteString(strings.Join(s, "\x00") + "\n")
}

func scanned(r io.Reader) (string, error) { return scannedBy(newScanner(r)) }

func scannedBy(s *scanner) (string, error) {
	var k tokens
	for {
		t, err := s.next()
		switch {
		case err != nil:
			return "", err
		case t == end:
			k.put("end")
			return k.String(), nil
		case t == chars:
			k.texts.Write(s.text)
		case t == shut:
			k.put("shut")
		default:
			all := []string{"open", string(s.name)}
			for _, a := range s.attrs {
				all = append(all, string(local(a.name)), strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(s.value(a.value))))
			}
			k.put(all...)
		}
	}
}

func decoded(text string) (string, bool) {
	var k tokens
	d := xml.NewDecoder(strings.NewReader(text))
	depth, deepest := 0, 0
	for {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			k.put("end")
			return k.String(), depth == 0 && deepest > 0 && deepest <= maxDepth
		case err != nil:
			return "", false
		}
		switch token := token.(type) {
		case xml.CharData:
			k.texts.Write(token)
		case xml.EndElement:
			k.put("shut")
			depth--
		case xml.StartElement:
			all := []string{"open", token.Name.Local}
			for _, a := range token.Attr {
				all = append(all, a.Name.Local, a.Value)
			}
			k.put(all...)
			depth++
			deepest = max(deepest, depth)
		case xml.Directive:
			return "", false
		}
	}
}

// What encoding/xml takes, the scanner takes for the same, but for document types and references longer than
// any that a program writes.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{
		`<a/>`, `<a b="1" c='2"'>x</a>`, head + `<x:a x:b = "&lt;&#65;" ><b>1</b ><!-- c --><![CDATA[<]]]>]]></x:a>` + "\r\n",
		"<a>\r\n\r&#13;&amp;&#x1F30A;</a>\r", `<a><?pi ?>&quot;</a>`, "\ufeff<a/>", `<a b=">">]></a>`, `<a`, `<a>&unknown;</a>`, `<a></a></a>`, `<!DOCTYPE a><a/>`, `<a/><!---->`,
		`<a>` + strings.Repeat(`<b c="d">text &amp; more</b>`, 40) + `</a>`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := scanned(strings.NewReader(text))
		slow, slowErr := scanned(iotest.OneByteReader(strings.NewReader(text)))
		if got != slow || (err == nil) != (slowErr == nil) {
			t.Errorf("byte by byte %q is\n%q, %v, want\n%q, %v", text, slow, slowErr, got, err)
		}
		if err != nil && !errors.Is(err, table.ErrRefused) {
			t.Errorf("%q: %v is no refusal", text, err)
		}
		// A colon more than one, or at an end, is where encoding/xml and the scanner name things otherwise.
		if want, ok := decoded(text); ok && !strings.Contains(text, ":") && (err == nil || !strings.Contains(text, "&#") && !strings.Contains(text, "encoding")) && got != want {
			t.Errorf("%q is\n%q, %v, want\n%q", text, got, err, want)
		}
	})
}

// Tokens go on beyond the buffer, wherever it ends, and the buffer grows for a tag.
func TestTokensAreCutNowhere(t *testing.T) {
	t.Parallel()
	for n := range 100 {
		pad := strings.Repeat("x", n)
		for _, text := range []string{
			`<a b="` + pad + `">t&amp;` + "\r\n" + `<![CDATA[]] ]]><!-- - --><b/></a>`,
			`<a>` + pad + `&#x1F30A;` + "\r\n\r" + `<![CDATA[` + "\r\n" + strings.Repeat("]", 9) + `]]><?p` + pad + `?></a>`,
		} {
			for size := 32; size < 40; size++ {
				s := &scanner{r: strings.NewReader(text), buf: make([]byte, size)}
				got, err := scannedBy(s)
				if want, ok := decoded(text); !ok || err != nil || got != want {
					t.Fatalf("in %d bytes %q is\n%q, %v, want\n%q", size, text, got, err, want)
				}
			}
		}
	}
}
