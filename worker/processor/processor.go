// Package processor describes the job types that come with a program: what its command line, its
// configuration and its page need to know of each. A program has a list of them.
package processor

import (
	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// A Processor is a job type that a program offers beside others.
type Processor struct {
	// Type is the type of its jobs, and the name of its section in the configuration.
	Type string
	// Queue is where its jobs are put unless somebody says otherwise. Workers that register it
	// serve the queue.
	Queue string
	// Brief says what it does in a few words, such as "profiles CSV and NDJSON files".
	Brief string
	// Extensions are those of the files that it reads, such as ".csv", in lower case. The page
	// offers to upload them. None: it reads no uploads.
	Extensions []string

	// Settings are its options, in the order in which they are shown.
	Settings []Setting
	// Defaults sets those that are zero to their default. Nil: there are none.
	Defaults func()
	// Validate checks them as Defaults completes them. Its error joins an *engine.OptionError
	// for each that is out of bounds. Nil: there are none.
	Validate func() error
	// Register gives w the handler of Type. It panics as worker.Handle does. Required.
	Register func(w *worker.Worker, d Deps)
}

// Deps is what a Processor works with.
type Deps struct {
	// Blobs holds uploads and artifacts. It stays open until the worker has stopped.
	Blobs *blob.Bucket
	// Sources are the SQL sources that jobs may name. They are valid.
	Sources []sqlsource.Source
}

// A Setting is an option of a Processor. Each made Processor has its own.
type Setting struct {
	// Name is its key within the section, such as "max_record_bytes"; Field is what Validate
	// calls it.
	Name, Field string
	// Doc says what it is for, in whole sentences.
	Doc string
	// Count or Bytes points to the option, a number or a size: one of the two.
	Count *int
	Bytes *int64
}
