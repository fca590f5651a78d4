package redistest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// inMemory is the process of all stand-ins, which ends with that of the tests.
var inMemory struct {
	sync.Mutex
	in  io.Writer
	out *bufio.Reader
}

// Miniredis starts an in-memory stand-in for Redis in a process without the race detector, ends it with the
// test and returns its address. Its clock is the real one; TTLs do not pass.
func Miniredis(t testing.TB) string {
	t.Helper()
	addr, err := askInMemory("")
	if err != nil {
		t.Fatalf("starting miniredis: %v", err)
	}
	t.Cleanup(func() {
		if _, err := askInMemory(addr); err != nil {
			t.Errorf("ending miniredis: %v", err)
		}
	})
	return addr
}

// askInMemory ends the stand-in at addr, or starts one where addr is empty and returns its address.
func askInMemory(addr string) (string, error) {
	inMemory.Lock()
	defer inMemory.Unlock()
	if inMemory.in == nil {
		cmd := exec.CommandContext(context.Background(), "go", "run", "github.com/tidemark-dev/tidemark/internal/redistest/miniredisd")
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return "", err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return "", err
		}
		if err := cmd.Start(); err != nil {
			return "", fmt.Errorf("%w; the tests need Go's own command on the PATH", err)
		}
		inMemory.in, inMemory.out = in, bufio.NewReader(out)
	}
	if _, err := fmt.Fprintln(inMemory.in, addr); err != nil || addr != "" {
		return "", err
	}
	line, err := inMemory.out.ReadString('\n')
	return strings.TrimSpace(line), err
}
