package columnar_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/tidemark-dev/tidemark/worker/internal/dataset/columnar"
)

func open(tb testing.TB, r io.ReaderAt, size int64) *columnar.Reader {
	tb.Helper()
	c, err := columnar.Open(tb.Context(), r, size)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// readAll returns a file's text, up to what is wrong with it.
func readAll(tb testing.TB, file []byte) (string, error) {
	tb.Helper()
	return readWithin(tb, file, 256<<20)
}

// readWithin does with some bytes of memory.
func readWithin(tb testing.TB, file []byte, memory int64) (string, error) {
	tb.Helper()
	r, err := columnar.Open(tb.Context(), bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return "", err
	}
	defer func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	}()
	r.Limit(memory)
	text, err := io.ReadAll(r)
	return string(text), err
}
