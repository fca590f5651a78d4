package upload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// hookBytes is how often a reading run looks at its context, reports progress and asks whether a
	// checkpoint is due.
	hookBytes = 64 << 10
	// maxRejectedText is how much of a rejected row the artifact shows.
	maxRejectedText = 4 << 10
	maxNameBytes    = 255
)

// Check refuses a file by its first bytes, of which 4 KiB are enough, as an upload's job would: before it is taken
// anywhere. What is packed passes. name, which may be empty, is the file's own. Nil is no promise.
func Check(name string, head []byte) error { return packed.Look(name, head) }

// read reads the rest of the file and returns the manifest.
func (u *upload) read(ctx context.Context) (_ *datasets.Manifest, err error) {
	if u.st.Position == nil {
		packing, mediaType, err := packed.Detect(ctx, u.bucket, u.p.Blob)
		if err != nil {
			return nil, err
		}
		u.st.Packing, u.st.MediaType = packing, mediaType
	}
	var p dataset.Position
	if u.st.Position != nil {
		if p, _, err = dataset.ParsePosition(u.st.Position); err != nil {
			return nil, err
		}
	}
	var stream *packed.Stream
	if u.st.Packing == packed.None {
		u.sum.begin(p.Offset)
	}
	if stream, err = packed.Open(ctx, u.bucket, u.p.Blob, u.size, u.st.Packing, packed.Options{
		Offset: p.Offset, NoHeader: u.p.NoHeader, Tee: u.sum, MaxUnpackedBytes: u.o.MaxUnpackedBytes, MaxRatio: u.o.MaxRatio, Settings: JobType,
	}); err != nil {
		return nil, err
	}
	defer func() {
		if closed := stream.Close(); err == nil && closed != nil {
			err = closed
		}
	}()
	scan, err := u.scanner(ctx, stream, p)
	if err == nil {
		err = u.rows(ctx, scan, stream)
	}
	if err != nil {
		return nil, stream.Within(err)
	}
	u.run.Progress(u.size, u.size)
	if got := stream.BlobOffset(); got != u.size {
		return nil, fmt.Errorf("the file ends at byte %d, and has %d", got, u.size)
	}
	m := u.manifest(scan)
	m.Sheets = stream.Sheets()
	return m, nil
}

// scanner begins to read, once: on resumption all comes from the state.
func (u *upload) scanner(ctx context.Context, src io.Reader, p dataset.Position) (*dataset.Scanner, error) {
	o := table.Options{Format: u.p.Format, NoHeader: u.p.NoHeader, MaxRecordBytes: int(u.o.MaxRecordBytes)}
	if u.p.Delimiter != "" {
		o.Delimiter = u.p.Delimiter[0]
	}
	if u.st.Position != nil {
		return dataset.Resume(ctx, src, p, o), nil
	}
	u.st.Packing.Describe(&o, u.p.Name)
	scan, names, err := dataset.Start(ctx, src, o)
	if err != nil {
		return nil, err
	}
	u.schema = dataset.NewSchema(names, nil, 0)
	u.st.Start, u.st.BOM = scan.AppendPosition(nil), scan.Mark()
	return scan, nil
}

// rows takes rows to the end of the file.
func (u *upload) rows(ctx context.Context, scan *dataset.Scanner, stream *packed.Stream) error {
	csv := scan.Dialect().Format == table.CSV
	next := scan.Offset() + hookBytes
	u.run.Progress(stream.BlobOffset(), u.size)
	for {
		found, err := scan.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() != nil: // between two rows
			return u.hook(ctx, scan, stream)
		case err != nil:
			return err
		case found == dataset.Rejected:
			err = u.reject(ctx, scan)
		case found == dataset.Row && csv:
			if u.schema.Fields(scan.Fields); len(u.st.Preview) < previewRows {
				u.st.previewFields(scan.Fields)
			}
		case found == dataset.Row:
			if err = u.schema.Members(scan.Members); err == nil && len(u.st.Preview) < previewRows {
				u.st.previewMembers(u.schema, scan.Members)
			}
		}
		if err != nil {
			return err
		}
		if at := scan.Offset(); at >= next {
			next = at + hookBytes
			if err := u.hook(ctx, scan, stream); err != nil {
				return err
			}
		}
	}
}

// hook reports progress and makes a checkpoint if one is due.
func (u *upload) hook(ctx context.Context, scan *dataset.Scanner, stream *packed.Stream) error {
	// A pause or a drain needs a checkpoint of where it stands, so the checkpoint comes
	// between the look at the context and what is made of it.
	ended := ctx.Err() != nil
	done := stream.BlobOffset()
	if u.st.Packing == packed.None {
		done = scan.Offset()
	}
	u.run.Progress(done, u.size)
	if u.run.CheckpointDue() {
		if err := u.checkpoint(scan); err != nil {
			return err
		}
	}
	if ended {
		return context.Cause(ctx)
	}
	return nil
}

func (u *upload) checkpoint(scan *dataset.Scanner) (err error) {
	st := *u.st
	st.Position = scan.AppendPosition(nil)
	st.Names, st.Cells, st.Rows = u.schema.Names(), u.schema.Cells(), u.schema.Rows()
	if st.Packing == packed.None {
		if st.Sum, st.Summed, err = u.sum.state(); err != nil {
			return err
		}
	}
	if err := u.run.Checkpoint(&st); err != nil {
		return fmt.Errorf("checkpoint at byte offset %d: %w", scan.Offset(), err)
	}
	return nil
}

// reject counts a rejected row and writes it to the artifact.
func (u *upload) reject(ctx context.Context, scan *dataset.Scanner) error {
	if u.rejected == nil {
		w, err := u.run.Open(ctx, RejectedName, u.st.Rejected == 0)
		if err != nil {
			return err
		}
		u.rejected = w
	}
	u.st.Rejected++
	if len(u.st.Rejections) < maxRejections {
		u.st.Rejections = append(u.st.Rejections, datasets.Rejection{Line: scan.Line, Reason: scan.Reason})
	}
	line := struct {
		Line    int64  `json:"line"`
		Reason  string `json:"reason"`
		Text    string `json:"text"`
		Clipped bool   `json:"clipped,omitempty"`
	}{Line: scan.Line, Reason: scan.Reason}
	text := scan.Text
	if len(text) > maxRejectedText {
		text, line.Clipped = clip(text, maxRejectedText), true
	}
	line.Text = strings.TrimRight(string(text), "\r\n")
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = u.rejected.Write(append(b, '\n'))
	return err
}

// manifest describes the dataset, whose file was read to its end.
func (u *upload) manifest(scan *dataset.Scanner) *datasets.Manifest {
	d := scan.Dialect()
	m := &datasets.Manifest{
		ID: u.run.ID(), Topic: u.run.Topic(), Name: string(clip([]byte(u.p.Name), maxNameBytes)),
		Size: u.size, SHA256: u.sum.hex(), MediaType: u.st.MediaType,
		Packing: string(u.st.Packing), UnpackedSize: scan.Offset(), Format: d.Format,
		Dialect: datasets.Dialect{
			Encoding: d.Encoding.String(), BOM: u.st.BOM, Quotes: d.Quotes, Header: d.Header, Skipped: d.Skipped,
		},
		Columns: u.schema.Columns(d.Format), Rows: u.schema.Rows(), Rejected: u.st.Rejected, Rejections: u.st.Rejections,
		Preview: u.st.Preview, CreatedAt: u.run.ID().Time(), MaxRecordBytes: u.o.MaxRecordBytes, Start: u.st.Start,
	}
	if d.Returns {
		m.Dialect.LineEnd = "cr"
	}
	if d.Format == table.CSV {
		m.Dialect.Delimiter = string(rune(d.Delimiter))
	}
	if u.st.Packing == packed.None {
		m.MediaType = map[string]string{table.CSV: "text/csv", table.NDJSON: "application/x-ndjson"}[d.Format] + "; charset=" + m.Dialect.Encoding
	}
	for i, row := range m.Preview { // NDJSON may have brought more columns since
		for len(row) < len(m.Columns) {
			row = append(row, nil)
		}
		m.Preview[i] = row
	}
	return m
}
