// Package gateway is Tidemark's server: browsers and programs follow topics over its
// WebSocket and ask for jobs over HTTP. docs/protocol.md is what they are promised.
//
// The package puts rooms together, none of which knows another:
//
//	internal/stream     what follows: sessions, subscriptions, catching up
//	internal/ws         a session's transport over WebSockets
//	internal/feed       the same in answers: server-sent events and long polls
//	internal/upload     files that arrive, over tus
//	internal/control    which credentials are revoked
//	internal/api        jobs, schedules, snapshots and artifacts, over HTTP
//
// What two of them need is a leaf under them: internal/transport is the seam between a
// session and what carries it, internal/access knows who uses what, internal/problem words
// refusals. A transport of another kind is a room beside these and a line in routes.go.
//
// The package itself is the routes and what comes before them, the page, asynq's UI,
// the probes, and the drain.
package gateway
