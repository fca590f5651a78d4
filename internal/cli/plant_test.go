package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// buildAltered builds the program with one text of the engine's scripts replaced, which
// must stand there once. Nothing in the product knows of it: the build lays altered
// copies over the files.
func buildAltered(t *testing.T, from, to string) string {
	t.Helper()
	dir := t.TempDir()
	scripts, err := filepath.Glob("../../engine/internal/ground/scripts/*.lua")
	if err != nil {
		t.Fatal(err)
	}
	over := map[string]string{}
	for _, path := range scripts {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n := strings.Count(string(text), from)
		if n == 0 {
			continue
		}
		path, err = filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		altered := filepath.Join(dir, filepath.Base(path))
		if n > 1 || len(over) > 0 {
			t.Fatalf("%q stands more than once in the scripts", from)
		}
		over[path] = altered
		if err := os.WriteFile(altered, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(over) == 0 {
		t.Fatalf("no script has %q: plant the fault where it is now", from)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": over})
	if err != nil {
		t.Fatal(err)
	}
	list, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "tidemark")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-overlay", list, "-o", program, ".")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build with a planted fault: %v\n%s", err, out)
	}
	return program
}

// repeatRows makes a table longer by its own rows, for a program that is fast because it
// runs without the race detector.
func repeatRows(t *testing.T, path string, times int) {
	t.Helper()
	table, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rows, _ := bytes.Cut(table, []byte("\n"))
	table = slices.Concat(head, []byte("\n"), bytes.Repeat(rows, times))
	if err := os.WriteFile(path, table, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The checks of TestKilledAnalysisGoesOnWhereItWas must turn red when the system, not a
// list of numbers, loses its high-water mark: here the script takes every percent as
// it comes, and the run that goes on from the checkpoint shows less than was shown. The
// interval keeps the last checkpoint well behind the cut.
func TestKilledAnalysisShowsALostHighWaterMark(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "table.csv")
	writeTable(t, path, 2<<20)
	repeatRows(t, path, 32)
	analyze := append([]string{"analyze", "--json", "table.csv", "--data", "killed"}, brisk...)
	seldom := slices.Index(analyze, "worker.checkpoint_interval=20ms")
	analyze[seldom] = "worker.checkpoint_interval=10m"

	program := buildAltered(t, "if tenths and tenths > j.tenths then", "if tenths then")
	first, second := killed(t, program, dir, analyze...)
	before, after, _ := recorded(t, filepath.Join(dir, "killed"))
	if !slices.IsSorted(before) || len(before) == 0 || before[len(before)-1] < 30 {
		t.Fatalf("before the cut is no rise to 30%%, so the cut shows nothing: %v", before)
	}
	err := checkPercents(before, after)
	if err == nil || !strings.Contains(err.Error(), "falls from") {
		t.Errorf("the recorded percents are found right (%v) although the fault is planted\n%v\n%v", err, before, after)
	}
	t.Logf("recorded: %v; painted: %v", err, checkPercents(first.painted, second.painted))
}
