package screen

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// What a line of JSON holds cannot steer a terminal, and is what it was once it is decoded.
func TestJSONLinesSteerNoTerminal(t *testing.T) {
	const text = "a\x7f\u0085\u009b31m\u202e\u2066\u2028é€😀\x1b\n"
	raw := json.RawMessage("\"\u009b\u202e\x7f\\\\\"")
	var b bytes.Buffer
	WriteLine(&b, []any{text, raw})
	line := strings.TrimSuffix(b.String(), "\n")
	if OneLine(line) != line {
		t.Errorf("the line has controls: %q", line)
	}
	if !strings.Contains(line, "é€😀") {
		t.Errorf("the line escapes letters: %q", line)
	}
	var got []string
	if err := json.Unmarshal([]byte(line), &got); err != nil || got[0] != text || got[1] != "\u009b\u202e\x7f\\" {
		t.Errorf("it is decoded as %q, %v", got, err)
	}
}

// A file that is read in many pieces has a line now and then, and one at its end.
func TestJSONLinesOfManyReads(t *testing.T) {
	var b bytes.Buffer
	l := newJSONLines(&b)
	now := time.Unix(1, 0)
	l.now = func() time.Time { return now }
	for done := range int64(1000) {
		l.taking("a", "reading", done+1, 1000)
		now = now.Add(time.Millisecond)
	}
	l.taking("b", "reading", 1, 1000)
	if got := strings.Count(b.String(), "\n"); got != 12 {
		t.Errorf("%d lines, want 12: %s", got, b.String())
	}
}
