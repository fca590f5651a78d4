package files

import "testing"

// A file of other content is another source, and its upload another one.
func TestSourceIsOfPlaceAndContent(t *testing.T) {
	mark := func(path, sum string) string {
		t.Helper()
		s, err := sourceOf(path, sum)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := mark("a.csv", "01")
	if again := mark("a.csv", "01"); again != first || len(first) != 32 {
		t.Errorf("one file is %s and %s", first, again)
	}
	if mark("a.csv", "02") == first || mark("b/a.csv", "01") == first {
		t.Error("two files have one mark")
	}
}
