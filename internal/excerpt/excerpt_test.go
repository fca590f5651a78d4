package excerpt_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		name, s string
		most    int
		want    string
	}{
		{"what fits stays", "orders", 6, "orders"},
		{"nothing", "", 6, ""},
		{"the ellipsis counts", "orders.csv", 8, "order…"},
		{"no rune is cut", "üüüü", 7, "üü…"},
		{"lines and tabs stay", "a\n\tb", 8, "a\n\tb"},
		{"terminals are not steered", "a\x1b[2Jb\u009bc\x7f", 64, "a�[2Jb�c�"},
		{"bytes that are no text", "a\xff\xfeb", 64, "a��b"},
		{"replacements that no longer fit", "\x01\x02\x03\x04", 8, "�…"},
		{"only an ellipsis", "orders", 3, "…"},
	} {
		if got := excerpt.Of(c.s, c.most); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add("orders\x00\xff", 8)
	f.Fuzz(func(t *testing.T, s string, most int) {
		if most < 3 || most > 1<<16 {
			return
		}
		got := excerpt.Of(s, most)
		if len(got) > most || !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x1b\x7f\u009b") {
			t.Errorf("%q of %q, most %d", got, s, most)
		}
		if again := excerpt.Of(got, most); again != got {
			t.Errorf("%q becomes %q", got, again)
		}
	})
}
