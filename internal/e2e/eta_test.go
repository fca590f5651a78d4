package e2e

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/client"
)

// Uploads at speeds that waver, and analyses, have an eta_seconds. With TIDEMARK_SOAK=1, for a
// machine with nothing else to do, the test measures how true it is: each estimate from 20 % on is
// compared with what the upload, or the job, then took. The median error is at most 25 %. How a
// Pace estimates at other speeds is tested beside it.
func TestTimeLeftIsTrue(t *testing.T) {
	s := newSite(t)
	c, err := client.New(client.Options{URL: "http://" + s.addr})
	if err != nil {
		t.Fatal(err)
	}
	type file struct {
		write func(t *testing.T, name string, sizeBytes int) (path string, rows int)
		name  string
		bytes int
		speed float64 // bytes a second, where the connection is neither fast nor slow
		beat  time.Duration
	}
	files := []file{{writeTable, "eta.csv", 16 << 20, 4 << 20, 50 * time.Millisecond}}
	if soak {
		// The others arrive at once, and take many seconds to be analyzed: an eta_seconds is a whole
		// number.
		large := 1
		if raced {
			large = 8
		}
		files = []file{
			{writeTable, "eta.csv", 60 << 20, 3 << 20, 50 * time.Millisecond},
			{writeTable, "eta.csv", 90 << 20, 4 << 20, time.Second},
			{writeLines, "eta.ndjson", 1200 << 20 / large, 1 << 40, 50 * time.Millisecond},
			{writeTable, "eta.csv", 2000 << 20 / large, 1 << 40, 50 * time.Millisecond},
			{writeTable, "eta.csv", 3000 << 20 / large, 1 << 40, 50 * time.Millisecond},
		}
	}
	var uploads, analyses []float64
	for i, of := range files {
		path, _ := of.write(t, of.name, of.bytes)
		up, run, took := estimates(t, c, path, &wavering{speed: of.speed, beat: of.beat})
		t.Logf("file %d of %d MiB: %s; %s, which took %s", i, of.bytes>>20, told("upload", up), told("analysis", run), took.Round(100*time.Millisecond))
		uploads, analyses = append(uploads, up...), append(analyses, run...)
	}
	t.Logf("all: %s; %s", told("upload", uploads), told("analysis", analyses))
	if len(uploads) == 0 {
		t.Error("an upload of seconds has no estimate")
	}
	if soak && (median(uploads) > 0.25 || len(analyses) == 0 || median(analyses) > 0.25) {
		t.Error("a median error is more than 25 %")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	s.stop()
}

// estimates uploads a file and follows its job. It returns by which share each estimate was wrong, and
// how long the analysis took.
func estimates(t *testing.T, c *client.Client, file string, through *wavering) (upload, analysis []float64, took time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	size := sizeOf(t, file)
	id, err := c.Announce(ctx, client.Upload{Topic: topic, Type: "analysis", Name: filepath.Base(file), SizeBytes: size})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	through.ReaderAt, through.ctx = f, func() context.Context { return ctx }
	sent := make(chan error, 1)
	go func() { sent <- c.Send(ctx, id, through, size, func(error) {}) }()

	type estimate struct {
		at   time.Time
		left float64
	}
	var received, run []estimate
	var arrived, began, ended time.Time
	share := 0.0 // of the bar, when the analysis began
	for u, err := range c.Follow(ctx, engine.FollowQuery{Topic: topic, Filter: engine.Filter{Job: id}, After: engine.Beginning}) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Kind != engine.UpdateRecord {
			continue
		}
		r, err := u.Entry.Record()
		if err != nil || r.Job == nil {
			t.Fatal(err)
		}
		j := *r.Job
		switch {
		case j.State == engine.Running && began.IsZero():
			began, share = r.Time, j.Percent
		case r.Type == engine.JobQueued:
			arrived = r.Time
		case j.State.Ended():
			ended = r.Time
		}
		if j.ETASeconds == nil {
			continue
		}
		e := estimate{r.Time, float64(*j.ETASeconds)}
		switch {
		case j.State == engine.Receiving && j.Progress.Done*5 >= j.Progress.Total:
			received = append(received, e)
		case j.State == engine.Running && j.Percent >= share+(100-share)/5:
			run = append(run, e)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	wrong := func(all []estimate, end time.Time) (errors []float64) {
		for _, e := range all {
			if really := end.Sub(e.at).Seconds(); really > 0 {
				errors = append(errors, math.Abs(e.left-really)/really)
			}
		}
		return errors
	}
	return wrong(received, arrived), wrong(run, ended), ended.Sub(began)
}

// wavering reads at a speed that changes with each beat, between a quarter and twice of it.
type wavering struct {
	io.ReaderAt
	ctx   func() context.Context
	speed float64
	beat  time.Duration
	turn  int
	left  float64
}

func (w *wavering) ReadAt(p []byte, off int64) (int, error) {
	for w.left < float64(len(p)) {
		pause := time.NewTimer(w.beat)
		select {
		case <-pause.C:
		case <-w.ctx().Done():
			pause.Stop()
			return 0, context.Cause(w.ctx())
		}
		w.turn++
		w.left += w.speed * w.beat.Seconds() * []float64{1, 0.25, 2, 1.5, 0.5}[w.turn%5]
	}
	w.left -= float64(len(p))
	return w.ReaderAt.ReadAt(p, off)
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func told(what string, errors []float64) string {
	return fmt.Sprintf("%s: %d estimates, median error %.1f %%", what, len(errors), 100*median(errors))
}
