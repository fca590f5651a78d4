package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCount(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"a.txt": "one two\nthree\n", "deep/b.txt": strings.Repeat("x y z\n", 1000), "c.txt": "no newline at the end", ".hidden": "not counted",
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	if err := wc(t.Context(), redistest.Server(t).URL(), folder, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "job.succeeded  100.0%  3 of 3 files") || !strings.HasSuffix(last, `{"lines":1002,"words":3008,"bytes":6035}`) {
		t.Errorf("it counted so:\n%s", out.String())
	}
}

func TestNothingToCount(t *testing.T) {
	var out strings.Builder
	if err := wc(t.Context(), redistest.Server(t).URL(), t.TempDir(), &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `{"lines":0,"words":0,"bytes":0}`) {
		t.Errorf("it counted so:\n%s", out.String())
	}
}

func TestNoSuchFolder(t *testing.T) {
	var out strings.Builder
	if err := wc(t.Context(), redistest.Server(t).URL(), filepath.Join(t.TempDir(), "none"), &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "job.failed") || !strings.Contains(out.String(), "no such file") {
		t.Errorf("it counted so:\n%s", out.String())
	}
}

// TestItsQueueIsItsOwn: "tidemark up" on the same Redis serves the default queue, and fails
// what it does not know there.
func TestItsQueueIsItsOwn(t *testing.T) {
	server := redistest.Server(t)
	if err := wc(t.Context(), server.URL(), t.TempDir(), io.Discard); err != nil {
		t.Fatal(err)
	}
	if got := server.AsynqQueues(t); !slices.Equal(got, []string{"counts"}) {
		t.Errorf("it used the queues %q", got)
	}
}
