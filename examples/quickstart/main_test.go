package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQuickstart(t *testing.T) {
	var out strings.Builder
	if err := quickstart(t.Context(), redistest.Server(t).URL(), &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "succeeded at 100.0%: {\"rows\":1000}\n" {
		t.Errorf("it says %q", got)
	}
}

// TestItsQueueIsItsOwn: "tidemark up" on the same Redis serves the default queue, and fails
// what it does not know there.
func TestItsQueueIsItsOwn(t *testing.T) {
	server := redistest.Server(t)
	if err := quickstart(t.Context(), server.URL(), io.Discard); err != nil {
		t.Fatal(err)
	}
	if got := server.AsynqQueues(t); !slices.Equal(got, []string{"exports"}) {
		t.Errorf("it used the queues %q", got)
	}
}
