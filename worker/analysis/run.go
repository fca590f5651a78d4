package analysis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"
	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// The stages of a run, in order.
const (
	StageRead  = "read"
	StageWrite = "write"
)

// Reporter is what a run needs of the job that it belongs to; *worker.Run is
// one. It is called from one goroutine.
type Reporter interface {
	// Topic is the owner of the datasets that the run may read.
	Topic() wire.Topic
	Stage(name string)
	Unit(unit string)
	Progress(done, total int64)
	Message(text string)
	CheckpointDue() bool
	Checkpoint(state any) error
	Resume(state any) (bool, error)
	Result(v any) error
	// WriteFile writes an artifact of the job.
	WriteFile(ctx context.Context, name string, data []byte) error
}

// ProfileName is the profile's name among the artifacts of its job.
const ProfileName = "profile.json"

// Run profiles the blob that p names, writes the profile as the artifact ProfileName, for people as ReportName,
// and hands a Summary to run.Result. It resumes from the run's checkpoint if
// that was made of the same file with the same options by the same version of this package, and then ends with the
// same bytes. When ctx ends, its cause is returned within one
// read of 256 KiB.
//
// Errors about the file wrap ErrInput and have gone through opts.Permanent. The
// caller owns the bucket.
func Run(ctx context.Context, run Reporter, jobID string, bucket *blob.Bucket, p Payload, opts Options) error {
	opts, err := opts.withDefaults()
	if err != nil {
		return err
	}
	err = makeProfile(ctx, run, jobID, bucket, p, opts)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		// Storage drivers wrap or replace the cancellation that reached them.
		return context.Cause(ctx)
	case errors.Is(err, ErrInput):
		return opts.Permanent(err)
	}
	return fmt.Errorf("analyze: %w", err)
}

func makeProfile(ctx context.Context, run Reporter, jobID string, bucket *blob.Bucket, p Payload, opts Options) error {
	if err := p.validate(); err != nil {
		return err
	}
	switch {
	case p.Blob == "" && p.Dataset == "":
		return table.Refuse("The job's payload names neither a blob nor a dataset.")
	case jobID == "" || strings.ContainsAny(jobID, `/\`) || strings.HasPrefix(jobID, "."):
		// It becomes part of the profile's ID.
		return table.Refuse("The job's ID must be one path segment.")
	}
	run.Stage(StageRead)
	run.Unit("bytes")
	profile, err := readAll(ctx, run, bucket, p, opts)
	if err != nil {
		return err
	}
	run.Stage(StageWrite)
	run.Message("writing the profile")
	text, err := profile.encode()
	if err != nil {
		return fmt.Errorf("encode the profile: %w", err)
	}
	page, err := profile.HTML(p.Name)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	// The report comes first, so that a job with a profile has both.
	files := map[string]Artifact{}
	for _, f := range []struct {
		name string
		data []byte
	}{{ReportName, page}, {ProfileName, text}} {
		if err := run.WriteFile(ctx, f.name, f.data); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
		files[f.name] = Artifact{ID: blobs.ArtifactID(wire.JobID(jobID), f.name), Size: int64(len(f.data))}
	}
	run.Progress(1, 1)
	summary := summarize(profile, files[ProfileName])
	summary.Report = files[ReportName]
	summary.Uploaded = strings.HasPrefix(p.Blob, blobs.Incoming+"/")
	return run.Result(summary)
}

// readAll reads the blob or the dataset to its end.
func readAll(ctx context.Context, run Reporter, bucket *blob.Bucket, p Payload, opts Options) (*Profile, error) {
	if p.Dataset != "" {
		m, err := findDataset(ctx, bucket, run.Topic(), p.Dataset)
		if err != nil {
			return nil, err
		}
		st, err := resume(run, fingerprint(Payload{Blob: string(m.ID), SHA256: m.SHA256}))
		if err != nil {
			return nil, err
		}
		if err := st.readDataset(ctx, run, bucket, m); err != nil {
			return nil, err
		}
		run.Progress(m.Size, m.Size)
		return st.profile().of(m), nil
	}
	st, err := resume(run, fingerprint(p))
	if err != nil {
		return nil, err
	}
	size, err := blobSize(ctx, bucket, p)
	if err != nil {
		return nil, err
	}
	packing, err := readBlob(ctx, run, bucket, st, size, p, opts)
	if err != nil {
		return nil, err
	}
	run.Progress(size, size)
	profile := st.profile()
	profile.Packing = string(packing)
	return profile, nil
}

// resume takes up the run's checkpoint if it belongs to this file.
func resume(run Reporter, file uint64) (*State, error) {
	st := new(State)
	resumed, err := run.Resume(st)
	if errors.Is(err, ErrStateVersion) {
		run.Message("reading the file from the start: the checkpoint is of another version")
		return &State{file: file}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("resume from the checkpoint: %w", err)
	}
	switch {
	case !resumed:
		st = &State{}
		run.Message("reading the file")
	case st.file != file:
		st = &State{}
		run.Message("reading the file from the start: the checkpoint is of another one")
	default:
		run.Message(fmt.Sprintf("reading the file on from byte %d", st.offset))
	}
	st.file = file
	return st, nil
}

// fingerprint covers all that a state depends on. Limits are not part of it: a
// job that failed at one goes on when it is tried again with a higher one.
func fingerprint(p Payload) uint64 {
	return xxhash.Sum64String(fmt.Sprintf("%q %q %d %q %q %q %t", p.Blob, p.Name, p.Size, p.SHA256, p.Format, p.Delimiter, p.NoHeader))
}

func blobSize(ctx context.Context, bucket *blob.Bucket, p Payload) (int64, error) {
	attrs, err := bucket.Attributes(ctx, p.Blob)
	if err != nil {
		return 0, table.Missing(err)
	}
	if p.Size > 0 && attrs.Size != p.Size {
		return 0, table.Refuse("The file has %d bytes where %d were announced. Upload it again.", attrs.Size, p.Size)
	}
	return attrs.Size, nil
}

// readBlob reads the blob's text on, which may be packed, from the state's offset in it.
func readBlob(ctx context.Context, run Reporter, bucket *blob.Bucket, st *State, size int64, p Payload, opts Options) (packing packed.Packing, err error) {
	packing, _, err = packed.Detect(ctx, bucket, p.Blob)
	if err != nil {
		return packing, err
	}
	src, err := packed.Open(ctx, bucket, p.Blob, size, packing, packed.Options{
		Offset: st.offset, NoHeader: p.NoHeader, MaxUnpackedBytes: opts.MaxUnpackedBytes, MaxRatio: opts.MaxRatio, Settings: JobType,
	})
	if err != nil {
		return packing, err
	}
	defer func() {
		if closed := src.Close(); closed != nil {
			err = errors.Join(err, closed)
		}
	}()
	progress := func() {
		if packing == packed.None {
			run.Progress(st.offset, size)
		} else {
			run.Progress(src.BlobOffset(), size)
		}
	}
	progress()
	err = st.read(ctx, src, p, packing, opts, func() error {
		progress()
		if !run.CheckpointDue() {
			return nil
		}
		if err := run.Checkpoint(st); err != nil {
			return fmt.Errorf("checkpoint at byte offset %d: %w", st.offset, err)
		}
		return nil
	})
	if err != nil {
		return packing, src.Within(err)
	}
	st.sheets = src.Sheets()
	if packing == packed.None {
		return packing, st.checkSize(size)
	}
	return packing, nil
}
