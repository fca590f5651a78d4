package screen

import (
	"bytes"
	"encoding/json"
	"io"
)

// jsonLines is the painter of programs, see the page of package cli.
type jsonLines struct{ w io.Writer }

func (l jsonLines) show(s sight) {
	WriteLine(l.w, struct {
		Type    string          `json:"type"`
		File    string          `json:"file"`
		Percent float64         `json:"percent"`
		Job     json.RawMessage `json:"job"`
	}{"job", s.name, s.percent, s.view.JSON})
}

func (l jsonLines) taking(name, doing string, done, total int64) {
	WriteLine(l.w, struct {
		Type  string `json:"type"`
		File  string `json:"file"`
		Done  int64  `json:"done"`
		Total int64  `json:"total"`
		Doing string `json:"doing"`
	}{"taking", name, done, total, doing})
}

func (l jsonLines) note(text string) {
	WriteLine(l.w, struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}{"note", text})
}

func (jsonLines) away() {} // the note tells

func (jsonLines) close() {}

// WriteLine writes v as a line, in one write, so that lines of several writers do not
// mix.
func WriteLine(w io.Writer, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // a view keeps the bytes of its record
	if err := e.Encode(v); err != nil {
		panic(err) // structs of texts, numbers and valid JSON
	}
	_, _ = Exact(w).Write(b.Bytes()) // without a reader there is nothing to report to
}
