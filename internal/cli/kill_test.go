package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/internal/datadir"
)

// patience bounds every wait, and the life of every process but a disturbed worker; nothing takes nearly as
// long, the analysis of a table under the race detector on a busy machine neither.
const patience = 3 * time.Minute

// brisk makes leases and intervals short, so that a crash is noticed in half a second.
var brisk = []string{
	"--set", "worker.tick_interval=10ms", "--set", "worker.checkpoint_interval=20ms", "--set", "worker.heartbeat_interval=100ms",
	"--set", "worker.lease=500ms", "--set", "worker.sweep_interval=50ms",
}

// A process of the command line, and the lines of JSON that it prints.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stderr bytes.Buffer
	// painted is every percent that it has shown, in order.
	painted []float64
	profile string // the path that its last line named
}

func spawn(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	return spawnProgram(t, "tidemark", dir, args...)
}

func spawnProgram(t testing.TB, program, dir string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return spawnFor(ctx, t, program, dir, args...)
}

// spawnFor starts a program that lives as long as ctx at most.
func spawnFor(ctx context.Context, t testing.TB, program, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.CommandContext(ctx, program, args...)}
	p.cmd.Dir = dir
	p.cmd.Stderr = &p.stderr
	// The race detector would have every process wait for 1 s at its end.
	p.cmd.Env = append(p.cmd.Env, "GORACE=atexit_sleep_ms=0")
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "TIDEMARK_") { // the test run's own
			p.cmd.Env = append(p.cmd.Env, entry)
		}
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(out)
	p.lines.Buffer(nil, 16<<20)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// read takes lines until one is as wanted, or there are no more.
func (p *process) read(until func(percent float64, state engine.State) bool) bool {
	p.t.Helper()
	for p.lines.Scan() {
		var line struct {
			Type    string
			Percent float64
			Path    string
			Job     json.RawMessage
		}
		if err := json.Unmarshal(p.lines.Bytes(), &line); err != nil {
			p.t.Fatalf("not a line of JSON: %s", p.lines.Bytes())
		}
		switch line.Type {
		case "profile":
			p.profile = line.Path
		case "job":
			var j engine.Job
			if err := json.Unmarshal(line.Job, &j); err != nil {
				p.t.Fatal(err)
			}
			p.painted = append(p.painted, line.Percent)
			if until(line.Percent, j.State) {
				return true
			}
		}
	}
	return false
}

// wait reads the rest and returns the exit code; -1 when a signal ended it.
func (p *process) wait() int {
	p.t.Helper()
	p.read(func(float64, engine.State) bool { return false })
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// writeTable writes a CSV of many columns, whose analysis takes seconds.
func writeTable(t *testing.T, path string, sizeBytes int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	const columns = 24
	behind := func(column int) string {
		if column == columns-1 {
			return "\n"
		}
		return ","
	}
	for c := range columns {
		fmt.Fprintf(w, "column_%d%s", c, behind(c))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for written := 0; written < sizeBytes; {
		for c := range columns {
			text := ""
			switch c % 4 {
			case 0:
				text = fmt.Sprintf("%d", random.IntN(1_000_000))
			case 1:
				text = fmt.Sprintf("%.3f", random.NormFloat64()*1000)
			case 2:
				text = fmt.Sprintf("name-%d", random.IntN(50_000))
			case 3:
				text = fmt.Sprintf("2025-%02d-%02d", 1+random.IntN(12), 1+random.IntN(28))
			}
			n, _ := w.WriteString(text + behind(c)) // Flush tells of an error
			written += n
		}
	}
	if err := errors.Join(w.Flush(), f.Sync()); err != nil {
		t.Fatal(err)
	}
}

// checkPercents says what is wrong with the percents of a job that was cut: they must
// never fall, be at least 20 different ones, and stand on both sides of the cut.
func checkPercents(before, after []float64) error {
	all := append(slices.Clone(before), after...)
	for i := 1; i < len(all); i++ {
		if all[i] < all[i-1] {
			return fmt.Errorf("percent %d falls from %v to %v", i, all[i-1], all[i])
		}
	}
	distinct := func(p []float64) int {
		p = slices.Clone(p)
		slices.Sort(p)
		return len(slices.Compact(p))
	}
	switch {
	case distinct(all) < 20:
		return fmt.Errorf("%d different percents, want at least 20", distinct(all))
	case distinct(before) < 3 || distinct(after) < 3:
		return fmt.Errorf("%d different percents before the cut and %d after it, want some on either side", distinct(before), distinct(after))
	}
	return nil
}

func TestCheckerOfPercentsSeesWhatItIsFor(t *testing.T) {
	rising := func(from, to float64) (p []float64) {
		for v := from; v <= to; v++ {
			p = append(p, v)
		}
		return p
	}
	if err := checkPercents(rising(0, 40), rising(40, 100)); err != nil {
		t.Errorf("a job that never falls is complained of: %v", err)
	}
	for name, cut := range map[string][2][]float64{
		"a fall at the cut":         {rising(0, 40), rising(38, 100)},
		"a start from zero":         {rising(0, 40), append([]float64{0}, rising(41, 100)...)},
		"a fall by a tenth":         {append(rising(0, 40), 39.9), rising(41, 100)},
		"too few values":            {rising(0, 5), rising(90, 100)},
		"nothing before the cut":    {[]float64{0}, rising(0, 100)},
		"nothing after but the end": {rising(0, 99), []float64{100}},
	} {
		if checkPercents(cut[0], cut[1]) == nil {
			t.Errorf("%s is not seen", name)
		}
	}
}

// recorded reads the whole stream of the data folder's topic, split where the job was
// taken over.
func recorded(t *testing.T, dir string) (before, after []float64, resumedFrom float64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := datadir.Open(ctx, datadir.Options{Dir: dir, NeverEmbedded: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	e, err := engine.Open(ctx, engine.Options{URL: r.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	jobs := map[engine.JobID]bool{}
	cut := false
	for cursor, head := engine.Beginning, engine.Cursor(""); cursor != head; {
		page, err := stream.Of(e).Replay(ctx, "user:demo", cursor)
		if err != nil || page.Verdict != engine.Resumed {
			t.Fatalf("replay from %s: %s %v", cursor, page.Verdict, err)
		}
		for _, entry := range page.Entries {
			record, err := entry.Record()
			if err != nil {
				t.Fatal(err)
			}
			jobs[record.Job.ID] = true
			cut = cut || record.Type == engine.JobStalled
			if record.Type == engine.JobResumed && record.Job.ResumedFrom != nil {
				resumedFrom = *record.Job.ResumedFrom
			}
			if cut {
				after = append(after, record.Job.Percent)
			} else {
				before = append(before, record.Job.Percent)
			}
			cursor = entry.ID
		}
		head = page.Head
	}
	if len(jobs) != 1 {
		t.Errorf("there are %d jobs in the stream, want the one that the second run went on with", len(jobs))
	}
	return before, after, resumedFrom
}

// killed runs an analysis twice: killed at 30%, then to its end.
func killed(t *testing.T, program, dir string, analyze ...string) (first, second *process) {
	t.Helper()
	first = spawnProgram(t, program, dir, analyze...)
	if !first.read(func(percent float64, _ engine.State) bool { return percent >= 30 }) {
		code := first.wait() // its standard error is whole then
		t.Fatalf("the analysis ended with %d before it could be killed: %s", code, first.stderr.String())
	}
	first.signal(syscall.SIGKILL)
	if code := first.wait(); code != -1 {
		t.Fatalf("the analysis ended with %d, not by the signal", code)
	}
	second = spawnProgram(t, program, dir, analyze...)
	if code := second.wait(); code != 0 {
		t.Fatalf("the second run ended with %d: %s", code, second.stderr.String())
	}
	return first, second
}

func TestKilledAnalysisGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeTable(t, filepath.Join(dir, "table.csv"), tableBytes)
	analyze := append([]string{"analyze", "--json", "table.csv"}, brisk...)

	undisturbed := spawn(t, dir, append(analyze, "--data", "undisturbed")...)
	if code := undisturbed.wait(); code != 0 {
		t.Fatalf("the undisturbed analysis ended with %d: %s", code, undisturbed.stderr.String())
	}

	first, second := killed(t, "tidemark", dir, append(analyze, "--data", "killed")...)
	if err := checkPercents(first.painted, second.painted); err != nil {
		t.Errorf("painted: %v\n%v\n%v", err, first.painted, second.painted)
	}
	before, after, resumedFrom := recorded(t, filepath.Join(dir, "killed"))
	if err := checkPercents(before, after); err != nil {
		t.Errorf("recorded: %v\n%v\n%v", err, before, after)
	}
	if resumedFrom <= 0 || resumedFrom > before[len(before)-1] {
		t.Errorf("it was resumed from %v%%, which is no checkpoint before the cut at %v%%", resumedFrom, before[len(before)-1])
	}
	want, err := os.ReadFile(filepath.Join(dir, undisturbed.profile))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, second.profile))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the profiles differ: %d bytes after the kill, %d undisturbed", len(got), len(want))
	}
	t.Logf("cut at %v%%, resumed from %v%%, %d records before and %d after, %d and %d painted",
		before[len(before)-1], resumedFrom, len(before), len(after), len(first.painted), len(second.painted))
}

func TestInterruptedAnalysisHandsItsJobBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeTable(t, filepath.Join(dir, "table.csv"), tableBytes/2)
	analyze := append([]string{"analyze", "--json", "table.csv"}, brisk...)
	first := spawn(t, dir, analyze...)
	if !first.read(func(percent float64, _ engine.State) bool { return percent >= 20 }) {
		t.Fatalf("the analysis ended before it could be interrupted: %s", first.stderr.String())
	}
	first.signal(os.Interrupt)
	if code := first.wait(); code != 130 {
		t.Fatalf("exit code %d, want 130: %s", code, first.stderr.String())
	}
	if got := first.stderr.String(); !strings.HasPrefix(got, "tidemark: interrupted") || strings.Count(got, "\n") != 1 {
		t.Errorf("it said %q", got)
	}
	second := spawn(t, dir, analyze...)
	if code := second.wait(); code != 0 {
		t.Fatalf("the second run ended with %d: %s", code, second.stderr.String())
	}
	if err := checkPercents(first.painted, second.painted); err != nil {
		t.Errorf("%v\n%v\n%v", err, first.painted, second.painted)
	}
}
