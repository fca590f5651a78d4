package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset"
	"github.com/tidemark-dev/tidemark/worker/internal/format"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/source"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// An opener opens a source before its first row, or, given a position of an earlier attempt, after the row
// where that one stood. Its error wraps dataset.ErrPosition or source.ErrChanged where it cannot go on there.
type opener func(ctx context.Context, position []byte) (rows.Source, error)

// A Summary is the result of an export.
type Summary struct {
	// Artifact is the name of the file.
	Artifact string `json:"artifact"`
	// Rows that the file has, and Read those that the source gave.
	Rows int64 `json:"rows"`
	Read int64 `json:"read"`
	// Columns that the file has.
	Columns int `json:"columns"`
	// Clipped is how many texts are in the file in part: a cell of XLSX has at most 32,767 characters.
	Clipped int64 `json:"clipped,omitempty"`
	// Snapshots are those of a SQL source's database that the rows were read from, the oldest first: one
	// for each attempt that read rows of the file. They take at most 8 KiB; SnapshotsOmitted is how many are
	// left out after the first one.
	Snapshots        []sqlsource.Snapshot `json:"snapshots,omitempty"`
	SnapshotsOmitted int                  `json:"snapshots_omitted,omitempty"`
}

// maxSnapshotsBytes bounds the snapshots in a Summary, as JSON.
const maxSnapshotsBytes = 8 << 10

// A place is how far an export is, at a boundary of its file.
type place struct {
	// Request tells what is exported from anything else.
	Request string `json:"request"`
	// Source is the source's position, File the state of the file's writer.
	Source []byte `json:"source"`
	File   []byte `json:"file"`
	// Rows and Read are as in Summary.
	Rows int64 `json:"rows"`
	Read int64 `json:"read"`
}

// A job is one attempt of an export.
type job struct {
	run     *worker.Run
	open    opener
	request Request
	id      string

	at     place
	source rows.Source
	chosen *selection
	file   *worker.ArtifactWriter
	out    format.Writer
}

// write exports a source, whose rows id stands for, into an artifact of the run. An attempt goes on at the last checkpoint, and the
// file has the same bytes as if nothing had happened, as long as the source gives the same rows. An error
// that no retry mends is permanent.
func write(ctx context.Context, run *worker.Run, open opener, id string, r Request) (err error) {
	j := &job{run: run, open: open, request: r, id: r.id(id)}
	if err := j.begin(ctx); err != nil {
		return failure(ctx, err)
	}
	defer func() { err = errors.Join(err, j.source.Close()) }()
	if err := j.copy(ctx); err != nil {
		return failure(ctx, err)
	}
	if err := j.out.Close(); err != nil {
		return failure(ctx, err)
	}
	if err := j.file.Close(); err != nil {
		return failure(ctx, err)
	}
	s := Summary{Artifact: j.file.Name(), Rows: j.at.Rows, Read: j.at.Read, Columns: len(j.chosen.columns), Clipped: j.out.Clipped()}
	if err := s.list(j.source); err != nil {
		return failure(ctx, err)
	}
	return run.Result(s)
}

// list lists the snapshots that a SQL source was read from.
func (s *Summary) list(from rows.Source) error {
	if _, ok := from.(sqlRows); !ok {
		return nil
	}
	position, err := from.Position()
	if err != nil {
		return err
	}
	if s.Snapshots, s.SnapshotsOmitted, err = source.Snapshots(position); err != nil {
		return err
	}
	for len(s.Snapshots) > 2 {
		text, err := json.Marshal(s.Snapshots)
		if err != nil {
			return err
		}
		if len(text) <= maxSnapshotsBytes {
			break
		}
		s.Snapshots = slices.Delete(s.Snapshots, 1, 2)
		s.SnapshotsOmitted++
	}
	return nil
}

// failure is what an attempt ends with. What ended its context comes before what followed of that.
func failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = fmt.Errorf("export: %w", err)
	if errors.Is(err, format.ErrTooLarge) || errors.Is(err, errRequest) || errors.Is(err, table.ErrRefused) || errors.Is(err, dataset.ErrChanged) || errors.Is(err, worker.ErrArtifactFull) {
		return worker.Permanent(err)
	}
	return err
}

// errRequest is wrapped by what is wrong with a request in the light of its source.
var errRequest = errors.New("the request does not fit the source")

// begin opens source and file, where the last checkpoint was or at their beginning.
func (j *job) begin(ctx context.Context) error {
	resumed, err := j.run.Resume(&j.at)
	if err != nil || j.at.Request != j.id {
		resumed = false
	}
	if resumed {
		err := j.start(ctx, true)
		if !errors.Is(err, format.ErrState) && !errors.Is(err, dataset.ErrPosition) && !errors.Is(err, source.ErrChanged) {
			return err
		}
		// Another version wrote the checkpoint, or the source is another, so the file begins anew.
	}
	j.at = place{Request: j.id}
	return j.start(ctx, false)
}

func (j *job) start(ctx context.Context, resume bool) (err error) {
	if j.source, err = j.open(ctx, j.at.Source); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.source.Close())
		}
	}()
	if j.chosen, err = j.request.selection(j.source.Columns()); err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	o, err := j.request.options()
	if err != nil {
		return err
	}
	// The file is opened after its writer, since the writer knows whether it goes on.
	later := &late{}
	if resume {
		j.out, err = format.Resume(later, j.chosen.columns, o, j.at.File)
	} else if j.out, err = format.New(later, j.chosen.columns, o); err != nil {
		err = fmt.Errorf("%w: %w", errRequest, err)
	}
	if err != nil {
		return err
	}
	name, mediaType := j.request.file()
	if j.file, err = j.run.Artifact(ctx, name, worker.ArtifactOptions{Type: mediaType, FromStart: !resume}); err != nil {
		return err
	}
	later.Writer = j.file
	return nil
}

// late is a Writer that comes later.
type late struct{ io.Writer }

// reportRows is after how many rows the bar moves.
const reportRows = 256

// copy writes the rows that are left.
func (j *job) copy(ctx context.Context) error {
	row, cells := make([]rows.Value, len(j.source.Columns())), make([]rows.Value, len(j.chosen.columns))
	j.run.Progress(j.source.Progress())
	for j.at.Rows < j.chosen.limit {
		err := j.source.Next(ctx, row)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		j.at.Read++
		if j.chosen.has(row) {
			j.chosen.pick(cells, row)
			if err := j.out.Write(cells); err != nil {
				return err
			}
			j.at.Rows++
		}
		if j.at.Read%reportRows == 0 {
			j.run.Progress(j.source.Progress())
		}
		// A row that was not selected leaves the file where it is, so there may be a boundary all the same.
		if j.out.Boundary() && j.run.CheckpointDue() {
			if err := j.checkpoint(); err != nil {
				return err
			}
		}
	}
	j.run.Progress(j.source.Progress())
	return nil
}

func (j *job) checkpoint() (err error) {
	if j.at.Source, err = j.source.Position(); err != nil {
		return err
	}
	if j.at.File, err = j.out.State(); err != nil {
		return err
	}
	return j.run.Checkpoint(&j.at)
}
