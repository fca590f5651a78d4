package export

import (
	"context"
	"errors"
	"fmt"
	"io"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/source"
	"github.com/tidemark-dev/tidemark/worker/processor"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// JobType is the type of the jobs that Register handles; their payload is a Payload.
const JobType = "export"

// Queue is where exports are put unless somebody says otherwise.
const Queue = "export"

// A Payload says what is exported, and how.
type Payload struct {
	// Dataset is the ID of the job of type upload that made the dataset. It is of the export's topic.
	// It, or Source, is required.
	Dataset engine.JobID `json:"dataset,omitempty"`
	// Source is the name of a SQL source of the worker that may be exported on the job's topic.
	Source string `json:"source,omitempty"`
	// Params are the values of the source's parameters, a text of at most 4 KiB for each of them.
	Params map[string]string `json:"params,omitempty"`
	Request
}

// Validate checks what can be checked without the dataset or the source. Its error names the field and the
// bound.
func (p Payload) Validate() error {
	var wrong error
	switch {
	case p.Dataset == "" && p.Source == "":
		wrong = errors.New("dataset or source: one of them says which rows are exported")
	case p.Dataset != "" && p.Source != "":
		wrong = errors.New("dataset and source: want one of them")
	case p.Dataset != "" && len(p.Params) > 0:
		wrong = errors.New("params: only a source has them")
	}
	return errors.Join(wrong, p.Request.Validate())
}

// Processor makes the processor of exports.
func Processor() processor.Processor {
	return processor.Processor{
		Type: JobType, Queue: Queue, Brief: "writes datasets and SQL sources as CSV, NDJSON, XLSX and Parquet files",
		Register: func(w *worker.Worker, d processor.Deps) { Register(w, d.Blobs, d.Sources...) },
	}
}

// Register makes w run exports of the datasets in bucket, which is also where the worker's Options have its
// artifacts, and of sources. A job finds the datasets of its own topic alone, and the sources whose Topics
// have its own. Call it before w is started; the bucket must stay open until w has stopped. It panics, as
// worker.Handle does, when w has a handler of JobType, and when ValidateSources refuses sources.
func Register(w *worker.Worker, bucket *blob.Bucket, sources ...sqlsource.Source) {
	set, err := source.New(sources)
	if err != nil {
		panic(err)
	}
	worker.Handle(w, JobType, (&handler{bucket, set}).run)
}

// A handler runs exports.
type handler struct {
	bucket  *blob.Bucket
	sources *source.Set
}

func (h *handler) run(ctx context.Context, run *worker.Run, p Payload) error {
	if err := p.Validate(); err != nil {
		return worker.Permanent(fmt.Errorf("export: %w", err))
	}
	if p.Source != "" {
		run.Unit("rows")
		return write(ctx, run, h.ofSource(run.Topic(), p), "source "+p.Source, p.Request)
	}
	// The job pins it, so it may be one that is being deleted.
	m, err := datasets.Held(ctx, h.bucket, run.Topic(), p.Dataset)
	switch {
	case errors.Is(err, datasets.ErrNotFound):
		return worker.Permanent(errors.New("export: the topic has no such dataset; it may have been deleted"))
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("export: %w", err)
	}
	run.Unit("bytes")
	return write(ctx, run, h.ofDataset(m), string(m.ID)+" "+m.SHA256, p.Request)
}

func (h *handler) ofDataset(m *datasets.Manifest) opener {
	return func(ctx context.Context, position []byte) (rows.Source, error) {
		s, err := dataset.Open(ctx, h.bucket, m, position)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

func (h *handler) ofSource(topic engine.Topic, p Payload) opener {
	// A source that the topic may not export is as unknown as one that is not there.
	own := h.sources.For(topic)
	return func(ctx context.Context, position []byte) (rows.Source, error) {
		s, err := own.Open(ctx, p.Source, p.Params, position)
		if err != nil {
			return nil, sourceFailure(err)
		}
		return sqlRows{s}, nil
	}
}

// sqlRows are the rows of a SQL source, whose errors say whether a retry may mend them.
type sqlRows struct{ *source.Source }

func (s sqlRows) Next(ctx context.Context, row []rows.Value) error {
	if err := s.Source.Next(ctx, row); err != nil {
		return sourceFailure(err)
	}
	return nil
}

// sourceFailure makes permanent what an admin has to mend.
func sourceFailure(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, source.ErrChanged), source.Temporary(err):
		return err
	case errors.Is(err, source.ErrUnknown):
		err = errors.New("the topic has no such source")
	}
	return worker.Permanent(err)
}
