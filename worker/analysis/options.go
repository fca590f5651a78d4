package analysis

import (
	"bytes"
	"errors"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/option"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// ErrInput is wrapped by every error that lies in the file or the payload, so
// that trying again cannot help. The error's text is sentences for the person who has the file.
var ErrInput = table.ErrRefused

// Payload says which file to profile and how to read it. It names a blob of the
// bucket, never a path, or a dataset.
type Payload struct {
	// Blob is the file's key in the bucket, at most 1,024 bytes.
	Blob string `json:"blob,omitempty"`
	// Dataset is the ID of the job of type upload that made a dataset of the job's topic, in place of Blob. How it is read is
	// known then, so of the other fields only Name may be set.
	Dataset wire.JobID `json:"dataset,omitempty"`
	// Name is the file's own name. Its extension decides the format where Format
	// is empty; otherwise the content does.
	Name string `json:"name,omitempty"`
	// Size in bytes. An analysis that reads another number fails; 0 is not checked.
	Size int64 `json:"size,omitempty"`
	// SHA256 identifies the content, in hex. A checkpoint made of other content
	// is not resumed. The content is not hashed again.
	SHA256 string `json:"sha256,omitempty"`
	// Format is csv or ndjson; empty means to find out.
	Format string `json:"format,omitempty"`
	// Delimiter of a CSV, one of comma, semicolon, tab and pipe; empty means to
	// find out from the first line.
	Delimiter string `json:"delimiter,omitempty"`
	// NoHeader says that the first record of a CSV is data. Columns are then
	// called column_1, column_2 and so on.
	NoHeader bool `json:"no_header,omitempty"`
}

func (p Payload) validate() error {
	switch {
	case p.Dataset != "" && p != Payload{Dataset: p.Dataset, Name: p.Name}:
		return table.Refuse("The job's payload names a dataset and says more than its name: that is known of a dataset.")
	case p.Dataset != "":
		return nil
	case p.Format != "" && p.Format != table.CSV && p.Format != table.NDJSON:
		return table.Refuse("The format in the job's payload is not known: it is csv, ndjson or empty.")
	case p.Delimiter != "" && (len(p.Delimiter) != 1 || bytes.IndexByte(table.Delimiters, p.Delimiter[0]) < 0):
		return table.Refuse("The delimiter in the job's payload is not known: it is a comma, a semicolon, a tab, a pipe or empty.")
	case p.Size < 0:
		return table.Refuse("The size in the job's payload is %d: it must be at least 0.", p.Size)
	}
	if err := blobs.Check(p.Blob); err != nil {
		return table.Refuse("The blob that the job's payload names cannot be read: %w.", err)
	}
	return nil
}

// Options bound an analysis. The zero value works.
type Options struct {
	// MaxRecordBytes is the longest record of a CSV, or line of NDJSON, with its
	// line ending. Memory grows to about twice as much. Between 1 KiB and 256 MiB;
	// defaults to 1 MiB.
	MaxRecordBytes int64
	// MaxMalformed is how many lines of NDJSON that are no JSON object are passed
	// over before the analysis fails. At most 1,000,000; defaults to 100; -1
	// means none.
	MaxMalformed int
	// MaxUnpackedBytes is the largest text that a packed file, a workbook or a Parquet file may have. Between 1 MiB and 1 PiB; defaults
	// to 64 GiB.
	MaxUnpackedBytes int64
	// MaxRatio is how many times as large as what it was unpacked from a text beyond 32 MiB may be.
	// Between 2 and 100,000; defaults to 200. Of Parquet, whose text repeats the names of its columns, it is fifty
	// times as many.
	MaxRatio int
	// Permanent wraps errors that no retry can mend, those that wrap ErrInput,
	// on their way out of Run. Defaults to leaving them as they are.
	Permanent func(error) error
}

func (o Options) withDefaults() (Options, error) {
	o = o.Defaults()
	err := errors.Join(
		option.Within("MaxRecordBytes", o.MaxRecordBytes, 1<<10, 256<<20),
		option.Within("MaxMalformed", o.MaxMalformed, -1, 1_000_000),
		packed.Validate(o.MaxUnpackedBytes, o.MaxRatio),
	)
	o.MaxMalformed = max(o.MaxMalformed, 0)
	if o.Permanent == nil {
		o.Permanent = func(err error) error { return err }
	}
	return o, err
}
