package packed

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/gabriel-vasile/mimetype"
	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/internal/storefault"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const headBytes = 4 << 10

// A Packing is how a text is packed.
type Packing string

// The packings.
const (
	None Packing = ""
	Gzip Packing = "gzip"
	Zstd Packing = "zstd"
	Zip  Packing = "zip"
	// XLSX is a workbook, whose first sheet is the text, as CSV.
	XLSX Packing = "xlsx"
	// Parquet is a file of columns, whose rows are the text, as NDJSON.
	Parquet Packing = "parquet"
)

// Describe completes the options that the text of a file of this name is read with: what a packing decides,
// options cannot change.
func (p Packing) Describe(o *table.Options, name string) {
	switch p {
	case XLSX:
		o.Format, o.Delimiter, o.Untitled = table.CSV, ',', true
	case Parquet:
		o.Format, o.Delimiter, o.NoHeader = table.NDJSON, 0, false
	case None:
		o.Name = name
	default:
		for _, end := range []string{".gz", ".zst", ".zip"} {
			name = strings.TrimSuffix(name, end)
		}
		o.Name = name
	}
}

// Look refuses a file by its first bytes, of which 4 KiB are enough, as package table does. What is packed passes.
func Look(name string, head []byte) error {
	if packing, _ := Of(head); packing != None {
		return nil
	}
	return table.Look(name, head)
}

// Detect reads a blob's first 4 KiB, and returns how it is packed and the media type of its bytes.
func Detect(ctx context.Context, bucket *blob.Bucket, key string) (_ Packing, mediaType string, err error) {
	r, err := bucket.NewRangeReader(ctx, key, 0, headBytes, nil)
	if err != nil {
		return None, "", table.Missing(err)
	}
	defer func() {
		if closed := r.Close(); closed != nil && err == nil {
			err = fmt.Errorf("close the blob: %w", storefault.Of(closed))
		}
	}()
	head, err := io.ReadAll(table.Wordless{Reader: r})
	if err != nil {
		return None, "", fmt.Errorf("read the start of the blob: %w", err)
	}
	packing, mediaType := Of(head)
	return packing, mediaType, nil
}

// Of tells from the first 4 KiB of a file how it is packed, and the media type of its bytes.
func Of(head []byte) (_ Packing, mediaType string) {
	book, plain := table.Zip(head)
	switch kind := mimetype.Detect(head); {
	case kind.Is("application/gzip"):
		return Gzip, "application/gzip"
	case kind.Is("application/zstd"):
		return Zstd, "application/zstd"
	case book:
		return XLSX, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	case table.Parquet(head):
		return Parquet, "application/vnd.apache.parquet"
	case plain:
		return Zip, "application/zip"
	default: // Office's other documents are zip archives of a type of their own
		return None, kind.String()
	}
}
