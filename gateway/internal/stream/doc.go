// Package stream follows topics for clients: what a session and its subscriptions are,
// whatever transport carries their frames.
//
// # A subscription
//
// The hub subscribes once to each topic that sessions follow, however many they are. The engine's
// tail puts records into the topic's inbox, and a worker of a small pool hands them to the topic's
// subscriptions. A subscription is a [stream.Position] and nothing else: it has no queue and no
// goroutine.
//
//	                    ┌── topic ──┐    ┌─ subscription ─┐    ┌── session ──┐
//	engine's tail ────▶ │   inbox   │ ─▶ │   live         │ ─▶ │   window    │ ─▶ transport
//	                    └───────────┘    │      │ no room, │    └─────────────┘       │
//	topic's stream ── pages, snapshots ▶ │   behind  gap, │           ▲              │
//	                    catch-up pool    └────────────────┘           └──── sent ────┘
//
// A live subscription puts a tailed record whose predecessor is its cursor into the session's
// window, encoded once for all subscriptions at that place. In every other case the subscription is
// behind. The hub then reads what it misses from the topic's stream, a page at a time, when the
// session has room. Subscriptions that need the same page at the same time share one reading
// (flight.go). So a replay after a subscribe, a client that reads slowly, a gap in the tail and a
// restart of Redis are one path, and there is no buffer between replay and tail.
//
// # The window
//
// A session never holds more than a window of frames and bytes. The transport has the window's first
// frame, and gets the next one once that has left the process, which makes room in the window. The
// session drops records that find no room: the stream has them. Only frames that nothing could repeat
// wait in the session's own queue: verdicts, one page of a snapshot, errors and pongs. While frames
// wait there, the session catches nothing up, and the transport stops reading a client that asks for
// more. So neither the client nor its topics decide what a session costs.
//
// The session can take back what the transport does not have yet. When a client renews its
// credentials, the session ends each subscription that they do not cover, and sends nothing more of
// its topic (session.go).
//
// The hub reads a snapshot, too, a page at a time when the session has room. The subscription keeps
// its place in it, a [stream.Paging]. The hub keeps pages for a second, for others that subscribe to
// the topic at the same time (snapshot.go). The session sends the last part once the hub has read the
// page of records behind the cursor, so that they follow at once.
//
// A subscription that is behind conflates: it sends only the newest of a job's ticks in a page, which
// has the job's whole view. It sends all milestones.
//
// # Locks
//
// The order is hub, topic, session. A topic's inbox has a lock of its own, which the engine's tail
// takes and under which no code calls out. The hub's set of sessions has one too, under which no code
// calls a session.
package stream
