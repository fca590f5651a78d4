package stream

import (
	"context"
	"fmt"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A Stream is what a gateway calls of an engine: the records of topics, stored and live. Its
// methods may be called concurrently.
type Stream struct {
	g    *ground.Ground
	tail *tail
}

// New returns the stream of a ground. Only package engine calls it; others use Of.
func New(g *ground.Ground) *Stream { return &Stream{g: g, tail: newTail(g)} }

// An Engine is an *engine.Engine, which this package cannot name: engine is built on it.
type Engine interface {
	Wait(ctx context.Context, id wire.JobID) (wire.Job, error)
}

// Of returns the stream of an *engine.Engine, nil for a nil one. It panics for anything else.
func Of(e Engine) *Stream {
	parts, ok := ground.PartsOf(e)
	if !ok {
		panic(fmt.Sprintf("stream.Of(%T): want an *engine.Engine", e))
	}
	return parts.Stream.(*Stream)
}

// Close ends the tail: iterators of Follow end with ErrClosed. It may be called more than once. The
// caller calls Wait after it has closed the ground, since a reader may wait for a Redis that does
// not answer.
func (st *Stream) Close() error { return st.tail.close() }

// Wait returns when the tail's readers have ended.
func (st *Stream) Wait() { st.tail.readers.Wait() }
