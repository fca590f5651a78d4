package analysis

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// hookBytes is how often a reading analysis looks at its context, reports
// progress and asks whether a checkpoint is due.
const hookBytes = 64 << 10

// Analyze profiles all of r in one pass. Memory is bounded by MaxRecordBytes
// and MaxStateBytes, not by the file. Errors about the file wrap ErrInput; when
// ctx ends, its cause is returned within one read. p names the file and how to
// read it; its Blob is not used.
func Analyze(ctx context.Context, r io.Reader, p Payload, opts Options) (*Profile, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	st := new(State)
	if err := st.read(ctx, r, p, packed.None, opts, nil); err != nil {
		return nil, err
	}
	if err := st.checkSize(p.Size); err != nil {
		return nil, err
	}
	return st.profile(), nil
}

// Check refuses a file by its first bytes, of which 4 KiB are enough, as an analysis would: before
// it is taken anywhere. What is packed passes. name, which may be empty, is the file's own. Nil is no promise. Its
// error wraps ErrInput.
func Check(name string, head []byte) error { return packed.Look(name, head) }

// read carries the analysis on to the end of src, which begins at st.offset.
// hook is called between records, at least hookBytes apart.
func (st *State) read(ctx context.Context, src io.Reader, p Payload, packing packed.Packing, opts Options, hook func() error) error {
	r, err := st.open(ctx, src, p, packing, opts)
	if err != nil {
		return err
	}
	step := st.step(r, opts)
	next := st.offset + hookBytes
	for {
		more, err := step()
		if err != nil {
			if ctx.Err() != nil && hook != nil { // the read was ended between two records
				return cmp.Or(hook(), err)
			}
			return err
		}
		if !more {
			break
		}
		if st.offset >= next {
			next = st.offset + hookBytes
			// A pause or a drain needs a checkpoint of where it stands, so the
			// hook comes between the look at the context and what is made of it.
			ended := ctx.Err() != nil
			if hook != nil {
				if err := hook(); err != nil {
					return err
				}
			}
			if ended {
				return context.Cause(ctx)
			}
		}
	}
	if st.dialect.Format == table.NDJSON && st.rows == 0 && st.malformed > 0 {
		return table.Refuse("None of the %d lines of this file is a JSON object. NDJSON has one JSON object a line.", st.malformed)
	}
	return nil
}

// open begins to read, once: on resumption the dialect and the columns come from the state.
func (st *State) open(ctx context.Context, src io.Reader, p Payload, packing packed.Packing, opts Options) (*table.Reader, error) {
	o := table.Options{
		Format: p.Format, NoHeader: p.NoHeader, MaxRecordBytes: int(opts.MaxRecordBytes),
		Longer: "Check that the file has lines, or raise the setting analysis.max_record_bytes (MaxRecordBytes) and analyze it again",
	}
	if p.Delimiter != "" {
		o.Delimiter = p.Delimiter[0]
	}
	packing.Describe(&o, p.Name)
	if st.offset > 0 {
		return table.Resume(ctx, src, st.dialect, st.offset, st.records, o), nil
	}
	r, err := table.Open(ctx, src, o)
	if err != nil {
		return nil, err
	}
	if st.dialect = r.Dialect(); st.dialect.Format == table.CSV {
		names, err := r.Names(MaxColumns, maxNameBytes)
		if err != nil {
			return nil, err
		}
		st.cutNames = uint64(names.Cut)
		s := sizesFor(len(names.Names))
		for _, name := range names.Names {
			st.append(newColumn(name, s))
		}
	}
	st.arrive(r)
	return r, nil
}

// arrive notes how far r has come.
func (st *State) arrive(r *table.Reader) {
	st.offset, st.records, st.dialect.Encoding = r.Offset(), r.Records(), r.Encoding()
}

// step returns a function that takes one record or line; it is false at the end.
func (st *State) step(r *table.Reader, opts Options) func() (bool, error) {
	if st.dialect.Format == table.CSV {
		return func() (bool, error) { return st.takeRecord(r) }
	}
	var o objects
	return func() (bool, error) { return st.takeLine(r, &o, opts) }
}

func (st *State) takeRecord(r *table.Reader) (bool, error) {
	fields, more, err := r.Record()
	if err != nil || !more {
		return false, err
	}
	st.arrive(r)
	if len(fields) == 0 {
		return true, nil
	}
	st.rows++
	if len(fields) != len(st.columns) {
		st.addRagged(fields)
	}
	if r.Misquoted() {
		st.malformed++
	}
	if r.Damaged() {
		st.damaged++
	}
	row := uint64(0)
	for i, c := range st.columns[:min(len(st.columns), len(fields))] {
		if hash := c.addCell(fields[i]); hash != 0 {
			row += rowHash(i, hash)
		}
	}
	st.endRow(row)
	return true, nil
}

// addRagged counts a row that has not as many fields as there are columns, unless all that is over
// is empty, as behind a delimiter at the end.
func (st *State) addRagged(fields [][]byte) {
	n := len(st.columns)
	if len(fields) < n || slices.ContainsFunc(fields[n:], func(f []byte) bool { return len(bytes.TrimSpace(f)) > 0 }) {
		st.ragged++
	}
}

func (st *State) takeLine(r *table.Reader, o *objects, opts Options) (bool, error) {
	at := r.Offset()
	line, more, err := r.Line()
	if err != nil || !more {
		return false, err
	}
	st.arrive(r)
	if len(bytes.TrimSpace(line)) == 0 {
		return true, nil
	}
	ok, err := o.add(st, line)
	if err != nil {
		return false, err
	}
	if r.Damaged() {
		st.damaged++
	}
	if !ok {
		st.malformed++
	}
	if st.malformed > uint64(opts.MaxMalformed) {
		return false, table.Refuse("Line %d at byte offset %d is no JSON object, and %d lines before it were none; at most %d are passed over. "+
			"Correct them, or raise the setting analysis.max_malformed (MaxMalformed) and analyze the file again.", st.records, at, st.malformed-1, opts.MaxMalformed)
	}
	return true, nil
}

// checkSize compares what was read with what was announced; 0 announces nothing.
func (st *State) checkSize(want int64) error {
	if want > 0 && st.offset != want {
		return table.Refuse("The file has %d bytes where %d were announced. Upload it again.", st.offset, want)
	}
	return nil
}
