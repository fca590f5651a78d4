// Package transport is the seam between a session and what carries its frames to its
// client. The session decides what goes out, in which order and when; a transport takes one
// frame at a time. So what has not been handed to a transport can still be taken back, and a
// new transport has no queue to look after.
//
// A transport is a room of its own and knows no room that makes sessions: each declares the
// few methods of a session that it calls, and the gateway joins the two.
package transport

import (
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A Frame is one message to a client.
type Frame struct {
	// Text is the JSON that docs/protocol.md describes. It is shared with other sessions
	// and never changed.
	Text []byte
	// Sid names the subscription that the frame is for, and Topic its topic; "": the frame
	// is about the connection. Topic is also "" where the frame ends a subscription.
	Sid   string
	Topic wire.Topic
	// Cursor is the one that the client holds of the subscription once it has the frame;
	// "": none.
	Cursor wire.Cursor
	// Retry is after what time the client comes back when its connection ends, once it has the
	// frame; 0: as it was said before, or as the client chooses.
	Retry time.Duration
}

// A Transport carries a session's frames. The session calls it under its own lock: a
// transport must neither block nor call the session from within a call.
type Transport interface {
	// Write takes a frame. Once it has left the process the transport calls the session's
	// Sent, and only then has it the next one. An error says that the transport is ending,
	// and needs nothing any more.
	Write(Frame) error
	// Close ends the connection in an orderly way; text is for people. It follows the last
	// frame's Sent.
	Close(reason Reason, text string)
	// Refused says that the session has refused something that the client asked for, by a code of
	// docs/protocol.md. The transport logs it with the client's origin.
	Refused(code, text string)
	// Abort ends the connection at once, whatever is unsent. It may be called at any time.
	Abort()
}

// A Reason is why a connection ends: a number of docs/protocol.md, which tells a client
// whether to come back. A WebSocket sends it as its close code.
type Reason int

// Clients come back by themselves after the first group, with a new token or after the
// delay of goodbye after the second, and not at all after the third. A transport may have
// further ones for what its own protocol forbids.
const (
	Restart  Reason = 1012 // the gateway stops or cannot serve it now
	Internal Reason = 1011

	Unauthenticated Reason = 4401
	TooMany         Reason = 4409
	Rate            Reason = 4429

	Protocol Reason = 4400
	Kicked   Reason = 4403
)
