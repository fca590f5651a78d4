package redisproc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// ErrKilled is wrapped by the error of a [Process.Stop] that had to kill.
var ErrKilled = errors.New("redis server did not stop in time and was killed")

// maxPortTries bounds how often a picked port may turn out to be taken.
const maxPortTries = 8

// Process is a server that is a child of this process. Its methods may be
// called concurrently; Stop, Kill and Restart wait for one another.
type Process struct {
	cfg     Config
	network string
	addr    string

	turn sync.Mutex // held by Stop, Kill and Restart

	mu  sync.Mutex
	run *child // the present or last run, never nil
}

// child is one run of the server. Its reaper goroutine lives as long as it does.
type child struct {
	pid    int
	exited chan struct{} // closed by the reaper, after status is set
	status string
}

func (c *child) alive() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// Start starts a server and returns once it answers. When the server ends
// before that, the error is an [*ExitError] with the last lines of its log;
// without an installed server it wraps [ErrNotInstalled]. A failed or cancelled
// Start leaves no process behind. ctx bounds the start, not the server's life.
func Start(ctx context.Context, cfg Config) (*Process, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := prepare(&cfg); err != nil {
		return nil, err
	}
	if cfg.Socket != "" {
		path, err := SocketPath(cfg.Dir, cfg.Socket)
		if err != nil {
			return nil, err
		}
		p := &Process{cfg: cfg, network: "unix", addr: path}
		return p, p.launch(ctx)
	}
	if cfg.Port != 0 {
		p := &Process{cfg: cfg, network: "tcp", addr: loopback(cfg.Port)}
		return p, p.launch(ctx)
	}
	for try := 1; ; try++ {
		port, err := FreePort(ctx)
		if err != nil {
			return nil, err
		}
		cfg.Port = port
		p := &Process{cfg: cfg, network: "tcp", addr: loopback(port)}
		if err := p.launch(ctx); err == nil {
			return p, nil
		} else if !portTaken(err) || try == maxPortTries {
			return nil, err
		}
		// The log of the lost race must not be read as the next try's.
		if err := os.Remove(filepath.Join(cfg.Dir, logName)); err != nil {
			return nil, fmt.Errorf("starting a redis server in %s: %w", cfg.Dir, err)
		}
	}
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// prepare finds the program and makes the folder.
func prepare(cfg *Config) error {
	if cfg.Path == "" {
		path, err := Find()
		if err != nil {
			return err
		}
		cfg.Path = path
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return fmt.Errorf("redis server's folder %s: %w", cfg.Dir, err)
	}
	cfg.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the redis server's folder: %w", err)
	}
	return nil
}

// command writes redis.conf and gives the command that reads it.
func command(cfg Config, daemon bool) (*exec.Cmd, error) {
	conf := "redis.conf"
	path := filepath.Join(cfg.Dir, conf)
	if err := os.WriteFile(path, []byte(cfg.render(cfg.Port, daemon)), 0o600); err != nil {
		return nil, fmt.Errorf("writing the redis server's configuration: %w", err)
	}
	args := []string{conf}
	if cfg.Sentinel != nil {
		args = append(args, "--sentinel")
	}
	cmd := exec.Command(cfg.Path, args...) //nolint:noctx // it outlives the call that starts it; Stop and Kill end it
	cmd.Dir = cfg.Dir
	// Redis 7 refuses to start under a locale that is not installed.
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Env = append(cmd.Env, cfg.Env...)
	cmd.SysProcAttr = ownSession()
	return cmd, nil
}

// launch starts one run and waits until it answers.
func (p *Process) launch(ctx context.Context) error {
	cmd, err := command(p.cfg, false)
	if err != nil {
		return err
	}
	log, err := openLog(p.cfg.Dir)
	if err != nil {
		return fmt.Errorf("opening the redis server's log: %w", err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log

	run, err := reap(cmd, p.cfg.DieWithParent)
	if err != nil {
		return fmt.Errorf("starting %s: %w", p.cfg.Path, err)
	}
	p.mu.Lock()
	p.run = run
	p.mu.Unlock()

	pid, err := Await(ctx, p.network, p.addr, p.cfg.StartTimeout, run.alive)
	if err == nil && pid != 0 && pid != run.pid {
		// Ours has not noticed yet that it cannot have the port.
		err = fmt.Errorf("another redis server (process %d) answers at %s", pid, p.addr)
		select {
		case <-run.exited:
		case <-time.After(time.Second):
		}
	}
	if err == nil {
		return nil
	}
	if !run.alive() {
		return &ExitError{Dir: p.cfg.Dir, Status: run.status, Log: LogTail(p.cfg.Dir)}
	}
	_ = signalAll(run.pid, sigKill)
	<-run.exited
	return fmt.Errorf("starting a redis server in %s: %w; the last lines of its log:\n%s",
		p.cfg.Dir, err, LogTail(p.cfg.Dir))
}

// reap starts cmd and a goroutine that waits for its end.
func reap(cmd *exec.Cmd, dieWithUs bool) (*child, error) {
	run := &child{exited: make(chan struct{})}
	started := make(chan error, 1)
	if dieWithUs {
		dieWithParent(cmd.SysProcAttr)
	}
	go func() {
		if dieWithUs {
			// The kernel's signal comes when the thread that forked ends, not
			// the process: so that thread must last as long as the child.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
		}
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		run.pid = cmd.Process.Pid
		started <- nil
		_ = cmd.Wait() // ProcessState says it all
		run.status = cmd.ProcessState.String()
		close(run.exited)
	}()
	return run, <-started
}

func (p *Process) current() *child {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// Network is "unix" or "tcp".
func (p *Process) Network() string { return p.network }

// Addr is what clients dial: a socket's path or "127.0.0.1:port". It stays the
// same over restarts.
func (p *Process) Addr() string { return p.addr }

// Dir is the server's folder, absolute.
func (p *Process) Dir() string { return p.cfg.Dir }

// PID is the process ID of the present run, or of the last one.
func (p *Process) PID() int { return p.current().pid }

// Exited is closed when the present run ends, for whatever reason.
func (p *Process) Exited() <-chan struct{} { return p.current().exited }

// LogTail returns the last lines of the server's log, at most 4 KiB.
func (p *Process) LogTail() string { return LogTail(p.cfg.Dir) }

// Stop ends the server gracefully: it writes and syncs what its persistence
// holds. Past StopTimeout or the end of ctx it is killed, and the error wraps
// [ErrKilled]. A paused server is resumed first. Stop returns when the process
// is gone; stopping one that is gone does nothing.
func (p *Process) Stop(ctx context.Context) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	return p.stop(ctx)
}

func (p *Process) stop(ctx context.Context) error {
	run := p.current()
	if !run.alive() {
		return nil
	}
	_ = signalAll(run.pid, sigCont) // a stopped process does not see SIGTERM
	if err := signalAll(run.pid, sigTerm); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping the redis server in %s: %w", p.cfg.Dir, err)
	}
	timeout := time.NewTimer(p.cfg.StopTimeout)
	defer timeout.Stop()
	select {
	case <-run.exited:
		return nil
	case <-timeout.C:
	case <-ctx.Done():
	}
	if err := p.kill(); err != nil {
		return err
	}
	return fmt.Errorf("stopping the redis server in %s (process %d): %w", p.cfg.Dir, run.pid, ErrKilled)
}

// Kill ends the server with SIGKILL, as a crash would, together with what it
// forked, and returns when it is gone. Killing one that is gone does nothing.
func (p *Process) Kill() error {
	p.turn.Lock()
	defer p.turn.Unlock()
	return p.kill()
}

func (p *Process) kill() error {
	run := p.current()
	if !run.alive() {
		return nil
	}
	if err := signalAll(run.pid, sigKill); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing the redis server in %s: %w", p.cfg.Dir, err)
	}
	<-run.exited
	return nil
}

// Pause freezes the server with SIGSTOP: its connections stay open and nothing
// is answered. When Pause returns, the server executes nothing more.
func (p *Process) Pause() error {
	run := p.current()
	if !run.alive() {
		return fmt.Errorf("pausing the redis server in %s: %w", p.cfg.Dir, os.ErrProcessDone)
	}
	if err := signalAll(run.pid, sigStop); err != nil {
		return fmt.Errorf("pausing the redis server in %s: %w", p.cfg.Dir, err)
	}
	if err := awaitStopped(run.pid); err != nil || !run.alive() {
		return fmt.Errorf("pausing the redis server in %s: %w", p.cfg.Dir, errors.Join(os.ErrProcessDone, err))
	}
	return nil
}

// Resume lets a paused server go on.
func (p *Process) Resume() error {
	run := p.current()
	if !run.alive() {
		return fmt.Errorf("resuming the redis server in %s: %w", p.cfg.Dir, os.ErrProcessDone)
	}
	if err := signalAll(run.pid, sigCont); err != nil {
		return fmt.Errorf("resuming the redis server in %s: %w", p.cfg.Dir, err)
	}
	return nil
}

// Restart stops the server if it runs, and starts it again in the same folder
// and at the same address. Without AppendOnly it comes back empty.
func (p *Process) Restart(ctx context.Context) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	if err := p.stop(ctx); err != nil && !errors.Is(err, ErrKilled) {
		return err
	}
	return p.launch(ctx)
}
