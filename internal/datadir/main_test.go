package datadir

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/goleak"
)

// Variables that make this binary play another process of the same machine.
const (
	userEnv = "DATADIR_TEST_USER_OF" // a user of the data folder named here
	takeEnv = "DATADIR_TEST_TAKE"    // takes this file under a limit, see take_test.go
)

// testTimeout bounds what takes milliseconds on a quiet machine.
const testTimeout = 60 * time.Second

func TestMain(m *testing.M) {
	if dir := os.Getenv(userEnv); dir != "" {
		playUser(dir)
		return
	}
	if path := os.Getenv(takeEnv); path != "" {
		playTake(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// playUser opens the data folder, tells its URL, and leaves gracefully when its
// standard input ends, or on an interrupt as from a terminal.
func playUser(dir string) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := Open(context.Background(), Options{Dir: dir, NeverEmbedded: true})
	fail(err)
	fmt.Println(r.URL())
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		// The server must have outlived the interrupt for this.
		c := dial(r.URL())
		fail(c.Set(context.Background(), "drained", "yes", 0).Err())
		fail(c.Close())
	}
	fail(r.Close(context.Background()))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// user is another process that has the data folder open.
type user struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	url   string
}

// startUser starts one without waiting for it.
func startUser(t *testing.T, dir string) (*user, func()) {
	t.Helper()
	u := &user{t: t, cmd: exec.Command(os.Args[0])}
	// The race detector would have every process wait for 1 s at its end.
	u.cmd.Env = append(os.Environ(), userEnv+"="+dir, "GORACE=atexit_sleep_ms=0")
	u.cmd.Stderr = os.Stderr
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a shell's job
	stdin, err := u.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	u.stdin = stdin
	out, err := u.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.cmd.Process.Kill() })
	return u, func() {
		t.Helper()
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("another process did not open the folder: %v", err)
		}
		u.url = strings.TrimSpace(line)
	}
}

func newUser(t *testing.T, dir string) *user {
	t.Helper()
	u, ready := startUser(t, dir)
	ready()
	return u
}

// leave has the process close the folder, and waits for its end.
func (u *user) leave() {
	u.t.Helper()
	_ = u.stdin.Close()
	if err := u.cmd.Wait(); err != nil {
		u.t.Fatalf("another process failed to leave: %v", err)
	}
}

// kill ends the process with SIGKILL, and waits for its end.
func (u *user) kill() {
	u.t.Helper()
	if err := u.cmd.Process.Kill(); err != nil {
		u.t.Fatal(err)
	}
	_ = u.cmd.Wait()
}

func dial(url string) *redis.Client {
	o, err := redis.ParseURL(url)
	if err != nil {
		panic(err)
	}
	o.MaxRetries, o.ContextTimeoutEnabled = -1, true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(o)
}

func client(t *testing.T, url string) *redis.Client {
	t.Helper()
	c := dial(url)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}
