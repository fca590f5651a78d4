package analysis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// findDataset finds a dataset of topic by its ID. The job pins it, so it may be one that is being deleted.
func findDataset(ctx context.Context, bucket *blob.Bucket, topic wire.Topic, id wire.JobID) (*datasets.Manifest, error) {
	m, err := datasets.Held(ctx, bucket, topic, id)
	if errors.Is(err, datasets.ErrNotFound) {
		return nil, table.Refuse("The topic has no such dataset; it may have been deleted.")
	}
	if err != nil {
		return nil, fmt.Errorf("find the dataset: %w", err)
	}
	return m, nil
}

// readDataset carries the analysis on to the dataset's end, from the source's position in the state.
func (st *State) readDataset(ctx context.Context, run Reporter, bucket *blob.Bucket, m *datasets.Manifest) (err error) {
	src, err := st.openDataset(ctx, bucket, m)
	if err != nil {
		return err
	}
	defer func() {
		if closed := src.Close(); err == nil && closed != nil {
			err = fmt.Errorf("close the dataset: %w", closed)
		}
	}()
	var values typed
	row := make([]rows.Value, len(st.columns))
	done, total := src.Progress()
	run.Progress(done, total)
	for next := done + hookBytes; ; {
		switch err := src.Next(ctx, row); {
		case errors.Is(err, io.EOF):
			st.offset, st.sheets = m.Size, m.Sheets
			return nil
		case errors.Is(err, dataset.ErrChanged):
			return table.Refuse("%w.", err)
		case ctx.Err() != nil: // between two rows
			return cmp.Or(st.hookDataset(ctx, run, src), err)
		case err != nil:
			return err
		}
		st.rows++
		hash := uint64(0)
		for i, c := range st.columns {
			if h := values.add(c, row[i]); h != 0 {
				hash += rowHash(i, h)
			}
		}
		st.endRow(hash)
		if done, _ = src.Progress(); done >= next {
			next = done + hookBytes
			if err := st.hookDataset(ctx, run, src); err != nil {
				return err
			}
		}
	}
}

// openDataset goes on at the state's position; where that is another version's, the state begins anew.
func (st *State) openDataset(ctx context.Context, bucket *blob.Bucket, m *datasets.Manifest) (*dataset.Source, error) {
	src, err := dataset.Open(ctx, bucket, m, st.position)
	if st.position != nil && errors.Is(err, dataset.ErrPosition) {
		*st = State{file: st.file}
		src, err = dataset.Open(ctx, bucket, m, nil)
	}
	if err != nil {
		return nil, err
	}
	if st.position == nil {
		st.dialect.Format = m.Format
		s := sizesFor(len(m.Columns))
		for _, c := range m.Columns {
			st.append(newColumn(c.Name, s))
		}
	}
	return src, nil
}

func (st *State) hookDataset(ctx context.Context, run Reporter, src *dataset.Source) (err error) {
	// A pause or a drain needs a checkpoint of where it stands, so the checkpoint comes
	// between the look at the context and what is made of it.
	ended := ctx.Err() != nil
	done, total := src.Progress()
	run.Progress(done, total)
	if run.CheckpointDue() {
		if st.position, err = src.Position(); err != nil {
			return err
		}
		st.offset = done
		if err := run.Checkpoint(st); err != nil {
			return fmt.Errorf("checkpoint after row %d: %w", st.rows, err)
		}
	}
	if ended {
		return context.Cause(ctx)
	}
	return nil
}

// of says how the dataset's file is written.
func (p *Profile) of(m *datasets.Manifest) *Profile {
	p.Packing = m.Packing
	p.Format, p.Encoding, p.Delimiter = m.Format, m.Dialect.Encoding, m.Dialect.Delimiter
	p.Header, p.Skipped = m.Dialect.Header, m.Dialect.Skipped
	return p
}

// typed takes values of a dataset, which have kinds already.
type typed struct {
	text    []byte
	objects objects
}

// add returns the value's hash; 0 of null. Values are hashed and shown as text.
func (t *typed) add(c *column, v rows.Value) uint64 {
	var of table.Value
	t.text = t.text[:0]
	switch v.Kind {
	case rows.Null:
		return 0
	case rows.JSON:
		return t.objects.addValue(c, v.Data)
	case rows.Text, rows.Bytes:
		return t.take(c, table.Value{Kind: table.Text}, v.Data)
	case rows.Decimal:
		return t.take(c, table.OfLiteral(v.Data), v.Data)
	case rows.Int:
		t.text = strconv.AppendInt(t.text, v.Int, 10)
		of = table.OfLiteral(t.text)
	case rows.Float:
		t.text = strconv.AppendFloat(t.text, v.Float, 'g', -1, 64)
		of = table.Value{Kind: table.Number, Num: v.Float}
		if math.IsNaN(v.Float) || math.IsInf(v.Float, 0) {
			of = table.Value{Kind: table.Text}
		}
	case rows.Bool:
		t.text = strconv.AppendBool(t.text, v.Int != 0)
		of.Kind = table.Bool
	case rows.Date:
		of = table.Value{Kind: table.Date, Whole: v.Int * 86400}
		t.text = time.Unix(of.Whole, 0).UTC().AppendFormat(t.text, time.DateOnly)
	case rows.Timestamp:
		at := time.UnixMicro(v.Int).UTC()
		of = table.Value{Kind: table.Timestamp, Whole: at.Unix(), Detail: int32(at.Nanosecond())}
		t.text = at.AppendFormat(t.text, time.RFC3339Nano)
	}
	return t.take(c, of, t.text)
}

func (t *typed) take(c *column, v table.Value, text []byte) uint64 {
	hash := xxhash.Sum64(text) ^ valueSeed
	if it := c.frequent.hit(hash); it != nil {
		c.repeat(it, text)
	} else {
		c.add(hash, v, text)
	}
	return hash
}
