package screen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// takingInterval is the shortest time between two lines of one file's bytes, which come with each read.
const takingInterval = 100 * time.Millisecond

// jsonLines is the painter of programs, see the page of package cli.
type jsonLines struct {
	w     io.Writer
	taken map[string]time.Time // when a file's last line was written
	now   func() time.Time
}

func newJSONLines(w io.Writer) *jsonLines {
	return &jsonLines{w: w, taken: map[string]time.Time{}, now: time.Now}
}

func (l *jsonLines) show(s sight) {
	WriteLine(l.w, struct {
		Type    string          `json:"type"`
		File    string          `json:"file"`
		Percent float64         `json:"percent"`
		Job     json.RawMessage `json:"job"`
	}{"job", s.name, s.percent, s.view.JSON})
}

func (l *jsonLines) taking(name, doing string, done, total int64) {
	now, key := l.now(), doing+"\x00"+name
	if done < total && now.Sub(l.taken[key]) < takingInterval {
		return
	}
	l.taken[key] = now
	WriteLine(l.w, struct {
		Type  string `json:"type"`
		File  string `json:"file"`
		Done  int64  `json:"done"`
		Total int64  `json:"total"`
		Doing string `json:"doing"`
	}{"taking", name, done, total, doing})
}

func (l *jsonLines) note(text string) {
	WriteLine(l.w, struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}{"note", text})
}

func (*jsonLines) away() {} // the note tells

func (*jsonLines) close() {}

// WriteLine writes v as a line, in one write, so that lines of several writers do not
// mix. Characters that would steer a terminal are escaped, in JSON that v holds too.
func WriteLine(w io.Writer, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // a view keeps the bytes of its record
	if err := e.Encode(v); err != nil {
		panic(err) // structs of texts, numbers and valid JSON
	}
	_, _ = Exact(w).Write(escaped(b.Bytes())) // without a reader there is nothing to report to
}

// escaped is a line of JSON with the characters escaped that harmless replaces, and that JSON allows as they are.
// They are in its texts only.
func escaped(line []byte) []byte {
	var b bytes.Buffer
	for at := 0; at < len(line); {
		r, n := utf8.DecodeRune(line[at:])
		if r >= 0x7f && harmless(r) != r {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.Write(line[at : at+n])
		}
		at += n
	}
	return b.Bytes()
}
