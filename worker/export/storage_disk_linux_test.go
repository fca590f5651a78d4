package export_test

import (
	"math"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/storage"
	"github.com/tidemark-dev/tidemark/worker/analysis"
	"github.com/tidemark-dev/tidemark/worker/export"
	"github.com/tidemark-dev/tidemark/worker/upload"
)

// A process that ignores SIGXFSZ gets an error at the limit.
func init() { signal.Ignore(syscall.SIGXFSZ) }

// A full disk that needs no mount: files of this process may grow no further. A job that writes more fails, and
// says so; those beside it that write little succeed. When there is room, a retry does it.
func TestJobsOfAFullDisk(t *testing.T) {
	p := newRig(t, storage.Options{})
	const topic = engine.Topic("user:42")
	file := table(2 << 20)
	payload := map[string]any{"blob": p.put(t, topic, file), "name": "orders.csv", "size": len(file)}
	made := p.wait(t, p.enqueue(t, topic, upload.JobType, 0, payload), engine.Succeeded)
	limit := func(most uint64) {
		t.Helper()
		p.must(unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: most, Max: math.MaxUint64}))
	}
	t.Cleanup(func() { limit(math.MaxUint64) })
	limit(1_000_000)
	job := p.enqueue(t, topic, export.JobType, 1, map[string]any{"dataset": made.ID, "format": "csv"})
	for _, kind := range []string{upload.JobType, analysis.JobType} {
		p.whole(t, topic, p.wait(t, p.enqueue(t, topic, kind, 1, payload), engine.Succeeded), file)
	}
	failed := p.wait(t, job, engine.Failed)
	limit(math.MaxUint64)
	p.nothing(t, topic, failed, syscall.EFBIG.Error())
	again, err := p.e.Retry(p.ctx, job, engine.RetryQuery{})
	p.must(err)
	p.whole(t, topic, p.wait(t, again.ID, engine.Succeeded), file)
}
