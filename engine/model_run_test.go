package engine_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// caseSteps is the mean number of steps of a case: long enough that streams are
// trimmed and attempts follow each other, short enough that a failure is small.
const caseSteps = 120

// TestModel holds the engine against the model over random histories. To see a
// failure again, run it with TIDEMARK_SEED as it was printed, or as rapid says.
func TestModel(t *testing.T) {
	b := newModelBackend(t, redistest.Server(t).Addr())
	runModel(t, b, scale(20_000, 5_000_000))
}

// TestModelOnMiniredis is the same on the embedded Redis.
func TestModelOnMiniredis(t *testing.T) {
	b := newModelBackend(t, redistest.Miniredis(t))
	runModel(t, b, scale(1_000, 50_000))
}

// A modelBackend is a Redis of the test's own, and engines with different bounds.
type modelBackend struct {
	ctx   context.Context //nolint:containedctx // the test's, shared by its cases
	raw   *redis.Client
	sides []modelSide
}

type modelSide struct {
	e *engine.Rig
	o engine.Options
}

func newModelBackend(t *testing.T, addr string) *modelBackend {
	t.Helper()
	b := &modelBackend{ctx: t.Context(), raw: redistest.Dial(t, addr)}
	// The last of them is bounded by bytes first.
	for _, entries := range []int{10, 25, 50, 400} {
		o := engine.Options{
			URL: "redis://" + addr + "/0", Namespace: "model", Shards: modelShards, TopicEntries: entries, TopicBytes: 64 << 10,
			LogEntries: 200, Retention: time.Hour, RetryFailed: 50 * time.Minute, RetrySucceeded: 30 * time.Minute, TopicTTL: 48 * time.Hour, CommitTimeout: time.Minute,
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		}.Defaults()
		e, err := engine.Open(b.ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
		b.sides = append(b.sides, modelSide{engine.NewRig(e), o})
	}
	return b
}

// modelSeed is where the draws begin: TIDEMARK_SEED, or a number that no run before
// had.
func modelSeed(t testing.TB) uint64 {
	t.Helper()
	given := os.Getenv("TIDEMARK_SEED")
	if given == "" {
		return uint64(time.Now().UnixNano())
	}
	seed, err := strconv.ParseUint(given, 10, 64)
	if err != nil {
		t.Fatalf("TIDEMARK_SEED: %v", err)
	}
	return seed
}

// settings sets rapid's flags for one test.
func settings(t testing.TB, values map[string]string) {
	t.Helper()
	for name, value := range values {
		f := flag.Lookup("rapid." + name)
		before := f.Value.String()
		if err := f.Value.Set(value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Value.Set(before) })
	}
}

// given reports whether a flag of rapid was given on the command line.
func given(name string) bool {
	found := false
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == "rapid."+name })
	return found
}

// runModel runs cases until they came to the steps wanted.
func runModel(t *testing.T, b *modelBackend, want int) {
	t.Helper()
	var counts modelCounts
	check := func(rt *rapid.T) { modelCase(rt, b, &counts) }
	if given("failfile") || given("seed") {
		rapid.Check(t, check)
		return
	}
	seed, began := modelSeed(t), time.Now()
	settings(t, map[string]string{"steps": strconv.Itoa(caseSteps), "checks": "10", "nofailfile": "true"})
	// So few steps as the embedded Redis is given may not meet everything, and some more do.
	for round := 0; counts.steps < want || (counts.steps < 5*want && len(counts.missing()) > 0); round++ {
		// Steps of their own for each round, far from those of the others.
		settings(t, map[string]string{"seed": strconv.FormatUint(seed+uint64(round)*1_000_003, 10)})
		rapid.Check(quietly{t}, check)
		if soak && round%200 == 0 {
			t.Logf("seed %d: %s", seed, counts.since(began))
			fmt.Fprintf(os.Stderr, "%s: %s\n", t.Name(), counts.since(began))
		}
	}
	t.Logf("seed %d: %s", seed, counts.since(began))
	for _, what := range counts.missing() {
		t.Error(what)
	}
	if counts.conservative > 0 {
		t.Errorf("%d readers were sent away although the stream held all that followed", counts.conservative)
	}
}

// quietly leaves out rapid's line about each round that went well.
type quietly struct{ *testing.T }

func (q quietly) Logf(format string, args ...any) {
	if !strings.HasPrefix(format, "[rapid] OK") {
		q.T.Helper()
		q.T.Logf(format, args...)
	}
}

func modelCase(t *rapid.T, b *modelBackend, counts *modelCounts) {
	w := newModelWorld(t, b, counts)
	t.Repeat(map[string]func(*rapid.T){"step": w.step})
	w.t = t
	w.end()
}

func (c *modelCounts) since(began time.Time) string {
	took := time.Since(began)
	return fmt.Sprintf("%d steps in %.1fs, %.0f/s: %+v", c.steps, took.Seconds(), float64(c.steps)/took.Seconds(), *c)
}

// missing says what of all that the model is for the cases have hardly met.
func (c *modelCounts) missing() (all []string) {
	for what, n := range map[string]int{
		"records": c.records, "duplicates": c.duplicates, "gaps": c.gaps, "superseded attempts": c.superseded,
		"reports to ended jobs": c.ended, "other refusals": c.refused, "resumed readers": c.resumed, "trimmed readers": c.trimmed,
		"rewritten readers": c.rewritten, "lost tails": c.cuts, "lost records": c.lost, "trims": c.trims,
	} {
		if n < max(1, c.steps/2000) {
			all = append(all, fmt.Sprintf("%s: only %d in %d steps", what, n, c.steps))
		}
	}
	return all
}

// modelArtifacts are up to two of three names, with sizes that tell which report came first.
func modelArtifacts(r runtime.Report) []engine.Artifact {
	var all []engine.Artifact
	for i := range r.Tenths % 3 {
		name := []string{"a.csv", "b.json", "a.csv2"}[(r.Tenths/3+i)%3]
		all = append(all, engine.Artifact{ID: string(r.Job) + "." + name, Name: name, Size: int64(r.Tenths), Type: "text/csv; x=\"<&>\""})
	}
	return all
}

// modelArtifactState is that of a checkpoint; two of three have one.
func modelArtifactState(r runtime.Report) []byte {
	if r.Tenths%3 == 0 {
		return nil
	}
	return fmt.Appendf(nil, "files at %d", r.Tenths)
}
