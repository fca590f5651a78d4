package columnar_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/tidemark-dev/tidemark/worker/internal/dataset/columnar"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// counting counts how often the context is looked at.
type counting struct {
	context.Context //nolint:containedctx // it is one
	n               int
}

func (c *counting) Err() error {
	c.n++
	return c.Context.Err()
}

func TestTheContextIsLookedAtWithinARow(t *testing.T) {
	t.Parallel()
	looks := func(items uint64) int {
		file, ctx := endless(items, []byte("x")).file(t), &counting{Context: t.Context()}
		r, err := columnar.Open(ctx, bytes.NewReader(file), int64(len(file)))
		if err == nil {
			_, err = r.Read(make([]byte, 10))
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		return ctx.n
	}
	// The short row is followed by a look for the next group.
	if more := looks(200_000) - looks(2) + 1; more != 3 {
		t.Errorf("%d looks in 200,000 values", more)
	}
}

func TestRowGroupsThatOverlapAreRefused(t *testing.T) {
	t.Parallel()
	c := wide(1)
	c.rows, c.pages[0] = 1000, []page{plain(1000, format.Plain, make([]byte, 4000))}
	c.meta = func(m *format.FileMetaData) {
		for range 9 {
			m.RowGroups = append(m.RowGroups, m.RowGroups[0])
		}
		m.NumRows = 10_000
	}
	got, err := readAll(t, c.file(t))
	if rows := strings.Count(got, "\n"); rows != 1000 || !errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), "more bytes than the file") {
		t.Errorf("%v after %d rows", err, rows)
	}
}

func TestLongHeadersAreLetGo(t *testing.T) {
	t.Parallel()
	long := func(n int32) page {
		p := plain(1, format.Plain, numbers(n))
		p.header.DataPageHeader.V.Statistics.MaxValue = make([]byte, 300<<10)
		return p
	}
	file := paged(long(1), long(2), long(3)).file(t)
	r := open(t, bytes.NewReader(file), int64(len(file)))
	if got, err := io.ReadAll(r); err != nil || string(got) != "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n" {
		t.Errorf("%q, %v", got, err)
	}
	if n := r.Ahead(); n > 256<<10 {
		t.Errorf("%d bytes are read ahead", n)
	}
}
