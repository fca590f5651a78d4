package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/internal/durable"
	"github.com/tidemark-dev/tidemark/internal/storefault"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// The stages of a run, in order: the file is read, then its bytes are kept. Reading is most of it: 90 to 10 is
// a fair weighting.
const (
	StageRead = "read"
	StageKeep = "keep"
)

// RejectedName is the artifact that has all rejected rows.
const RejectedName = "rejected.ndjson"

// Reporter is what a run needs of the job that it belongs to. It is called from one goroutine.
type Reporter interface {
	ID() wire.JobID
	Topic() wire.Topic
	Stage(name string)
	Unit(unit string)
	Progress(done, total int64)
	Message(text string)
	CheckpointDue() bool
	Checkpoint(state any) error
	Resume(state any) (bool, error)
	Result(v any) error
	// Open opens an artifact, which goes on with what it had at the last checkpoint, unless fromStart
	// is set. Nobody sees it before Close, which is not called after an error.
	Open(ctx context.Context, name string, fromStart bool) (io.WriteCloser, error)
}

// Run makes a dataset of the blob that p names, and hands a Result to run.Result. It resumes from the run's
// checkpoint if that was made of the same file with the same payload, and then ends with the same bytes. When
// ctx ends, its cause is returned within one read of 256 KiB.
//
// Errors about the file wrap ErrInput and have gone through opts.Permanent. The caller owns the bucket.
func Run(ctx context.Context, run Reporter, bucket *blob.Bucket, p Payload, opts Options) error {
	if err := opts.Validate(); err != nil {
		return err
	}
	opts = opts.Defaults()
	opts.MaxRejectedPercent = max(opts.MaxRejectedPercent, 0)
	u := &upload{run: run, bucket: bucket, p: p, o: opts}
	err := u.makeDataset(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		// Storage drivers wrap or replace the cancellation that reached them.
		return context.Cause(ctx)
	case errors.Is(err, ErrInput):
		if opts.Permanent != nil {
			return opts.Permanent(err)
		}
		return err
	}
	return fmt.Errorf("upload: %w", err)
}

// An upload is a run that is going on.
type upload struct {
	run    Reporter
	bucket *blob.Bucket
	p      Payload
	o      Options

	size     int64
	st       *state
	schema   *dataset.Schema
	sum      *digest
	rejected io.WriteCloser // nil until a row is rejected
}

func (u *upload) makeDataset(ctx context.Context) error {
	if err := u.p.validate(); err != nil {
		return err
	}
	u.run.Stage(StageRead)
	u.run.Unit("bytes")
	attrs, err := u.bucket.Attributes(ctx, u.p.Blob)
	if err != nil {
		return table.Missing(err)
	}
	if u.size = attrs.Size; u.p.Size > 0 && u.size != u.p.Size {
		return table.Refuse("The file has %d bytes where %d were announced. Upload it again.", u.size, u.p.Size)
	}
	if err := u.resume(); err != nil {
		return err
	}
	if u.sum, err = newDigest(u.st.Sum, u.st.Summed); err != nil {
		return err
	}
	defer u.sum.stop()
	m, err := u.read(ctx)
	if err != nil {
		return err
	}
	if u.rejected != nil {
		if err := u.rejected.Close(); err != nil {
			return err
		}
	}
	if err := u.judge(m); err != nil {
		return err
	}
	u.run.Stage(StageKeep)
	if err := u.keep(ctx, m); err != nil {
		return err
	}
	return u.run.Result(resultOf(m))
}

// resume takes up the run's checkpoint if it belongs to this file.
func (u *upload) resume() error {
	st := new(state)
	resumed, err := u.run.Resume(st)
	if err != nil {
		return fmt.Errorf("resume from the checkpoint: %w", err)
	}
	switch file := fingerprint(u.p, u.size, u.o.MaxRecordBytes); {
	case resumed && st.Version == stateVersion && st.File == file:
		u.st = st
		u.run.Message("reading the file on from the checkpoint")
	case resumed:
		u.st = &state{Version: stateVersion, File: file}
		u.run.Message("reading the file from the start: the checkpoint is of another one")
	default:
		u.st = &state{Version: stateVersion, File: file}
		u.run.Message("reading the file")
	}
	u.schema = dataset.NewSchema(u.st.Names, u.st.Cells, u.st.Rows)
	return nil
}

// judge refuses a file that is not what was announced, or of which too many rows were rejected.
func (u *upload) judge(m *datasets.Manifest) error {
	if u.p.SHA256 != "" && !strings.EqualFold(u.p.SHA256, m.SHA256) {
		return table.Refuse("The file's SHA-256 is not the one that was announced: it was damaged on its way. Upload it again.")
	}
	if m.Rejected == 0 || m.Rejected*100 <= int64(u.o.MaxRejectedPercent)*(m.Rows+m.Rejected) {
		return nil
	}
	first := m.Rejections[0]
	return table.Refuse("%d of %d rows are rejected, which is more than %d percent. The first is at line %d: %s. "+
		"The job's file %s has them all; correct them and upload the file again, or raise the setting upload.max_rejected_percent (MaxRejectedPercent).",
		m.Rejected, m.Rows+m.Rejected, u.o.MaxRejectedPercent, first.Line, first.Reason, RejectedName)
}

// keepBytes is how much is copied at a time.
const keepBytes = 1 << 20

// keep copies the bytes to where the dataset has them, and writes the manifest.
func (u *upload) keep(ctx context.Context, m *datasets.Manifest) error {
	u.run.Message("keeping the file")
	key := blobs.Dataset(m.Topic, m.ID, blobs.DatasetBytes)
	if key != u.p.Blob {
		// A run that was killed may have left half of it.
		if err := datasets.Tidy(ctx, u.bucket, m.Topic, m.ID); err != nil {
			return fmt.Errorf("keep the file: %w", storefault.Of(err))
		}
		if err := u.copy(ctx, key, m.MediaType); err != nil {
			return err
		}
	}
	if err := datasets.Write(ctx, u.bucket, m); err != nil {
		return fmt.Errorf("keep the dataset: %w", storefault.Of(err))
	}
	u.run.Progress(u.size, u.size)
	return nil
}

// copy gives the dataset the file's bytes: on a disk as a second name of them, elsewhere as a copy.
func (u *upload) copy(ctx context.Context, key, mediaType string) (err error) {
	if blobs.Settled(u.p.Blob) {
		switch linked, err := durable.Link(ctx, u.bucket, key, u.p.Blob); {
		case gcerrors.Code(err) == gcerrors.NotFound:
			return table.Missing(err)
		case err != nil:
			return fmt.Errorf("keep the file: %w", storefault.Of(err))
		case linked:
			return nil
		}
	}
	from, err := u.bucket.NewReader(ctx, u.p.Blob, nil)
	if err != nil {
		return table.Missing(err)
	}
	defer func() {
		if closed := from.Close(); closed != nil && err == nil {
			err = fmt.Errorf("close the blob: %w", storefault.Of(closed))
		}
	}()
	var poured error // has its words, and those of the store quote the key
	err = durable.Write(ctx, u.bucket, key, mediaType, u.size, func(to io.Writer) error {
		poured = u.pour(ctx, to, table.Wordless{Reader: from})
		return poured
	})
	if poured == nil && err != nil {
		return fmt.Errorf("keep the file: %w", storefault.Of(err))
	}
	return poured
}

func (u *upload) pour(ctx context.Context, to io.Writer, from io.Reader) error {
	buf := make([]byte, keepBytes)
	n := int64(0)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		k, err := from.Read(buf)
		if _, failed := to.Write(buf[:k]); failed != nil {
			return fmt.Errorf("keep the file: %w", storefault.Of(failed))
		}
		n += int64(k)
		u.run.Progress(n, u.size)
		if err == io.EOF && n != u.size {
			return fmt.Errorf("the file had %d bytes, and now has %d", u.size, n)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the file again: %w", err)
		}
	}
}
