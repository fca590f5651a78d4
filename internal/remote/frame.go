package remote

import (
	"encoding/json"

	"github.com/tidemark-dev/tidemark/engine"
)

// A frame is any message of the gateway. Fields that its type does not have are zero.
type frame struct {
	Type string `json:"type"`
	SID  string `json:"sid"`
	// welcome
	PingSeconds float64 `json:"ping_seconds"`
	// subscribed; Reason is goodbye's as well
	Mode   string         `json:"mode"`
	Reason engine.Verdict `json:"reason"`
	// of every frame of a subscription but error
	Cursor engine.Cursor `json:"cursor"`
	// snapshot
	Part  int               `json:"part"`
	Final bool              `json:"final"`
	More  string            `json:"more"`
	Jobs  []json.RawMessage `json:"jobs"`
	// records
	After   engine.Cursor     `json:"after"`
	Records []json.RawMessage `json:"records"`
	// error
	Code    string `json:"code"`
	Message string `json:"message"`
	// goodbye
	ReconnectAfterMS int64 `json:"reconnect_after_ms"`
}

type subscribeMessage struct {
	Type  string        `json:"type"`
	SID   string        `json:"sid"`
	Topic engine.Topic  `json:"topic"`
	After engine.Cursor `json:"after,omitempty"`
	Job   engine.JobID  `json:"job,omitempty"`
	Limit int           `json:"limit,omitempty"`
}

type unsubscribeMessage struct {
	Type string `json:"type"`
	SID  string `json:"sid"`
}

// maxFrameBytes is what the protocol allows a frame, and room for a gateway of
// tomorrow.
const maxFrameBytes = 256<<10 + 64<<10
