package wire

import (
	"bytes"
	"encoding/json"
	"slices"
)

// A Subject is the job that a record is about, as it then was. The log's entries have it as
// fields, so that a record is passed on without being taken apart.
type Subject struct {
	Job    JobID // "": none, of a notification
	Type   string
	State  State
	Parent JobID // "": none
}

// constants are what never changes of a job, and its log entries do not have as fields.
type constants struct {
	labels  []byte // a JSON object of strings; nil: none
	created string
}

// readSubject reads what a record is about, without decoding it: the script writes a job's
// members in the same order, those that never change first and the time of its creation as
// the last of them.
func readSubject(record []byte) (s Subject, c constants) {
	_, rest, _ := bytes.Cut(record, jobMark)
	id, rest, _ := bytes.Cut(rest, []byte{'"'})
	_, rest, _ = bytes.Cut(rest, []byte{','})   // rev
	_, rest, ok := bytes.Cut(rest, []byte{','}) // what follows it are texts, and labels
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

// quoted cuts a JSON text off b, and gives it without its quotes, but not unescaped.
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
