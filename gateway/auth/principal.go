package auth

import (
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Rights are what may be done with a topic; a set of bits.
type Rights uint8

// The rights.
const (
	// Read is seeing the topic's records and jobs.
	Read Rights = 1 << iota
	// Enqueue is making jobs for the topic, and schedules that do.
	Enqueue
	// Control is canceling the topic's jobs, and deleting its schedules.
	Control
)

// A Grant gives rights on topics.
type Grant struct {
	// Topics is one topic ("user:42"), all of a kind ("team:*") or all ("*").
	Topics string
	Rights Rights
}

// A Principal is who sends a request. It is never changed after it was made, so it
// may be shared.
type Principal struct {
	// Subject names the user for good, and is what limits count by and what tells
	// a renewed token from another user's. Required.
	Subject string
	// Credential names what the principal was known by, such as a token's ID: for good, and
	// never the secret itself. What is live is found by it. "" where there are none to tell
	// apart.
	Credential string
	// Admin may do everything, with every topic, and see the gateway's own pages.
	Admin bool
	// Grants are what everybody else may do.
	Grants []Grant
	// Issued is when the credentials were made: those that were made before their subject was
	// kicked are no longer valid. Zero: nobody knows, and a subject that was kicked cannot come in for a
	// day. A revocation is kept for wire.RevocationHold, so an Authenticator whose credentials live longer
	// refuses by then itself what was revoked.
	Issued time.Time
	// Expires is when the credentials end; zero: not by themselves.
	Expires time.Time
}

// May reports whether the principal has all of the rights on a topic. The rights may
// come from several grants. Nobody, which is nil, has none.
func (p *Principal) May(r Rights, t wire.Topic) bool {
	if p == nil {
		return false
	}
	if p.Admin {
		return true
	}
	var held Rights
	for _, g := range p.Grants {
		if t.In(g.Topics) {
			held |= g.Rights
		}
	}
	return held&r == r
}
