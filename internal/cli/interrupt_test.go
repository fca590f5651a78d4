package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A file of this size, nearly all of it a hole, takes longer to read than anything here
// waits, and little room. It begins as a table does.
const endlessBytes = 64 << 30

func TestInterruptedWhileTakingSaysHowToGoOn(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "endless.csv"), []byte(strings.Repeat("1\n", 4<<10)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "endless.csv"), endlessBytes); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "orders.csv"), []byte("id\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := spawn(t, dir, append([]string{"analyze", "--json", "nowhere.csv", "endless.csv", "orders.csv"}, brisk...)...)
	var notes []string
	interrupted := false
	for p.lines.Scan() {
		var line struct{ Type, File, Text string }
		if err := json.Unmarshal(p.lines.Bytes(), &line); err != nil {
			t.Fatalf("not a line of JSON: %s", p.lines.Bytes())
		}
		switch line.Type {
		case "taking":
			if line.File == "endless.csv" && !interrupted {
				interrupted = true
				p.signal(os.Interrupt)
			}
		case "note":
			notes = append(notes, line.Text)
		}
	}
	if code := p.wait(); code != 130 {
		t.Fatalf("exit code %d, want 130: %s", code, p.stderr.String())
	}
	want := []string{
		"endless.csv was not taken; run the same command again",
		"orders.csv was not taken; run the same command again",
	}
	if !slices.Equal(notes, want) {
		t.Errorf("it said %q, want %q", notes, want)
	}
	// What an interruption does not explain is not lost to it.
	if got := p.stderr.String(); !strings.HasPrefix(got, "tidemark: interrupted; taking nowhere.csv into the blob store: ") || strings.Count(got, "\n") != 1 {
		t.Errorf("its error is %q", got)
	}
}
