// Package stream follows topics for clients: what a session and its subscriptions are,
// whatever transport carries their frames.
//
// # A subscription
//
// The hub subscribes once to each topic that anybody follows, however many sessions do.
// What the engine's tail brings is put into a topic's inbox, and a worker of a small pool
// hands it to the topic's subscriptions. Each subscription is an [stream.Position] and
// nothing else: no queue of its own, no goroutine.
//
//	                    ┌── topic ──┐    ┌─ subscription ─┐    ┌── session ──┐
//	engine's tail ────▶ │   inbox   │ ─▶ │   live         │ ─▶ │   window    │ ─▶ transport
//	                    └───────────┘    │      │ no room, │    └─────────────┘       │
//	topic's stream ── pages, snapshots ▶ │   behind  gap, │           ▲              │
//	                    catch-up pool    └────────────────┘           └──── sent ────┘
//
// Live, a tailed record whose predecessor is the cursor is encoded, once for all
// subscriptions that are at the same place, and put into the session's window. In
// every other case the subscription is behind, and what it misses is read from the
// topic's stream, a page at a time, when the session has room; subscriptions that need
// the same page at the same time share one reading of it (flight.go). So a page of replay
// after a subscribe, a client that reads slowly, a gap in the tail and a restart of
// Redis are one path, and there is no buffer at the seam.
//
// # The window
//
// A session never holds more than a window of frames and bytes. The transport has the first
// frame of it, and gets the next once that has left the process. Each that has left gives
// its room back. Records that find no room are not kept: the stream has them. Only frames
// that nothing could repeat wait in the session's own queue: verdicts, one page of a
// snapshot, errors and pongs. While any wait the session catches nothing up, and a client
// that goes on asking is not read from. So what a session costs does not depend on what its
// client does or on what happens in its topics.
//
// What the transport does not have yet can be taken back. When a client renews its
// credentials, each subscription that they do not cover ends, and of its topic nothing more
// goes out (session.go).
//
// A snapshot, too, is read a page at a time, when the session has room: the subscription
// keeps its place in it, an [stream.Paging]. Pages are kept for a second, for others who
// subscribed to the topic at the same time (snapshot.go). The last part is sent when the
// page of records behind the cursor has been read, so that they follow it at once.
//
// What is behind is conflated: of a job's ticks in a page only the newest goes out,
// since it carries the job's whole view. Milestones all go out.
//
// # Locks
//
// hub before topic before session. A topic's inbox has a lock of its own, which the
// engine's tail takes and under which nothing is called. The hub's set of sessions has one
// too, under which no session is called.
package stream
