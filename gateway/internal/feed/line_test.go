package feed

import "testing"

// A line break would end an event's data. In JSON it can stand between two tokens alone.
func TestLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"a":1}`:              `{"a":1}`,
		"{\n\t\"a\":1,\r\n}\r": "{ \t\"a\":1,  } ",
	} {
		if got := string(line([]byte(text))); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
