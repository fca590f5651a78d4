package workbook

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// maxShared and maxSharedBytes bound the texts that cells share.
	maxShared      = 1 << 25
	maxSharedBytes = 1 << 30
	// pageBytes is how much is read at once of the temporary files; textPages and indexPages are the most that
	// memory holds of each.
	pageBytes  = 8 << 10
	textPages  = 512
	indexPages = 128
)

// shared are the texts that cells refer to by their number (ECMA-376 part 1, 18.4.9), as fields of a CSV. They are
// in two temporary files: the texts one after the other, and where each begins.
type shared struct {
	texts, index *pages
	count        int64
}

// readShared writes the files. Close what it returns.
func readShared(s *scanner) (_ *shared, err error) {
	all := &shared{}
	defer func() {
		if err != nil {
			err = errors.Join(err, all.close())
		}
	}()
	if all.texts, err = newPages(textPages); err != nil {
		return nil, err
	}
	if all.index, err = newPages(indexPages); err != nil {
		return nil, err
	}
	if err := s.root("sst"); err != nil {
		return nil, err
	}
	if err := all.add(0, nil); err != nil {
		return nil, err
	}
	var raw, room, field []byte
	for {
		t, err := s.next()
		switch {
		case err != nil:
			return nil, err
		case t == end:
			return all, errors.Join(all.texts.flush(), all.index.flush())
		case t != open || s.depth != 2 || string(s.name) != "si":
			continue
		}
		if raw, err = s.content(raw[:0], true); err != nil {
			return nil, err
		}
		if field, room, err = appendText(field[:0], raw, room); err != nil {
			return nil, err
		}
		if all.count++; all.count > maxShared || all.texts.size+int64(len(field)) > maxSharedBytes {
			return nil, table.Refuse("This workbook has more than %d different texts, or they have more than %d MiB, the most that are read. Save the sheet as CSV.", maxShared, maxSharedBytes>>20)
		}
		if err := all.add(all.texts.size+int64(len(field)), field); err != nil {
			return nil, err
		}
	}
}

// add writes a text and where it ends.
func (t *shared) add(ends int64, field []byte) error {
	return errors.Join(t.texts.write(field), t.index.write(binary.LittleEndian.AppendUint64(nil, uint64(ends))))
}

// append appends a text.
func (t *shared) append(dst []byte, i int64) ([]byte, error) {
	if t == nil || i < 0 || i >= t.count {
		return dst, table.Refuse("The workbook is damaged: a cell refers to a text that is not there. %s", saveAgain)
	}
	var room [16]byte
	at, err := t.index.append(room[:0], i*8, 16)
	if err != nil {
		return dst, err
	}
	from, to := int64(binary.LittleEndian.Uint64(at)), int64(binary.LittleEndian.Uint64(at[8:]))
	return t.texts.append(dst, from, int(to-from))
}

func (t *shared) close() error {
	if t == nil {
		return nil
	}
	return errors.Join(t.texts.close(), t.index.close())
}

// pages is a temporary file that is written once, and then read through a cache of its pages. Each page has one
// slot, so that the cache never grows.
type pages struct {
	file  *os.File
	w     *bufio.Writer
	size  int64
	most  int64
	slots []int64 // which page each slot has, plus one
	cache []byte
}

func newPages(most int64) (*pages, error) {
	f, err := os.CreateTemp("", "tidemark-workbook-*")
	if err != nil {
		return nil, fmt.Errorf("keep the texts of the workbook: %w", err)
	}
	_ = os.Remove(f.Name()) // where open files can be removed, nothing is left even after a crash; else close does it
	return &pages{file: f, w: bufio.NewWriterSize(f, 64<<10), most: most}, nil
}

func (p *pages) write(b []byte) error {
	p.size += int64(len(b))
	if _, err := p.w.Write(b); err != nil {
		return fmt.Errorf("keep the texts of the workbook: %w", err)
	}
	return nil
}

func (p *pages) flush() error {
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("keep the texts of the workbook: %w", err)
	}
	p.w = nil
	n := min(p.most, p.size/pageBytes+1)
	p.slots, p.cache = make([]int64, n), make([]byte, n*pageBytes)
	return nil
}

// append appends n bytes at an offset, which are within the file.
func (p *pages) append(dst []byte, at int64, n int) ([]byte, error) {
	for n > 0 {
		number := at / pageBytes
		slot := number % int64(len(p.slots))
		page := p.cache[slot*pageBytes:][:pageBytes]
		if p.slots[slot] != number+1 {
			if _, err := p.file.ReadAt(page, number*pageBytes); err != nil && !errors.Is(err, io.EOF) {
				p.slots[slot] = 0
				return dst, fmt.Errorf("read the texts of the workbook: %w", err)
			}
			p.slots[slot] = number + 1
		}
		page = page[at%pageBytes:]
		page = page[:min(n, len(page))]
		dst = append(dst, page...)
		at, n = at+int64(len(page)), n-len(page)
	}
	return dst, nil
}

func (p *pages) close() error {
	if p == nil {
		return nil
	}
	err := p.file.Close()
	_ = os.Remove(p.file.Name()) // mostly gone already
	return err
}
