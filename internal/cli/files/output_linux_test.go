package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const fullEnv = "TIDEMARK_TEST_FULL_DISK"

// TestMain plays, in a process of its own, a command on a full disk.
func TestMain(m *testing.M) {
	if path := os.Getenv(fullEnv); path != "" {
		playFull(path)
		return
	}
	os.Exit(m.Run())
}

// playFull fills an output where no file may have more than half of its bytes, as on a full disk.
func playFull(path string) {
	signal.Ignore(syscall.SIGXFSZ)
	half := uint64(len(text) / 2)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: half, Max: math.MaxUint64}); err != nil {
		fmt.Print(err)
		return
	}
	out, err := openOutput(path, false)
	if err == nil {
		err = errors.Join(fill(out, of(text)), out.close())
	}
	fmt.Print(err)
}

// On a full disk the command says so, nothing stands at OUT, and what is there is gone on with.
func TestFullDiskLeavesThePart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fullEnv+"="+path, "GORACE=atexit_sleep_ms=0")
	said, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := string(said); !strings.HasPrefix(got, "write "+path+".part: no space left: free some, and run the same command again") {
		t.Errorf("it says %q", got)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something stands at OUT: %v", err)
	}
	if kept, err := os.ReadFile(path + partSuffix); err != nil || !bytes.Equal(kept, text[:len(text)/2]) {
		t.Fatalf("%d bytes are kept: %v", len(kept), err)
	}

	out, err := openOutput(path, false)
	if err != nil {
		t.Fatal(err)
	}
	c, opened := of(text), int64(0)
	open := c.open
	c.open = func(ctx context.Context, from int64) (io.ReadCloser, error) {
		opened = from
		return open(ctx, from)
	}
	if err := errors.Join(fill(out, c), out.close()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) || opened != c.size/2 {
		t.Errorf("from byte %d on, the file has %d bytes: %v", opened, len(got), err)
	}
}
