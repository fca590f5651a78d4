package analysis

import (
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/processor"
)

// Queue is where analyses are put unless somebody says otherwise.
const Queue = "analysis"

// Processor makes the processor of analyses, with options of its own.
func Processor() processor.Processor {
	o := &Options{}
	return processor.Processor{
		Type: JobType, Queue: Queue, Brief: "profiles CSV and NDJSON files",
		Extensions: []string{".csv", ".tsv", ".tab", ".psv", ".txt", ".ndjson", ".jsonl"},
		Settings: []processor.Setting{
			{
				Name: "max_record_bytes", Field: "MaxRecordBytes", Bytes: &o.MaxRecordBytes,
				Doc: "The longest record of a CSV, or line of NDJSON. Memory grows to about twice as much.",
			},
			{
				Name: "max_malformed", Field: "MaxMalformed", Count: &o.MaxMalformed,
				Doc: "How many lines of NDJSON that are no JSON object are passed over before an analysis fails; -1 for none.",
			},
		},
		Defaults: func() { *o = o.Defaults() },
		Validate: func() error { return o.Validate() },
		Register: func(w *worker.Worker, d processor.Deps) { Register(w, d.Blobs, *o) },
	}
}
