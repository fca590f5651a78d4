package worker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
)

const (
	childURL       = "TIDEMARK_TEST_CHILD_URL"
	childNamespace = "TIDEMARK_TEST_CHILD_NAMESPACE"
)

// tally adds the numbers below Steps, one a step, and checkpoints as it goes: its
// result shows whether a step was lost or repeated.
type tally struct {
	Steps int `json:"steps"`
}

type tallied struct {
	Next int `json:"next"`
	Sum  int `json:"sum"`
}

func (p tally) sum() int { return p.Steps * (p.Steps - 1) / 2 }

// count is the handler of tally. each, if not nil, is called before each step.
func countUp(each func(step int) error) func(context.Context, *worker.Run, tally) error {
	return func(ctx context.Context, run *worker.Run, p tally) error {
		var s tallied
		if _, err := run.Resume(&s); err != nil {
			return err
		}
		run.Unit("steps")
		for ; s.Next < p.Steps; s.Next++ {
			if each != nil {
				if err := each(s.Next); err != nil {
					return err
				}
			}
			s.Sum += s.Next
			run.Progress(int64(s.Next), int64(p.Steps))
			if run.CheckpointDue() {
				done := tallied{s.Next + 1, s.Sum}
				if err := run.Checkpoint(done); err != nil {
					return err
				}
			}
			select {
			case <-time.After(2 * time.Millisecond):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return run.Result(s.Sum)
	}
}

// child is a worker process. It says on its output what its handler heard last.
func child(url, namespace string) {
	e, err := engine.Open(context.Background(), engine.Options{URL: url, Namespace: namespace})
	if err != nil {
		panic(err)
	}
	o := brief(e)
	o.Lease = 10 * time.Second // it is not to rescue anybody
	w, err := worker.New(o)
	if err != nil {
		panic(err)
	}
	count := countUp(nil)
	worker.Handle(w, "tally", func(ctx context.Context, run *worker.Run, p tally) error {
		err := count(ctx, run, p)
		if errors.Is(context.Cause(ctx), worker.ErrSuperseded) {
			// Whatever it tries now is a ghost's.
			run.Progress(1, 1)
			run.Log("info", "ghost")
			run.Stage("ghost")
			fmt.Println("checkpoint:", run.Checkpoint(tallied{}))
		}
		return err
	})
	if err := w.Run(context.Background()); err != nil {
		panic(err)
	}
}

// process is a child of the test.
type process struct {
	cmd *exec.Cmd
	out chan string
}

func spawn(t *testing.T, url, namespace string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"="+url, childNamespace+"="+namespace)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd, make(chan string, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			p.out <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		<-read
		_ = cmd.Wait()
	})
	return p
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func (p *process) awaitLine(t *testing.T, part string) string {
	t.Helper()
	ctx := soon(t)
	for {
		select {
		case line := <-p.out:
			if strings.Contains(line, part) {
				return line
			}
		case <-ctx.Done():
			t.Fatalf("the worker process did not say %q", part)
		}
	}
}
