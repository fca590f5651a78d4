package datasets

import (
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A Manifest describes a dataset, in the form in which the store keeps it and clients
// see it.
type Manifest struct {
	// ID is the job's that made the dataset, Topic the owner.
	ID    wire.JobID `json:"id"`
	Topic wire.Topic `json:"topic"`
	// Name is the file's own, at most 255 bytes; empty where nobody has told it.
	Name string `json:"name,omitempty"`
	// Size in bytes and SHA256 in hex are those of the bytes as they were uploaded.
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// MediaType is that of the bytes, such as text/csv or application/gzip.
	MediaType string `json:"media_type"`
	// Packing is gzip, zstd, zip, xlsx or parquet; empty where the bytes are the table's own. UnpackedSize is
	// the table's size in bytes. Sheets is how many sheets a workbook shows, of which the table is the first.
	Packing      string `json:"packing,omitempty"`
	UnpackedSize int64  `json:"unpacked_size"`
	Sheets       int    `json:"sheets,omitempty"`
	// Format is csv or ndjson.
	Format  string   `json:"format"`
	Dialect Dialect  `json:"dialect"`
	Columns []Column `json:"columns"`
	// Rows counts those of the dataset, Rejected those that are none of it.
	Rows     int64 `json:"rows"`
	Rejected int64 `json:"rejected"`
	// Rejections are the first 100 of them.
	Rejections []Rejection `json:"rejections,omitempty"`
	// Preview has the first 20 rows, or fewer where they are long. Cells are text as in the file,
	// clipped to 100 bytes; nil is null.
	Preview   [][]*string `json:"preview"`
	CreatedAt time.Time   `json:"created_at"`

	// MaxRecordBytes is the longest record that was read.
	MaxRecordBytes int64 `json:"max_record_bytes,omitempty"`
	// Start is where the first row begins, opaque to all but the dataset's reader.
	Start []byte `json:"start,omitempty"`
	// Deleting says that Delete has begun.
	Deleting bool `json:"deleting,omitempty"`
}

// A Dialect is how the table is written.
type Dialect struct {
	// Encoding is utf-8, utf-16le, utf-16be or windows-1252.
	Encoding string `json:"encoding"`
	// BOM: the table begins with a byte-order mark.
	BOM bool `json:"bom,omitempty"`
	// LineEnd is cr where lines end in a carriage return alone.
	LineEnd string `json:"line_end,omitempty"`

	// Of a CSV alone: Delimiter cuts fields, Quotes says that a quote opens a field that begins with
	// it, Header that the names of the columns come from the file, and Skipped counts the lines
	// above them that were passed over.
	Delimiter string `json:"delimiter,omitempty"`
	Quotes    bool   `json:"quotes,omitempty"`
	Header    bool   `json:"header,omitempty"`
	Skipped   int    `json:"skipped,omitempty"`
}

// A Column has a name of its own.
type Column struct {
	Name string `json:"name"`
	// Kind is text, integer, float, decimal, boolean, date, timestamp or json.
	Kind     string `json:"kind"`
	Nullable bool   `json:"nullable,omitempty"`
}

// A Rejection says why a row is none of the dataset.
type Rejection struct {
	// Line is the number of the line at which the row begins, from 1.
	Line   int64  `json:"line"`
	Reason string `json:"reason"`
}
