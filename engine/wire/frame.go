package wire

import (
	"encoding/json"
	"fmt"
)

// A Frame is any message of a gateway over a WebSocket. docs/protocol.md says which type has which
// fields. Fields that a type does not have are zero.
type Frame struct {
	Type string `json:"type"`
	SID  string `json:"sid"`
	// PingSeconds is set in welcome.
	PingSeconds float64 `json:"ping_seconds"`
	// Mode is set in subscribed, Reason in subscribed and goodbye.
	Mode   string  `json:"mode"`
	Reason Verdict `json:"reason"`
	// Cursor is set in every frame of a subscription except error.
	Cursor Cursor `json:"cursor"`
	// These are set in snapshot.
	Part  int    `json:"part"`
	Final bool   `json:"final"`
	More  string `json:"more"`
	Jobs  []View `json:"jobs"`
	// These are set in records.
	After   Cursor            `json:"after"`
	Records []json.RawMessage `json:"records"`
	// These are set in error.
	Code    string `json:"code"`
	Message string `json:"message"`
	// ReconnectAfterMS is set in goodbye.
	ReconnectAfterMS int64 `json:"reconnect_after_ms"`
}

// A Message is any message of a client over a WebSocket. Fields that its type does not have are
// zero.
type Message struct {
	Type  string `json:"type"`
	Token string `json:"token,omitempty"`
	SID   string `json:"sid,omitempty"`
	Topic Topic  `json:"topic,omitempty"`
	After Cursor `json:"after,omitempty"`
	// Filter is a Filter's JSON: where it is malformed the rest can still be read.
	Filter json.RawMessage `json:"filter,omitempty"`
	// Job once stood for Filter's. A subscribe with it is refused, so that it is not ignored.
	Job   JobID `json:"job,omitempty"`
	Limit int   `json:"limit,omitempty"`
}

// ReadFilter decodes the filter of a subscribe. Its error wraps ErrInvalid.
func (m Message) ReadFilter() (f Filter, err error) {
	if m.Job != "" {
		return f, fmt.Errorf("%w job: want it in filter", ErrInvalid)
	}
	if m.Filter != nil {
		err = json.Unmarshal(m.Filter, &f)
	}
	return f, err
}
