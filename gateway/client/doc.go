// Package client is a client of the gateway: docs/protocol.md in Go, for the command
// line.
//
// A [Client] has the methods of an [an engine] that readers and producers use,
// with the same types and the same errors to branch on, so that a command need not know
// which of the two it has.
//
// Follow keeps one WebSocket with one subscription. Its state is the cursor of the last
// frame that was handed on whole; everything else can be lost and is:
//
//	away ──dial──▶ subscribing ──subscribed──▶ following ──live──▶ following
//	  ▲                                            │ after is not the cursor:
//	  │                                            │ a new subscription from the cursor
//	  └───────── closed, goodbye, silent ──────────┘
//
// A gateway that is away is waited for, with growing and random delays, or for as long
// as its goodbye asked. A refusal that another try will not change is an error.
package client
