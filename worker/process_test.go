package worker_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a child of the test, and what it has said.
type process struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer // to be read once it has exited

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and replaced with each line

	exited chan struct{}
	err    error // set then
}

// spawn starts a child, which is killed at the test's end if it still runs, and waits
// until it takes tasks.
func spawn(ctx context.Context, t testing.TB, r role) (*process, error) {
	t.Helper()
	encoded, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(os.Args[0]), more: make(chan struct{}), exited: make(chan struct{})}
	// The race detector would have every process wait for 1 s at its end.
	p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", childEnv+"="+string(encoded))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = &p.stderr
	pipe, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, lines.Text())
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may be gone
		<-p.exited
		if t.Failed() && p.stderr.Len() > 0 {
			t.Logf("a child process said:\n%s", &p.stderr)
		}
	})
	_, err = p.say(ctx, saysReady, 1)
	return p, err
}

// say waits until the process has said n lines that begin so, and returns what
// follows in them.
func (p *process) say(ctx context.Context, prefix string, n int) ([]string, error) {
	for {
		var said []string
		p.mu.Lock()
		for _, line := range p.lines {
			if rest, found := strings.CutPrefix(line, prefix); found {
				said = append(said, rest)
			}
		}
		more := p.more
		p.mu.Unlock()
		if len(said) >= n {
			return said, nil
		}
		select {
		case <-more:
		case <-p.exited:
			return said, fmt.Errorf("the child process is gone (%w) before it said %q %d times", p.err, prefix, n)
		case <-ctx.Done():
			return said, fmt.Errorf("the child process said %q %d times, want %d: %w", prefix, len(said), n, context.Cause(ctx))
		}
	}
}

// kill is kill -9, and returns when it was sent.
func (p *process) kill() (time.Time, error) {
	at := time.Now()
	return at, p.cmd.Process.Signal(syscall.SIGKILL)
}

// terminate sends SIGTERM and waits until the process has ended with exit code 0.
func (p *process) terminate(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("the child process goes on after SIGTERM: %w", context.Cause(ctx))
	}
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
