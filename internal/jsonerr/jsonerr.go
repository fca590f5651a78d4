// Package jsonerr words errors of decoding JSON without the text that did not decode:
// encoding/json quotes numbers and names of any length.
package jsonerr

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// Why says where JSON did not decode and what was wanted there. It names a field of the
// type that was decoded into, and no value. Its length is bounded.
func Why(err error) string {
	var (
		syntax   *json.SyntaxError
		mismatch *json.UnmarshalTypeError
		moment   *time.ParseError
	)
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("not JSON: error at byte %d", syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "not JSON: it ends early"
	case errors.As(err, &mismatch):
		return fmt.Sprintf("at byte %d field %q is to be a %s", mismatch.Offset, excerpt.Of(mismatch.Field, maxNameBytes), mismatch.Type.Kind())
	case errors.As(err, &moment):
		return "a time is to be as 2026-01-02T15:04:05Z"
	}
	return "a value does not have the form that its field wants"
}

// UnknownField is the name of a field that json.Decoder.DisallowUnknownFields refused,
// shortened to 64 bytes; "" when err is of something else.
func UnknownField(err error) string {
	name, ok := strings.CutPrefix(err.Error(), `json: unknown field "`)
	if !ok {
		return ""
	}
	return excerpt.Of(strings.TrimSuffix(name, `"`), maxNameBytes)
}

const maxNameBytes = 64
