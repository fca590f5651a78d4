package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

const oneALine = "NDJSON has one JSON object a line"

// checkShape refuses JSON that is no NDJSON with the command that makes it so.
func checkShape(head []byte, whole bool) error {
	text := bytes.TrimLeft(head, " \t\r\n")
	if len(text) == 0 {
		return nil
	}
	line, rest, several := bytes.Cut(text, []byte{'\n'})
	switch {
	case text[0] == '[' && several && json.Valid(line) && startsWith(rest, '['):
		return Refuse("Each line of this file is a JSON array. %s: write the fields with their names.", oneALine)
	case text[0] == '[' && isArray(text):
		return Refuse("This is a JSON array. %s: jq -c '.[]' FILE writes it so.", oneALine)
	case text[0] != '{', several && json.Valid(line), !several && !whole:
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	var value json.RawMessage
	switch err := decoder.Decode(&value); {
	case err == nil:
		next := bytes.TrimLeft(text[decoder.InputOffset():], " \t\r\n")
		if bytes.IndexByte(bytes.TrimSpace(value), '\n') < 0 && (len(next) == 0 || next[0] != '{') {
			return nil
		}
	case !errors.Is(err, io.ErrUnexpectedEOF) || whole:
		return nil
	}
	return Refuse("This is JSON, but not one object a line. %s: jq -c . FILE writes it so.", oneALine)
}

// isArray: text begins as an array of JSON does.
func isArray(text []byte) bool {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if _, err := decoder.Token(); err != nil {
		return false
	}
	_, err := decoder.Token()
	return err == nil
}

func startsWith(text []byte, c byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 0 && text[0] == c
}
