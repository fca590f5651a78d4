package redisproc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// lockedFile opens dir/lock and takes its flock; nil when it is held.
func lockedFile(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, err
	}
	return f, nil
}

func held(dir string) bool {
	f, err := lockedFile(dir)
	if f != nil {
		_ = f.Close()
	}
	return f == nil && err == nil
}

func detachAndPrint(dir string) {
	keep, err := lockedFile(dir)
	fail(err)
	pid, err := Detach(context.Background(), Config{Dir: dir, Socket: "s.sock", AppendOnly: true}, keep, func() bool { return held(dir) })
	fail(err)
	fmt.Println(pid)
}

func TestDetachedServerOutlivesItsStarterAndHoldsTheLock(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), detachedEnv+"="+dir, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	addr, err := SocketPath(dir, "s.sock")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := Await(testContext(t), "unix", addr, testTimeout, func() bool { return held(dir) })
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(pid) != strings.TrimSpace(string(out)) {
		t.Errorf("process %d answers, Detach told of %s", pid, out)
	}
	if !held(dir) {
		t.Error("the lock is free while the server runs")
	}
	if err := Shutdown(testContext(t), "unix", addr); err != nil {
		t.Fatal(err)
	}
	if _, err := Await(testContext(t), "unix", addr, testTimeout, func() bool { return held(dir) }); !errors.Is(err, ErrGone) {
		t.Fatalf("after Shutdown, Await gave %v, want ErrGone", err)
	}
}

func TestDetachThatFailsShowsWhyAndFreesTheLock(t *testing.T) {
	for name, tc := range map[string]struct{ setting, want string }{
		"before it forks": {"no-such-setting yes", "no-such-setting"},
		"after it forked": {"loadmodule /no/such/module.so", "/no/such/module.so"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			keep, err := lockedFile(dir)
			if err != nil || keep == nil {
				t.Fatal(keep, err)
			}
			cfg := Config{Dir: dir, Socket: "s.sock", Settings: []string{tc.setting}}
			_, err = Detach(testContext(t), cfg, keep, func() bool { return held(dir) })
			var exit *ExitError
			if !errors.As(err, &exit) || !strings.Contains(exit.Log, tc.want) {
				t.Fatalf("got %v; want an ExitError with %q", err, tc.want)
			}
			if held(dir) {
				t.Fatal("the lock is still held")
			}
		})
	}
}
