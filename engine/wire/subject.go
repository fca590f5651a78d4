package wire

import (
	"bytes"
	"encoding/json"
	"slices"
)

// A Subject is a record's job at the time of the record. The log's entries have it in fields, so a
// gateway can route a record without decoding it.
type Subject struct {
	Job    JobID // "" for a notification
	Type   string
	State  State
	Parent JobID // "" for none
}

// constants are the parts of a job that never change and that the log's entries do not have as
// fields.
type constants struct {
	labels  []byte // a JSON object of strings; nil: none
	created string
}

// readSubject reads a record's subject without decoding it. The script writes a job's members in
// the same order: first those that never change, of which the time of creation is the last.
func readSubject(record []byte) (s Subject, c constants) {
	_, rest, _ := bytes.Cut(record, jobMark)
	id, rest, _ := bytes.Cut(rest, []byte{'"'})
	_, rest, _ = bytes.Cut(rest, []byte{','})   // rev
	_, rest, ok := bytes.Cut(rest, []byte{','}) // texts and labels follow
	if !ok || !bytes.HasPrefix(after(record, typeMark), []byte("job.")) {
		return Subject{}, constants{}
	}
	for c.created == "" && ok {
		var name, value []byte
		name, rest, _ = quoted(rest)
		if rest, ok = bytes.CutPrefix(rest, []byte(`:{`)); ok {
			c.labels = rest
			for len(rest) > 0 && rest[0] == '"' {
				_, rest, _ = quoted(rest)
				_, rest, _ = quoted(bytes.TrimPrefix(rest, []byte{':'}))
				rest = bytes.TrimPrefix(rest, []byte{','})
			}
			rest, ok = bytes.CutPrefix(rest, []byte{'}'})
		} else {
			value, rest, ok = quoted(bytes.TrimPrefix(rest, []byte{':'}))
		}
		rest = bytes.TrimPrefix(rest, []byte{','})
		switch string(name) {
		case "type":
			s.Type = string(value)
		case "parent":
			s.Parent = JobID(value)
		case "created_at":
			c.created = string(value)
		}
	}
	s.Job, s.State = JobID(id), State(after(rest, stateMark))
	return s, c
}

// label reads a label's value.
func (c constants) label(name string) (value string, there bool) {
	for rest := c.labels; len(rest) > 0 && rest[0] == '"'; rest = bytes.TrimPrefix(rest, []byte{','}) {
		var has, text []byte
		has, rest, _ = quoted(rest)
		text, rest, _ = quoted(bytes.TrimPrefix(rest, []byte{':'}))
		if string(has) != name {
			continue
		}
		if bytes.IndexByte(text, '\\') < 0 {
			return string(text), true
		}
		err := json.Unmarshal(slices.Concat([]byte{'"'}, text, []byte{'"'}), &value)
		return value, err == nil
	}
	return "", false
}

// quoted cuts a JSON text off b, and returns it without its quotes, still escaped.
func quoted(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return b[1:i], b[i+1:], true
		}
	}
	return nil, nil, false
}
