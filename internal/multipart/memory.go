package multipart

import (
	"context"
	"io"
	"time"
)

const (
	// memoryBytes bounds what all writers of a Store keep in memory.
	memoryBytes = 256 << 20
	blockBytes  = 256 << 10
	// memoryWait is how long a writer waits for memory.
	memoryWait = 10 * time.Second
)

// memory holds a token for each block that is free.
type memory struct {
	tokens chan struct{}
	wait   time.Duration
}

func newMemory(bytes int64) memory {
	m := memory{make(chan struct{}, bytes/blockBytes), memoryWait}
	for range cap(m.tokens) {
		m.tokens <- struct{}{}
	}
	return m
}

// take waits for a block. Its error is ErrBusy.
func (m memory) take(ctx context.Context) ([]byte, error) {
	timer := time.NewTimer(m.wait)
	defer timer.Stop()
	select {
	case <-m.tokens:
		return make([]byte, 0, blockBytes), nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil, ErrBusy
}

// A buffer holds bytes in blocks.
type buffer struct {
	memory memory
	blocks [][]byte // those behind the first that has room are empty
	n      int64    // bytes in them
}

// add takes as many bytes of b as one block has room for, waiting for memory if it must.
func (u *buffer) add(ctx context.Context, b []byte) (int, error) {
	at := int(u.n / blockBytes)
	if at == len(u.blocks) {
		block, err := u.memory.take(ctx)
		if err != nil {
			return 0, err
		}
		u.blocks = append(u.blocks, block)
	}
	k := min(len(b), blockBytes-len(u.blocks[at]))
	u.blocks[at] = append(u.blocks[at], b[:k]...)
	u.n += int64(k)
	return k, nil
}

// empty drops the bytes, and free the blocks too.
func (u *buffer) empty() {
	for i := range u.blocks {
		u.blocks[i] = u.blocks[i][:0]
	}
	u.n = 0
}

func (u *buffer) free() {
	for range u.blocks {
		u.memory.tokens <- struct{}{}
	}
	u.blocks, u.n = nil, 0
}

// reader gives the bytes, as often as a request is repeated.
func (u *buffer) reader() io.ReadSeeker { return io.NewSectionReader(u, 0, u.n) }

// ReadAt implements io.ReaderAt.
func (u *buffer) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off < u.n {
		k := copy(p[n:], u.blocks[off/blockBytes][off%blockBytes:])
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
