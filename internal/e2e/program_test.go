package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	// What go test knows of the program: without it a result would be taken from the cache
	// when the program has changed.
	_ "github.com/tidemark-dev/tidemark/internal/cli"
)

// builtIn is the folder of the built program, which TestMain removes.
var builtIn string

// build builds the program, once for all tests, raced if they are.
var build = sync.OnceValues(func() (string, error) {
	var err error
	if builtIn, err = os.MkdirTemp("", "tidemark-e2e-"); err != nil {
		return "", err
	}
	program := filepath.Join(builtIn, "tidemark")
	args := []string{"build", "-buildvcs=false", "-o", program}
	if raced {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return program, nil
})

// A line of JSON, of the program or of a script.
type line map[string]any

func (l line) text(key string) string    { s, _ := l[key].(string); return s }
func (l line) number(key string) float64 { f, _ := l[key].(float64); return f }

func (l line) within(key string) line { m, _ := l[key].(map[string]any); return m }

// A process prints lines of JSON on standard output, and logs on standard error.
type process struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	input io.WriteCloser
	ended chan struct{} // closed once it is reaped
	err   error         // of its end

	bell
	lines  []line       // under bell, as what follows
	stderr bytes.Buffer // and what is no JSON
	over   bool
}

// start runs a command until the test ends. take, if it is not nil, sees each line
// before anybody who waits for it does, and {"event":"over"} after the last.
func start(t *testing.T, name string, take func(line), program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = environment()
	p.cmd.Stderr = logged{p}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	go p.read(out, take)
	t.Cleanup(func() {
		p.kill()
		p.mu.Lock()
		defer p.mu.Unlock()
		// One that was killed could not say so by its exit code.
		if strings.Contains(p.stderr.String(), "DATA RACE") {
			t.Errorf("%s has a data race", name)
		}
		if t.Failed() {
			t.Logf("%s ended with %v, and had said:\n%s\n%s", name, p.err, lastLines(p.lines), p.stderr.String())
		}
	})
	return p
}

// environment is the test run's, without its own settings. The race detector would have
// every process wait for 1 s at its end.
func environment() (entries []string) {
	entries = append(entries, "GORACE=atexit_sleep_ms=0")
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "TIDEMARK_") {
			entries = append(entries, entry)
		}
	}
	return entries
}

func (p *process) read(out io.Reader, take func(line)) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var l line
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			_, _ = logged{p}.Write(append(lines.Bytes(), '\n'))
			continue
		}
		if take != nil {
			take(l)
		}
		p.change(func() { p.lines = append(p.lines, l) })
	}
	err := p.cmd.Wait()
	p.change(func() { p.err, p.over = err, true })
	if take != nil {
		take(line{"event": "over"})
	}
	close(p.ended)
}

// script runs a Node script of this folder.
func script(t *testing.T, name string, take func(line), path string, args ...string) *process {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	// Read for the same cache, which sees what the test opens.
	if _, err := os.ReadDir(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	return start(t, name, take, "node", append([]string{path}, args...)...)
}

// say sends a script a command.
func (p *process) say(command line) {
	p.t.Helper()
	text, err := json.Marshal(command)
	if err == nil {
		_, err = p.input.Write(append(text, '\n'))
	}
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// logged keeps what a process writes on standard error.
type logged struct{ p *process }

func (w logged) Write(b []byte) (int, error) {
	w.p.change(func() {
		if w.p.stderr.Len() < 1<<20 {
			w.p.stderr.Write(b)
		}
	})
	return len(b), nil
}

// awaitLog waits until the process's log has a text.
func (p *process) awaitLog(text string) {
	p.t.Helper()
	p.awaitLogs(text, 1)
}

// awaitLogs waits until its log has the text that many times.
func (p *process) awaitLogs(text string, times int) {
	p.t.Helper()
	if !p.bell.await(p.t.Context(), func() bool { return p.over || strings.Count(p.stderr.String(), text) >= times }) || p.isOver() {
		p.t.Fatalf("%s: its log does not say %q %d times", p.name, text, times)
	}
}

// logged is how many times its log has a text.
func (p *process) logged(text string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Count(p.stderr.String(), text)
}

func lastLines(all []line) string {
	const shown = 25
	var b strings.Builder
	for i, l := range all {
		if l.text("event") == "error" || i >= len(all)-shown {
			text, _ := json.Marshal(l) // it was JSON
			fmt.Fprintf(&b, "%.300s\n", text)
		}
	}
	return b.String()
}

// await returns the first line, from the given one on, that is as wanted, and where
// the next one stands.
func (p *process) await(what string, from int, as func(line) bool) (line, int) {
	p.t.Helper()
	var found line
	next := from
	ok := p.bell.await(p.t.Context(), func() bool {
		for ; next < len(p.lines) && found == nil; next++ {
			if as(p.lines[next]) {
				found = p.lines[next]
			}
		}
		return found != nil || p.over
	})
	if found == nil {
		p.t.Fatalf("%s: waiting for %s: it ended=%v", p.name, what, ok)
	}
	return found, next
}

// isOver says whether the process has ended.
func (p *process) isOver() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

// said is how many lines there have been.
func (p *process) said() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lines)
}

// all is every line there has been.
func (p *process) all() []line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines)
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v: %v", p.name, s, err)
	}
}

// kill ends the process at once and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // may have ended already, as below
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// stop asks the process to end, as a supervisor does. It must end well: with the race
// detector, that is also without a race.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGTERM)
	if !p.bell.await(p.t.Context(), func() bool { return p.over }) {
		p.t.Fatalf("%s does not stop", p.name)
	}
	if p.err != nil {
		p.t.Errorf("%s ended with %v after SIGTERM", p.name, p.err)
	}
}
