package upload

import (
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/processor"
)

// Queue is where uploads are put unless somebody says otherwise.
const Queue = "upload"

// Processor makes the processor of uploads, with options of its own.
func Processor() processor.Processor {
	o := &Options{}
	return processor.Processor{
		Type: JobType, Queue: Queue, Brief: "makes datasets of CSV, NDJSON, XLSX and Parquet files",
		Extensions: []string{".csv", ".tsv", ".tab", ".psv", ".txt", ".ndjson", ".jsonl", ".xlsx", ".parquet", ".gz", ".zst", ".zip"},
		Settings: []processor.Setting{
			{
				Name: "max_record_bytes", Field: "MaxRecordBytes", Bytes: &o.MaxRecordBytes,
				Doc: "The longest record of a CSV, or line of NDJSON; longer ones are rejected. Memory grows to about twice as much.",
			},
			{
				Name: "max_rejected_percent", Field: "MaxRejectedPercent", Count: &o.MaxRejectedPercent,
				Doc: "The share of rejected rows, in percent of all, beyond which an upload fails; -1 for none.",
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
