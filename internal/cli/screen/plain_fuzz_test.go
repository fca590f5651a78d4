package screen

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// Nothing that a text holds is a control when it is shown, and letters stay.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{"", "orders.csv", "a\x1b[2J\n\tb", "\x9b31m\xff", "\u009b\u2028\u202e\u2066\u061c", "ünïcödé 🌊"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line := OneLine(s)
		var b bytes.Buffer
		if n, err := (plain{&b}).Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
		for _, r := range line {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == 0x2028 || r == 0x2029 {
				t.Errorf("%q shows %U", s, r)
			}
		}
		if !utf8.ValidString(b.String()) || OneLine(strings.NewReplacer("\n", "", "\t", "").Replace(b.String())) != strings.NewReplacer("\n", "", "\t", "").Replace(b.String()) {
			t.Errorf("%q is written as %q", s, b.String())
		}
		if again := OneLine(line); again != line {
			t.Errorf("%q becomes %q, then %q", s, line, again)
		}
	})
}
