package analysis

import (
	"bytes"
	"context"
	"fmt"
	"io"
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
	if err := st.read(ctx, r, p, opts, nil); err != nil {
		return nil, err
	}
	if err := st.checkSize(p.Size); err != nil {
		return nil, err
	}
	return st.profile(), nil
}

// read carries the analysis on to the end of src, which begins at st.offset.
// hook is called between records, at least hookBytes apart.
func (st *State) read(ctx context.Context, src io.Reader, p Payload, opts Options, hook func() error) error {
	in := newInput(ctx, src, st.offset, int(opts.MaxRecordBytes))
	if st.offset == 0 {
		if err := st.begin(in, p); err != nil {
			return err
		}
	}
	step := st.csvStep(in)
	if st.format == formatNDJSON {
		step = st.ndjsonStep(in, opts)
	}
	next := st.offset + hookBytes
	for {
		more, err := step()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if st.offset >= next {
			next = st.offset + hookBytes
			// Whoever pauses or drains a run wants a checkpoint of where it stands, so the
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
	if st.format == formatNDJSON && st.rows == 0 && st.malformed > 0 {
		return fmt.Errorf("%w: none of its %d lines is a JSON object; %s", ErrInput, st.malformed, allowed)
	}
	return nil
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// begin decides format, delimiter and columns from the file's start, once: on
// resumption they come from the state.
func (st *State) begin(in *input, p Payload) error {
	head, err := in.head()
	if err != nil {
		return err
	}
	if len(head) == 0 {
		return fmt.Errorf("%w: it is empty; %s", ErrInput, allowed)
	}
	if bytes.HasPrefix(head, byteOrderMark) {
		head = head[len(byteOrderMark):]
		in.start += len(byteOrderMark)
	}
	if err := checkText(head); err != nil {
		return err
	}
	if st.format = p.Format; st.format == "" {
		if st.format, err = detectFormat(p.Name, head); err != nil {
			return err
		}
	}
	st.offset = in.offset()
	if st.format == formatNDJSON {
		return nil
	}
	if st.delimiter = detectDelimiter(head); p.Delimiter != "" {
		st.delimiter = p.Delimiter[0]
	}
	st.header = !p.NoHeader
	return st.beginTable(in)
}

// beginTable makes a column for each field of the first record that is not blank.
func (st *State) beginTable(in *input) error {
	sp := &splitter{delimiter: st.delimiter}
	for len(sp.fields) == 0 {
		at := in.offset()
		more, err := in.csvRecord(sp, st.records+1)
		if err != nil {
			return err
		}
		if !more {
			return fmt.Errorf("%w: it has no record, only blank lines; %s", ErrInput, allowed)
		}
		if len(sp.fields) > 0 && !st.header {
			in.start -= int(in.offset() - at) // it is data too: take it again
		}
	}
	names, err := columnNames(sp.fields, st.header)
	if err != nil {
		return err
	}
	s := sizesFor(len(names))
	for _, name := range names {
		st.columns = append(st.columns, newColumn(name, s))
	}
	if st.header {
		st.records++
	}
	st.offset = in.offset()
	return nil
}

// csvStep returns a function that takes one record; it is false at the end.
func (st *State) csvStep(in *input) func() (bool, error) {
	sp := &splitter{delimiter: st.delimiter}
	return func() (bool, error) {
		more, err := in.csvRecord(sp, st.records+1)
		if err != nil || !more {
			st.offset = in.offset()
			return false, err
		}
		st.offset = in.offset()
		if len(sp.fields) == 0 {
			return true, nil
		}
		st.records++
		st.rows++
		if len(sp.fields) != len(st.columns) {
			st.ragged++
		}
		if sp.badQuotes {
			st.malformed++
		}
		for i, c := range st.columns[:min(len(st.columns), len(sp.fields))] {
			c.addCell(sp.fields[i])
		}
		return true, nil
	}
}

// ndjsonStep returns a function that takes one line; it is false at the end.
func (st *State) ndjsonStep(in *input, opts Options) func() (bool, error) {
	var o objects
	return func() (bool, error) {
		at := in.offset()
		line, more, err := in.line(st.records + 1)
		if err != nil || !more {
			return false, err
		}
		st.records++
		if len(bytes.TrimSpace(line)) > 0 {
			ok, err := o.add(st, line)
			if err != nil {
				return false, fmt.Errorf("line %d at byte offset %d: %w", st.records, at, err)
			}
			if !ok {
				st.malformed++
			}
			if st.malformed > uint64(opts.MaxMalformed) {
				return false, fmt.Errorf("%w: line %d at byte offset %d is no JSON object, and %d lines before it were none; "+
					"at most %d are passed over, raise MaxMalformed (the setting analysis.max_malformed) for more", ErrInput, st.records, at, st.malformed-1, opts.MaxMalformed)
			}
		}
		st.offset = in.offset()
		return true, nil
	}
}

// checkSize compares what was read with what was announced; 0 announces nothing.
func (st *State) checkSize(want int64) error {
	if want > 0 && st.offset != want {
		return fmt.Errorf("%w: read %d bytes where the job's payload says %d; upload the file again", ErrInput, st.offset, want)
	}
	return nil
}
