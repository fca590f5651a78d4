package analysis

import (
	"context"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/option"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
	"github.com/tidemark-dev/tidemark/worker/processor"
)

// JobType is the type of the jobs that Register handles; their payload is a Payload.
const JobType = "analysis"

// stages weighs the parts of a run. Of some seconds, writing takes milliseconds: with more weight the
// estimate of the time left would wait for it.
var stages = []worker.Stage{{Name: StageRead, Weight: 99}, {Name: StageWrite, Weight: 1}}

// Register makes w run analyses of the blobs of bucket. Of uploads, a job's payload
// may name those of its own topic, as of datasets, and it may name no artifact. Call it before w is
// started; the bucket must stay open until w has stopped, and w needs Options.Blobs for the profiles. Errors that no retry can mend end
// their job at once, unless o.Permanent says otherwise. It panics, as worker.Handle
// does, when w has a handler of JobType.
func Register(w *worker.Worker, bucket *blob.Bucket, o Options) {
	if o.Permanent == nil {
		o.Permanent = worker.Permanent
	}
	worker.Handle(w, JobType, func(ctx context.Context, run *worker.Run, p Payload) error {
		run.Stages(stages...)
		if err := blobs.Readable(p.Blob, run.Topic()); err != nil && p.Dataset == "" {
			return o.Permanent(table.Refuse("The blob that the job's payload names cannot be read: %w.", err))
		}
		return Run(ctx, reporter{run}, string(run.ID()), bucket, p, o)
	})
}

// reporter is the run of a worker.
type reporter struct{ *worker.Run }

// WriteFile writes the whole file, whatever earlier attempts have written.
func (r reporter) WriteFile(ctx context.Context, name string, data []byte) error {
	out, err := r.Artifact(ctx, name, worker.ArtifactOptions{FromStart: true})
	if err != nil {
		return err
	}
	if _, err := out.Write(data); err != nil {
		return err
	}
	return out.Close()
}

// Defaults returns o with every zero field set to its default.
func (o Options) Defaults() Options {
	option.Default(&o.MaxRecordBytes, 1<<20)
	option.Default(&o.MaxMalformed, 100)
	packed.Defaults(&o.MaxUnpackedBytes, &o.MaxRatio)
	return o
}

// Validate checks o as Defaults completes it. Its error names the field and the
// bound.
func (o Options) Validate() error {
	_, err := o.withDefaults()
	return err
}

// Queue is where analyses are put unless somebody says otherwise.
const Queue = "analysis"

// Processor makes the processor of analyses, with options of its own.
func Processor() processor.Processor {
	o := &Options{}
	return processor.Processor{
		Type: JobType, Queue: Queue, Brief: "profiles CSV, NDJSON, XLSX and Parquet files",
		Extensions: []string{".csv", ".tsv", ".tab", ".psv", ".txt", ".ndjson", ".jsonl", ".xlsx", ".parquet", ".gz", ".zst", ".zip"},
		Settings: []processor.Setting{
			{
				Name: "max_record_bytes", Field: "MaxRecordBytes", Bytes: &o.MaxRecordBytes,
				Doc: "The longest record of a CSV, or line of NDJSON. Memory grows to about twice as much.",
			},
			{
				Name: "max_malformed", Field: "MaxMalformed", Count: &o.MaxMalformed,
				Doc: "How many lines of NDJSON that are no JSON object are passed over before an analysis fails; -1 for none.",
			},
			{
				Name: "max_unpacked_bytes", Field: "MaxUnpackedBytes", Bytes: &o.MaxUnpackedBytes,
				Doc: "The largest text that a packed file, a workbook or a Parquet file may have.",
			},
			{
				Name: "max_ratio", Field: "MaxRatio", Count: &o.MaxRatio,
				Doc: "How many times as large as its packed file a text beyond 32 MiB may be; of Parquet fifty times as many.",
			},
		},
		Defaults: func() { *o = o.Defaults() },
		Validate: func() error { return o.Validate() },
		Register: func(w *worker.Worker, d processor.Deps) { Register(w, d.Blobs, *o) },
	}
}
