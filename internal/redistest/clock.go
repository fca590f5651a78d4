package redistest

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

// clockSource shifts what a server takes for the time of day by the microseconds that a
// file holds; its monotonic clock stays.
const clockSource = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static volatile int64_t *shift;

int gettimeofday(struct timeval *tv, void *zone) {
	int result = syscall(SYS_gettimeofday, tv, zone);
	if (shift == NULL) {
		int fd = open(getenv("TIDEMARK_CLOCK"), O_RDONLY);
		void *page = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, fd, 0);
		close(fd);
		if (page == MAP_FAILED) abort();
		shift = page;
	}
	int64_t us = (int64_t)tv->tv_sec * 1000000 + tv->tv_usec + *shift;
	tv->tv_sec = us / 1000000;
	tv->tv_usec = us % 1000000;
	return result;
}
`

// A Clock is the time of day of one server, which its test may put forward and back.
type Clock struct {
	t    testing.TB
	file string
	lib  string
}

// NewClock makes a clock that is right, for a server that is started [WithClock] of it. It
// needs gcc, as the race detector does.
func NewClock(t testing.TB) *Clock {
	t.Helper()
	dir := t.TempDir()
	c := &Clock{t: t, file: filepath.Join(dir, "shift"), lib: filepath.Join(dir, "clock.so")}
	source := filepath.Join(dir, "clock.c")
	if err := os.WriteFile(source, []byte(clockSource), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "gcc", "-shared", "-fPIC", "-O2", "-o", c.lib, source).CombinedOutput()
	if err != nil {
		t.Fatalf("building a clock for Redis: %v; install gcc: %s", err, out)
	}
	c.Shift(0)
	return c
}

// WithClock has the server go by a clock of the test's.
func WithClock(c *Clock) Option {
	return func(cfg *redisproc.Config) {
		cfg.Env = append(cfg.Env, "LD_PRELOAD="+c.lib, "TIDEMARK_CLOCK="+c.file)
	}
}

// Shift puts the clock so much ahead of the true time, or behind it.
func (c *Clock) Shift(by time.Duration) {
	c.t.Helper()
	f, err := os.OpenFile(c.file, os.O_RDWR|os.O_CREATE, 0o600) // not truncated: the server has it mapped
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(by.Microseconds())), 0)
	if err := f.Close(); err != nil {
		c.t.Fatal(err)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}
