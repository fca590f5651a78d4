package upload

import (
	"bytes"
	"encoding/hex"
	"errors"

	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/option"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// ErrInput is wrapped by every error that lies in the file or the payload, so that trying again cannot help.
// The error's text is sentences for the person who has the file.
var ErrInput = table.ErrRefused

// Payload says which file to make a dataset of, and how to read it. It names a blob of the bucket, never a
// path.
type Payload struct {
	// Blob is the file's key in the bucket, at most 1,024 bytes.
	Blob string `json:"blob"`
	// Name is the file's own, at most 255 bytes, longer ones are cut. Its extension decides the format
	// where Format is empty and the file is not packed; otherwise the content does.
	Name string `json:"name,omitempty"`
	// Size in bytes. A file of another size is refused; 0 is not checked.
	Size int64 `json:"size,omitempty"`
	// SHA256 of the file, in hex. A file with another sum is refused; empty is not checked.
	SHA256 string `json:"sha256,omitempty"`
	// Format is csv or ndjson; empty means to find out.
	Format string `json:"format,omitempty"`
	// Delimiter of a CSV, one of comma, semicolon, tab and pipe; empty means to find out.
	Delimiter string `json:"delimiter,omitempty"`
	// NoHeader says that the first record of a CSV is data. Columns are then called column_1,
	// column_2 and so on.
	NoHeader bool `json:"no_header,omitempty"`
}

func (p Payload) validate() error {
	sum, err := hex.DecodeString(p.SHA256)
	switch {
	case p.Blob == "":
		return table.Refuse("The job's payload names no blob.")
	case p.Format != "" && p.Format != table.CSV && p.Format != table.NDJSON:
		return table.Refuse("The format in the job's payload is not known: it is csv, ndjson or empty.")
	case p.Delimiter != "" && (len(p.Delimiter) != 1 || bytes.IndexByte(table.Delimiters, p.Delimiter[0]) < 0):
		return table.Refuse("The delimiter in the job's payload is not known: it is a comma, a semicolon, a tab, a pipe or empty.")
	case p.Size < 0:
		return table.Refuse("The size in the job's payload is %d: it must be at least 0.", p.Size)
	case p.SHA256 != "" && (err != nil || len(sum) != 32):
		return table.Refuse("The sha256 in the job's payload is none: it is 64 digits of hex or empty.")
	}
	if err := blobs.Check(p.Blob); err != nil {
		return table.Refuse("The blob that the job's payload names cannot be read: %w.", err)
	}
	return nil
}

// Options bound the processing of an upload. The zero value works.
type Options struct {
	// MaxRecordBytes is the longest record of a CSV, or line of NDJSON, with its line ending; longer
	// ones are rejected. Memory grows to about twice as much. Between 1 KiB and 256 MiB; defaults
	// to 1 MiB.
	MaxRecordBytes int64
	// MaxRejectedPercent is the share of rejected rows, in percent of all, beyond which an upload
	// fails. At most 100, which is never; defaults to 10; -1 means that no row may be rejected.
	MaxRejectedPercent int
	// MaxUnpackedBytes is the largest text that a packed file, a workbook or a Parquet file may have. Between 1 MiB and 1 PiB; defaults
	// to 64 GiB.
	MaxUnpackedBytes int64
	// MaxRatio is how many times as large as what it was unpacked from a text beyond 32 MiB may be.
	// Between 2 and 100,000; defaults to 200. Of Parquet, whose text repeats the names of its columns, it is fifty
	// times as many.
	MaxRatio int
	// Permanent wraps errors that no retry can mend, those that wrap ErrInput, on their way out of
	// Run. Defaults to leaving them as they are.
	Permanent func(error) error
}

// Defaults returns o with every zero field set to its default.
func (o Options) Defaults() Options {
	option.Default(&o.MaxRecordBytes, 1<<20)
	option.Default(&o.MaxRejectedPercent, 10)
	packed.Defaults(&o.MaxUnpackedBytes, &o.MaxRatio)
	return o
}

// Validate checks o as Defaults completes it. Its error names the field and the bound.
func (o Options) Validate() error {
	o = o.Defaults()
	return errors.Join(
		option.Within("MaxRecordBytes", o.MaxRecordBytes, 1<<10, 256<<20),
		option.Within("MaxRejectedPercent", o.MaxRejectedPercent, -1, 100),
		packed.Validate(o.MaxUnpackedBytes, o.MaxRatio),
	)
}
