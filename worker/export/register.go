package export

import (
	"context"
	"errors"
	"fmt"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/processor"
)

// JobType is the type of the jobs that Register handles; their payload is a Payload.
const JobType = "export"

// Queue is where exports are put unless somebody says otherwise.
const Queue = "export"

// A Payload says what is exported, and how.
type Payload struct {
	// Dataset is the ID of the job of type upload that made the dataset. It is of the export's topic.
	// Required.
	Dataset engine.JobID `json:"dataset"`
	Request
}

// Processor makes the processor of exports.
func Processor() processor.Processor {
	return processor.Processor{
		Type: JobType, Queue: Queue, Brief: "writes datasets as CSV, NDJSON, XLSX and Parquet files",
		Register: func(w *worker.Worker, d processor.Deps) { Register(w, d.Blobs) },
	}
}

// Register makes w run exports of the datasets in bucket, which is also where the worker's Options have its
// artifacts. A job finds the datasets of its own topic alone. Call it before w is started; the bucket must
// stay open until w has stopped. It panics, as worker.Handle does, when w has a handler of JobType.
func Register(w *worker.Worker, bucket *blob.Bucket) {
	worker.Handle(w, JobType, func(ctx context.Context, run *worker.Run, p Payload) error {
		return ofDataset(ctx, run, bucket, p)
	})
}

func ofDataset(ctx context.Context, run *worker.Run, bucket *blob.Bucket, p Payload) error {
	m, err := datasets.Get(ctx, bucket, run.Topic(), p.Dataset)
	switch {
	case errors.Is(err, datasets.ErrNotFound):
		return worker.Permanent(errors.New("export: the topic has no such dataset; it may have been deleted"))
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("export: %w", err)
	}
	open := func(ctx context.Context, position []byte) (rows.Source, error) {
		source, err := dataset.Open(ctx, bucket, m, position)
		if err != nil {
			return nil, err
		}
		return source, nil
	}
	return write(ctx, run, open, string(m.ID)+" "+m.SHA256, p.Request)
}
