package stream

import (
	"context"
	"fmt"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A Stream is what a gateway asks of an engine: the records of topics, as they are and as they
// come. Its methods may be called concurrently.
type Stream struct {
	g    *ground.Ground
	tail *tail
}

// New makes the stream of a ground. Package engine makes one; others ask Of.
func New(g *ground.Ground) *Stream { return &Stream{g: g, tail: newTail(g)} }

// An Engine is an *engine.Engine, which this package cannot name: engine is built on it.
type Engine interface {
	Wait(ctx context.Context, id wire.JobID) (wire.Job, error)
}

// Of returns the stream of an *engine.Engine. nil for a nil one. It panics for anything else.
func Of(e Engine) *Stream {
	parts, ok := ground.PartsOf(e)
	if !ok {
		panic(fmt.Sprintf("stream.Of(%T): want an *engine.Engine", e))
	}
	return parts.Stream.(*Stream)
}

// Close ends the tail: iterators of Follow end with ErrClosed. It may be called more than once.
// Wait follows once the ground is closed, since a reader may be asking a silent Redis who it is.
func (st *Stream) Close() error { return st.tail.close() }

// Wait returns when the tail's readers have ended.
func (st *Stream) Wait() { st.tail.readers.Wait() }
