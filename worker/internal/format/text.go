package format

import (
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// textFile writes CSV and NDJSON.
type textFile struct {
	core
	lines
	pack packer
	// block has the lines of rows that are not in the file yet.
	block []byte
	// begun: the file has a block.
	begun bool
}

// lines make rows text.
type lines interface {
	// header appends what comes before the first row.
	header(block []byte) []byte
	// line appends a row. what says what is wrong with the value of a column, if anything is.
	line(block []byte, row []rows.Value) (_ []byte, column int, what string)
}

func newText(c core) *textFile {
	f := &textFile{core: c, pack: newPacker(c.options.Compression)}
	if c.options.Format == CSV {
		f.lines = newCSV(c.columns, c.options)
	} else {
		f.lines = newNDJSON(c.columns)
	}
	return f
}

func (f *textFile) begin() { f.block = f.header(nil) }

func (f *textFile) restore(d *decoder) {
	f.rows = d.count()
	f.pack.restore(d)
	f.begun = true
}

func (f *textFile) Write(row []rows.Value) error {
	if err := f.check(row); err != nil {
		return err
	}
	block, column, what := f.line(f.block, row)
	if what != "" {
		return f.wrong(column, what)
	}
	if f.block = block; len(block) < f.limits.block {
		return nil
	}
	return f.flush(false)
}

// flush writes the block and, at last, the file's end.
func (f *textFile) flush(last bool) error {
	out, err := f.pack.block(f.block, !f.begun)
	if err != nil {
		return f.fail(err)
	}
	if last {
		out = f.pack.end(out)
	}
	f.begun = true
	f.block = emptied(f.block)
	return f.put(out)
}

// emptied returns the block's memory for the next one, unless a row made it far larger than a block is.
func emptied(block []byte) []byte {
	if cap(block) > 4*theLimits.block {
		return nil
	}
	return block[:0]
}

func (f *textFile) Boundary() bool {
	return f.begun && len(f.block) == 0 && !f.closed && f.err == nil
}

func (f *textFile) State() ([]byte, error) { return f.state(f.Boundary(), f.pack.save) }

func (f *textFile) Clipped() int64 { return 0 }

func (f *textFile) Close() error {
	if err := f.finish(); err != nil {
		return err
	}
	return f.flush(true)
}
