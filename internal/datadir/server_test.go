package datadir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

// open opens the data folder in this process, and leaves it with the test.
func open(t *testing.T, o Options) *Redis {
	t.Helper()
	r, err := Open(testContext(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, r) })
	return r
}

func closeNow(t *testing.T, r *Redis) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), testTimeout)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// serverAlive asks the lock, as a process would that arrives.
func serverAlive(dir string) bool {
	s := &server{dir: redisDir(dir)}
	return s.alive()
}

// runID identifies a run of the server.
func runID(t *testing.T, url string) string {
	t.Helper()
	info, err := client(t, url).Info(testContext(t), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "run_id:")
	id, _, _ := strings.Cut(rest, "\r\n")
	if len(id) != 40 {
		t.Fatalf("no run_id in %q", info)
	}
	return id
}

func TestServerKeepsItsDataOverACloseAndAnOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "my data? 100%")
	r := open(t, Options{Dir: dir})
	if r.Kind() != Server || !strings.HasPrefix(r.URL(), "unix:///") || !strings.Contains(r.Describe(), dir) {
		t.Fatalf("opened %s at %s: %s", r.Kind(), r.URL(), r.Describe())
	}
	c := client(t, r.URL())
	for name, want := range map[string]string{"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"} {
		if got := c.ConfigGet(testContext(t), name).Val()[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if err := c.Set(testContext(t), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	closeNow(t, r)
	if serverAlive(dir) {
		t.Fatal("the server runs on after the last Close")
	}
	again := open(t, Options{Dir: dir})
	if got, err := client(t, again.URL()).Get(testContext(t), "k").Result(); err != nil || got != "v" {
		t.Fatalf("after reopening: %q, %v", got, err)
	}
}

func TestServerLeftByKilledProcessIsAdopted(t *testing.T) {
	dir := t.TempDir()
	u := newUser(t, dir)
	if err := client(t, u.url).Set(testContext(t), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	before := runID(t, u.url)
	u.kill()
	if !serverAlive(dir) {
		t.Fatal("the server ended with its killed parent")
	}
	r := open(t, Options{Dir: dir})
	if after := runID(t, r.URL()); after != before {
		t.Fatalf("a second server runs: %s, was %s", after, before)
	}
	if !strings.Contains(r.Describe(), "found running") {
		t.Errorf("Describe does not tell of the adoption: %s", r.Describe())
	}
	closeNow(t, r)
	if serverAlive(dir) {
		t.Fatal("the adopted server runs on after the last Close")
	}
}

func TestServerThatWasKilledIsStartedAgain(t *testing.T) {
	dir := t.TempDir()
	u := newUser(t, dir)
	if err := client(t, u.url).Set(testContext(t), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	before := runID(t, u.url)
	u.kill()
	s := &server{dir: redisDir(dir)}
	var pid int
	if _, err := fmt.Sscan(s.lastPID(), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r := open(t, Options{Dir: dir})
	if runID(t, r.URL()) == before {
		t.Fatal("the killed server answers")
	}
	if got, err := client(t, r.URL()).Get(testContext(t), "k").Result(); err != nil || got != "v" {
		t.Fatalf("after kill -9 of the server: %q, %v", got, err)
	}
}

// A power cut takes the end of a transaction. What is left of it is in no later life of the
// folder either, in which other transactions follow it in the file.
func TestServerHasNoHalfOfATransaction(t *testing.T) {
	dir := t.TempDir()
	life := func(name string, use func(c *redis.Client)) {
		t.Helper()
		u := newUser(t, dir)
		use(client(t, u.url))
		u.kill()
		s := &server{dir: redisDir(dir)}
		var pid int
		if _, err := fmt.Sscan(s.lastPID(), &pid); err != nil {
			t.Fatal(name, err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(name, err)
		}
	}
	set := func(c *redis.Client, keys ...string) {
		t.Helper()
		if err := c.ConfigSet(testContext(t), "appendfsync", "always").Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.TxPipelined(testContext(t), func(p redis.Pipeliner) error {
			for _, k := range keys {
				p.Set(testContext(t), k, k, 0)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	life("first", func(c *redis.Client) { set(c, "half", "other half") })
	files, err := filepath.Glob(filepath.Join(redisDir(dir), "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[0], info.Size()-20); err != nil { // into the second SET
		t.Fatal(err)
	}
	life("second", func(c *redis.Client) { set(c, "whole") })
	got, err := client(t, open(t, Options{Dir: dir}).URL()).MGet(testContext(t), "half", "other half", "whole").Result()
	if err != nil || got[0] != nil || got[1] != nil || got[2] != "whole" {
		t.Errorf("the folder holds %v, %v", got, err)
	}
}

func TestServerStaysWhileOthersUseItAndEndsWithTheLast(t *testing.T) {
	dir := t.TempDir()
	first := newUser(t, dir)
	second := newUser(t, dir)
	here := open(t, Options{Dir: dir})
	id := runID(t, first.url)

	first.leave() // it started the server
	if got := runID(t, second.url); got != id {
		t.Fatalf("the server changed from %s to %s when its starter left", id, got)
	}
	second.kill() // killed users do not count
	closeNow(t, here)
	if serverAlive(dir) {
		t.Fatal("the server runs on after the last user left")
	}
}

func TestInterruptReachesTheProcessAlone(t *testing.T) {
	dir := t.TempDir()
	u := newUser(t, dir)
	// As the terminal does on Ctrl-C: to the whole group.
	if err := syscall.Kill(-u.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := u.cmd.Wait(); err != nil {
		t.Fatalf("the process could not drain: %v", err)
	}
	r := open(t, Options{Dir: dir})
	if got, err := client(t, r.URL()).Get(testContext(t), "drained").Result(); err != nil || got != "yes" {
		t.Fatalf("what was written while draining: %q, %v", got, err)
	}
}

// One process leaves while another arrives, over and over: an arriver must find
// a server that stays, and there must never be two. Each counts once.
func TestArriverAndLeaverRace(t *testing.T) {
	dir := t.TempDir()
	const rounds = 20
	leaver := newUser(t, dir)
	for round := range rounds {
		arriver, ready := startUser(t, dir)
		// The start of a process takes some ms; leaving at different moments
		// of it meets each step of the arrival.
		timer := time.NewTimer(time.Duration(round%10) * 2 * time.Millisecond)
		<-timer.C
		leaver.leave()
		ready()
		n, err := client(t, arriver.url).Incr(testContext(t), "rounds").Result()
		if err != nil || n != int64(round+1) {
			t.Fatalf("round %d: count %d, %v", round, n, err)
		}
		leaver = arriver
	}
	leaver.leave()
	if serverAlive(dir) {
		t.Fatal("the server runs on after the last user left")
	}
}

// Users that come and go inside one process race far more tightly.
func TestManyUsersComeAndGo(t *testing.T) {
	dir := t.TempDir()
	const users, visits = 4, 5
	var wg sync.WaitGroup
	for range users {
		wg.Go(func() {
			for range visits {
				r, err := Open(testContext(t), Options{Dir: dir})
				if err != nil {
					t.Error(err)
					return
				}
				c := dial(r.URL())
				if err := c.Incr(testContext(t), "visits").Err(); err != nil {
					t.Errorf("in use: %v", err)
				}
				_ = c.Close()
				closeNow(t, r)
			}
		})
	}
	wg.Wait()
	if serverAlive(dir) {
		t.Fatal("the server runs on after the last user left")
	}
	r := open(t, Options{Dir: dir})
	if n, err := client(t, r.URL()).Get(testContext(t), "visits").Int(); err != nil || n != users*visits {
		t.Fatalf("%d of %d visits are in the history, %v", n, users*visits, err)
	}
}

func TestSilentServerIsNamedAndNotDoubled(t *testing.T) {
	dir := t.TempDir()
	u := newUser(t, dir)
	id := runID(t, u.url)
	s := &server{dir: redisDir(dir)}
	var pid int
	if _, err := fmt.Sscan(s.lastPID(), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err := Open(testContext(t), Options{Dir: dir, StartTimeout: 50 * time.Millisecond})
	if !errors.Is(err, redisproc.ErrSilent) || !strings.Contains(err.Error(), fmt.Sprint("process ", pid)) {
		t.Errorf("a frozen server gave %v", err)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := runID(t, u.url); got != id {
		t.Errorf("another server runs: %s, was %s", got, id)
	}
	u.leave()
}

func TestServerThatCannotStartShowsItsLogAndFreesTheFolder(t *testing.T) {
	dir := t.TempDir()
	rubbish := filepath.Join(redisDir(dir), "appendonlydir")
	if err := os.MkdirAll(rubbish, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(rubbish, "appendonly.aof.manifest"), filepath.Join(redisDir(dir), "appendonly.aof")} {
		if err := os.WriteFile(path, []byte("rubbish\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Open(testContext(t), Options{Dir: dir})
	var exit *redisproc.ExitError
	if !errors.As(err, &exit) || !strings.Contains(err.Error(), "format") || !strings.Contains(err.Error(), dir) {
		t.Fatalf("damaged data gave %v", err)
	}
	if err := os.RemoveAll(redisDir(dir)); err != nil {
		t.Fatal(err)
	}
	open(t, Options{Dir: dir})
}

// The context ends at different moments of the opening, the first of them before
// it begins.
func TestCancelledOpenLeavesNoServer(t *testing.T) {
	canceled := 0
	for i := range 10 {
		dir := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*2*time.Millisecond)
		r, err := Open(ctx, Options{Dir: dir})
		cancel()
		switch {
		case err == nil:
			closeNow(t, r)
		case errors.Is(err, context.DeadlineExceeded):
			canceled++
		default:
			t.Errorf("Open gave %v", err)
		}
		if serverAlive(dir) {
			t.Fatalf("a server stayed behind (Open gave %v)", err)
		}
	}
	if canceled == 0 {
		t.Error("no Open was cancelled")
	}
}

func TestCloseWithoutTimeLeavesTheServerToTheNext(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(testContext(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	resume := freeze(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err = r.Close(ctx)
	resume()
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stays up") {
		t.Fatalf("Close gave %v", err)
	}
	if err2 := r.Close(t.Context()); !errors.Is(err2, err) {
		t.Errorf("a second Close gave %v, want the first's", err2)
	}
	next := open(t, Options{Dir: dir})
	if err := client(t, next.URL()).Ping(testContext(t)).Err(); err != nil {
		t.Errorf("the next user's server: %v", err)
	}
	closeNow(t, next)
	if serverAlive(dir) {
		t.Fatal("the server runs on after the last Close")
	}
}

// freeze stops the folder's server as SIGSTOP does, until resume is called.
func freeze(t *testing.T, dir string) (resume func()) {
	t.Helper()
	var pid int
	if _, err := fmt.Sscan((&server{dir: redisDir(dir)}).lastPID(), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	}
}

// The shutdown is held up half-way: until it is over no process may become a user,
// and who wanted to meanwhile gets a server that stays.
func TestNoProcessArrivesDuringAShutdown(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(testContext(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, r) }) // no server stays behind a failure
	before := runID(t, r.URL())
	resume := freeze(t, dir)
	closed := make(chan error, 1)
	leave := func(r *Redis) { closed <- r.Close(testContext(t)) }
	go leave(r)

	ctx := testContext(t)
	for { // until the leaver has the lock alone
		l, err := tryLock(filepath.Join(redisDir(dir), "users.lock"), shared)
		if err != nil || ctx.Err() != nil {
			resume()
			t.Fatalf("a leaver that shuts down lets others in (%v)", err)
		}
		if l == nil {
			break
		}
		l.release()
		select {
		case err := <-closed:
			// It asked while this test had the lock, took it for another user, and
			// left the server up: once more.
			if err != nil {
				t.Errorf("the leaver: %v", err)
			}
			resume()
			if r, err = Open(ctx, Options{Dir: dir}); err != nil {
				t.Fatal(err)
			}
			resume = freeze(t, dir)
			go leave(r)
		default:
		}
	}
	arrived := make(chan *Redis, 1)
	go func() {
		next, err := Open(testContext(t), Options{Dir: dir})
		if err != nil {
			t.Errorf("the arriver: %v", err)
		}
		arrived <- next
	}()
	select {
	case err := <-closed:
		t.Error("a frozen server has shut down:", err)
	case <-arrived:
		t.Error("somebody arrived during the shutdown")
	case <-time.After(30 * time.Millisecond):
	}
	resume()
	if err := <-closed; err != nil {
		t.Errorf("the leaver: %v", err)
	}
	if next := <-arrived; next != nil {
		if after := runID(t, next.URL()); after == before {
			t.Error("the arriver got the server that was shut down")
		}
		closeNow(t, next)
	}
}
