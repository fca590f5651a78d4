// Package rig lets package workertest execute handlers with a real worker.Run that reports to
// memory instead of Redis. It keeps the way in out of package worker's public face.
package rig

import (
	"context"
	"time"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// Jobs is what a run asks of the engine. A *runtime.Runtime is one. Its methods may be called
// concurrently.
type Jobs interface {
	Submit(reports []runtime.Report, done func([]runtime.Ack, error)) error
	Now() time.Time
	Family(ctx context.Context, id engine.JobID, fanOut string) (runtime.Family, error)
	Spawned(ctx context.Context, parent engine.JobID, fanOut string, names []string) ([]bool, error)
	SpawnedOthers(ctx context.Context, parent engine.JobID, fanOut string, names []string, most int) ([]string, error)
	Outcomes(ctx context.Context, parent engine.JobID, fanOut string, names []string) ([]engine.Job, error)
	Spawn(ctx context.Context, parent engine.JobID, fence runtime.Fence, depth int, fanOut string, children []engine.Child) error
}

// An Attempt is one that Execute runs. Each report is submitted at once: ticks do not wait for
// each other, and a checkpoint is due whenever the handler asks.
type Attempt struct {
	Jobs    Jobs
	Job     engine.JobID
	Fence   runtime.Fence
	Started *runtime.Started
	// Blobs is for the run's artifacts.
	Blobs *blob.Bucket
	// Handle gets the *worker.Run.
	Handle func(ctx context.Context, run any) error
	// Begun is called before Handle, with what ends the run's context for a cause.
	Begun func(end func(cause error))
}

// An End is what became of an attempt.
type End struct {
	// Report is the attempt's last one. It was submitted unless Refused says why not.
	Report  runtime.Report
	Refused error
	// Err is what the handler returned, or that it panicked.
	Err error
}

// Execute runs an attempt and returns when its handler has. Package worker sets it.
var Execute func(ctx context.Context, a Attempt) End
