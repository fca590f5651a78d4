package redisproc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

func startTest(t *testing.T, cfg Config) *Process {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.DieWithParent = true
	p, err := Start(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// ask sends one inline command and returns the reply's first line and, for a
// bulk reply, its second.
func ask(t *testing.T, network, addr, command string) (string, error) {
	t.Helper()
	conn, err := net.DialTimeout(network, addr, testTimeout)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(testTimeout)); err != nil {
		return "", err
	}
	return askOn(conn, command)
}

func askOn(conn net.Conn, command string) (string, error) {
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err == nil && strings.HasPrefix(line, "$") && line != "$-1\r\n" {
		line, err = r.ReadString('\n')
	}
	return strings.TrimSpace(line), err
}

func mustAsk(t *testing.T, p *Process, command, want string) {
	t.Helper()
	got, err := ask(t, p.Network(), p.Addr(), command)
	if err != nil || got != want {
		t.Fatalf("%s at %s gave %q, %v; want %q", command, p.Addr(), got, err, want)
	}
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestServerAnswersAsSoonAsStartReturns(t *testing.T) {
	for name, cfg := range map[string]Config{
		"tcp":         {},
		"unix socket": {Socket: "redis.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			p := startTest(t, cfg)
			mustAsk(t, p, "SET k v", "+OK")
			mustAsk(t, p, "GET k", "v")
			if gone(p.PID()) {
				t.Fatalf("PID %d is nobody's", p.PID())
			}
		})
	}
}

func TestStopKeepsTheAppendOnlyFileAndRestartReadsIt(t *testing.T) {
	p := startTest(t, Config{AppendOnly: true, Fsync: FsyncNever})
	mustAsk(t, p, "SET k v", "+OK")
	pid, addr := p.PID(), p.Addr()
	if err := p.Stop(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if !gone(pid) {
		t.Fatalf("process %d is still there after Stop", pid)
	}
	if err := p.Stop(testContext(t)); err != nil {
		t.Fatalf("second Stop: %v", err)
	}
	if err := p.Restart(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if p.Addr() != addr || p.PID() == pid {
		t.Fatalf("restarted as process %d at %s; was %d at %s", p.PID(), p.Addr(), pid, addr)
	}
	mustAsk(t, p, "GET k", "v")
}

func TestKillEndsTheServerAtOnce(t *testing.T) {
	p := startTest(t, Config{})
	pid, exited := p.PID(), p.Exited()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-exited:
	default:
		t.Fatal("Exited is open after Kill")
	}
	if !gone(pid) {
		t.Fatalf("process %d is still there after Kill", pid)
	}
	if err := p.Pause(); !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("Pause of a killed server: %v", err)
	}
	if err := p.Restart(testContext(t)); err != nil {
		t.Fatal(err)
	}
	mustAsk(t, p, "GET k", "$-1") // nothing was kept
}

func TestPausedServerAnswersOnlyAfterResume(t *testing.T) {
	p := startTest(t, Config{})
	conn, err := net.Dial(p.Network(), p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for round := range 3 {
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "INCR n\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a paused server sent %d bytes, %v", n, err)
		}
		if err := p.Resume(); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(testTimeout)); err != nil {
			t.Fatal(err)
		}
		got, err := bufio.NewReader(conn).ReadString('\n')
		if want := fmt.Sprintf(":%d\r\n", round+1); err != nil || got != want {
			t.Fatalf("after Resume: %q, %v; want %q", got, err, want)
		}
	}
}

func TestStopResumesAPausedServer(t *testing.T) {
	p := startTest(t, Config{})
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func TestStopKillsAServerThatRefusesToEnd(t *testing.T) {
	p := startTest(t, Config{Settings: []string{"lua-time-limit 5"}})
	conn, err := net.Dial(p.Network(), p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A script that has written and runs for ever cannot be interrupted.
	if _, err := io.WriteString(conn, `EVAL "redis.call('SET','k','v') while true do end" 0`+"\r\n"); err != nil {
		t.Fatal(err)
	}
	for {
		got, err := ask(t, p.Network(), p.Addr(), "PING")
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(got, "-BUSY") {
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := p.Stop(ctx); !errors.Is(err, ErrKilled) {
		t.Fatalf("Stop gave %v, want ErrKilled", err)
	}
	if !gone(p.PID()) {
		t.Fatal("the process is still there")
	}
}

func TestServerIsOutsideOurProcessGroup(t *testing.T) {
	p := startTest(t, Config{})
	group, err := syscall.Getpgid(p.PID())
	if err != nil {
		t.Fatal(err)
	}
	if group != p.PID() || group == syscall.Getpgrp() {
		t.Fatalf("the server is in group %d, we in %d: Ctrl-C would end it", group, syscall.Getpgrp())
	}
}

func TestFailedStartShowsTheLog(t *testing.T) {
	for name, cfg := range map[string]Config{
		"unknown setting": {Settings: []string{"no-such-setting yes"}},
		"bad data":        {AppendOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Dir = t.TempDir()
			want := "no-such-setting"
			if cfg.AppendOnly {
				want = "format"
				dir := filepath.Join(cfg.Dir, "appendonlydir")
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				writeFile(t, filepath.Join(dir, "appendonly.aof.manifest"), "rubbish\n")
				writeFile(t, filepath.Join(cfg.Dir, "appendonly.aof"), "rubbish\n")
			}
			_, err := Start(testContext(t), cfg)
			var exit *ExitError
			if !errors.As(err, &exit) || !strings.Contains(exit.Log, want) || !strings.Contains(err.Error(), exit.Log) {
				t.Fatalf("got %v; want an ExitError with %q in the log", err, want)
			}
		})
	}
}

func writeFile(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCancelledStartLeavesNoProcess(t *testing.T) {
	// A program that never listens, and tells that it has started.
	dir := t.TempDir()
	mute := filepath.Join(dir, "mute-server")
	started := filepath.Join(dir, "pid")
	if err := syscall.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho $$ > '" + started + "'\nexec tail -f /dev/null\n"
	if err := os.WriteFile(mute, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := Start(ctx, Config{Path: mute, Dir: dir, DieWithParent: true})
		result <- err
	}()
	data, err := os.ReadFile(started) // waits for the writer
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatalf("Start gave %v, want context.Canceled", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || !gone(pid) {
		t.Fatalf("process %q is still there (%v)", data, err)
	}
	_, err = Start(t.Context(), Config{Path: mute, Dir: t.TempDir(), StartTimeout: time.Millisecond, DieWithParent: true})
	if err == nil {
		t.Fatal("a mute server counts as started")
	}
}

func TestPortThatIsTakenIsAnErrorWhenAskedFor(t *testing.T) {
	first := startTest(t, Config{})
	_, portText, err := net.SplitHostPort(first.Addr())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Start(testContext(t), Config{Dir: t.TempDir(), Port: port, DieWithParent: true})
	if !portTaken(err) {
		t.Fatalf("a second server on port %d gave %v", port, err)
	}
	mustAsk(t, first, "PING", "+PONG")
}

func TestServerDiesWithItsParent(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimSpace(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := conn.SetReadDeadline(time.Now().Add(testTimeout)); err != nil {
		t.Fatal(err)
	}
	// The connection ends with the server; a living one would leave it open.
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the server outlives its parent (%v)", err)
	}
}

func startAndHang(dir string) {
	p, err := Start(context.Background(), Config{Dir: dir, DieWithParent: true})
	fail(err)
	fmt.Println(p.Addr())
	select {}
}
