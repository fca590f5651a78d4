package e2e

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

// topic is the one that the page shows and that uploads are for.
const topic = "user:demo"

// A site is a gateway and a worker on a data folder.
type site struct {
	t       *testing.T
	program string
	data    string
	addr    string   // of the gateway, the same after a restart
	args    []string // more of the gateway's, from its next start on
	gateway *process
	worker  *process // nil where the gateway's process works as well
}

// brisk makes ticks frequent, and a worker that is stopped for a while none that is lost.
var brisk = []string{
	"--set", "worker.tick_interval=20ms", "--set", "worker.checkpoint_interval=100ms",
	"--set", "worker.heartbeat_interval=50ms", "--set", "worker.lease=1m",
}

// newSite starts a gateway and a worker, each a process.
func newSite(t *testing.T) *site {
	t.Helper()
	s := prepareSite(t)
	s.startGateway()
	s.worker = start(t, "worker", nil, s.program, append([]string{"worker", "--data", s.data}, brisk...)...)
	// A test may take its CPU at once, and a start that is cut in two gives up.
	s.worker.awaitLog("taking jobs")
	return s
}

// newUp starts both in one process.
func newUp(t *testing.T) *site {
	t.Helper()
	s := prepareSite(t)
	s.startServing("up")
	return s
}

func prepareSite(t *testing.T) *site {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, program: program, data: filepath.Join(t.TempDir(), "data")}
	// A port that no outgoing connection takes while the gateway is down.
	port, err := redisproc.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	t.Cleanup(s.leave)
	return s
}

// leave has a last, orderly user of the folder shut its Redis down, which those that
// were killed could not. It runs after the others are gone.
func (s *site) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	jobs := exec.CommandContext(ctx, s.program, "jobs", "--data", s.data)
	jobs.Env = environment()
	if out, err := jobs.CombinedOutput(); err != nil {
		s.t.Errorf("the last one to use the folder: %v\n%s", err, out)
	}
}

func (s *site) startGateway() {
	s.t.Helper()
	s.startServing("gateway")
}

func (s *site) startServing(command string) {
	s.t.Helper()
	args := append([]string{command, "--json", "--data", s.data, "--addr", s.addr}, s.args...)
	s.gateway = start(s.t, command, nil, s.program, args...)
	s.gateway.await("its addresses", 0, func(l line) bool { return l.text("type") == "up" })
}

// stop ends both in order, which says whether they drain without an error or a race.
func (s *site) stop() {
	s.t.Helper()
	if s.worker != nil {
		s.worker.stop()
	}
	s.gateway.stop()
}

// watch follows the topic's records without a gateway.
func (s *site) watch() *process {
	s.t.Helper()
	p := start(s.t, "watch", nil, s.program, "watch", "--json", "--data", s.data)
	p.await("the present", 0, func(l line) bool { return l.text("type") == "live" })
	return p
}

// pauseWorker takes the worker its CPU.
func (s *site) pauseWorker() { s.worker.signal(syscall.SIGSTOP) }

// resumeWorker gives it back.
func (s *site) resumeWorker() { s.worker.signal(syscall.SIGCONT) }

// analyze lets the worker, which is paused, go on until the job is at percent.
func (s *site) analyze(watch *process, percent float64) {
	s.t.Helper()
	from := watch.said()
	s.resumeWorker()
	at, _ := watch.await("progress", from, func(l line) bool {
		return l.within("job").number("percent") >= percent
	})
	s.pauseWorker()
	if state := at.within("job").text("state"); state != "running" {
		s.t.Fatalf("the analysis could not be paused at %v%%: it is %s", percent, state)
	}
}
