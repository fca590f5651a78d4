package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func set(t *testing.T, c redis.Cmdable, key, value string) {
	t.Helper()
	if err := c.Set(t.Context(), key, value, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func wantValue(t *testing.T, c redis.Cmdable, key, want string) {
	t.Helper()
	got, err := c.Get(t.Context(), key).Result()
	if errors.Is(err, redis.Nil) {
		got, err = "", nil
	}
	if err != nil || got != want {
		t.Fatalf("%s is %q, %v; want %q", key, got, err, want)
	}
}

func TestServersAreApartAndEndWithTheirTest(t *testing.T) {
	var pid int
	t.Run("two servers", func(t *testing.T) {
		a, b := Server(t), Server(t)
		set(t, a.Client(t), "k", "a")
		wantValue(t, b.Client(t), "k", "")
		if a.URL() == b.URL() || !strings.HasPrefix(a.URL(), "redis://127.0.0.1:") {
			t.Errorf("URLs %s and %s", a.URL(), b.URL())
		}
		pid = a.PID()
	})
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d outlives its test (%v)", pid, err)
	}
}

func TestKillRestartPauseResume(t *testing.T) {
	r := Server(t)
	c := r.Client(t)
	set(t, c, "k", "v")
	r.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	// By the connection's deadline or, where this takes all of the time to come so far, the context's.
	if err := c.Ping(ctx).Err(); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("PING of a paused server gave %v", err)
	}
	r.Resume()
	wantValue(t, c, "k", "v")
	r.Kill()
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("a killed server answers")
	}
	r.Restart()
	wantValue(t, r.Client(t), "k", "") // nothing is kept without WithAOF
	r.Stop()
	r.Restart()
	wantValue(t, r.Client(t), "k", "")
}

func TestMaxMemoryMakesWritesFail(t *testing.T) {
	c := Server(t, WithMaxMemory(3<<20)).Client(t)
	chunk := strings.Repeat("x", 256<<10)
	for i := range 64 {
		if err := c.Set(t.Context(), fmt.Sprint(i), chunk, 0).Err(); err != nil {
			if !strings.HasPrefix(err.Error(), "OOM") || i == 0 {
				t.Fatalf("write %d gave %v", i, err)
			}
			return
		}
	}
	t.Fatal("16 MiB fit into 3 MiB")
}

// A writer goes on while the history is saved: what the restarted server holds
// must be a prefix of what it wrote, of at least all that was acknowledged when
// the save began, and of less than was acknowledged in the end.
func TestRestartFromLosesTheTailOfTheHistory(t *testing.T) {
	r := Server(t, WithAOF())
	c := r.Client(t)
	const atLeast = 200
	acked := make(chan int64, 1)
	reached := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	script := redis.NewScript(`redis.call('INCR', 'n'); return redis.call('XADD', 's', '*', 'n', redis.call('GET', 'n'))`)
	go func() {
		var n int64
		for ctx.Err() == nil && script.Run(ctx, c, nil).Err() == nil {
			if n++; n == atLeast {
				close(reached)
			}
		}
		acked <- n
	}()
	<-reached
	saved := r.SaveAOF()
	before, err := Dial(t, r.Addr()).XLen(t.Context(), "s").Result()
	if err != nil {
		t.Fatal(err)
	}
	for after := before; after < before+50; { // some more, to be lost
		if after, err = Dial(t, r.Addr()).XLen(t.Context(), "s").Result(); err != nil {
			t.Fatal(err)
		}
	}
	r.RestartFrom(saved)
	stop()
	end := <-acked
	fresh := r.Client(t)
	n, err := fresh.Get(t.Context(), "n").Int64()
	if err != nil {
		t.Fatal(err)
	}
	length, err := fresh.XLen(t.Context(), "s").Result()
	if err != nil || length != n {
		t.Errorf("half a script is in the history: %d entries, count %d, %v", length, n, err)
	}
	if n < atLeast || n > before || n >= end {
		t.Errorf("restarted with %d of %d; saved after %d and before %d", n, end, atLeast, before)
	}
	t.Logf("of %d writes, %d survived", end, n)
}

// Of a script that a power cut has halved nothing is left, also after one more restart.
func TestAPowerCutLeavesNoHalfOfAScript(t *testing.T) {
	t.Parallel()
	r := Server(t, WithAOF())
	script := redis.NewScript(`redis.call('SET', KEYS[1], ARGV[1]); redis.call('SET', KEYS[2], ARGV[1])`)
	run := func(one, other string, value int) {
		t.Helper()
		if err := script.Run(t.Context(), r.Client(t), []string{one, other}, value).Err(); err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
	}
	for _, lost := range []int64{1, 15, 25, 40, 50} { // in EXEC, between commands, in and before the second SET
		run("a", "b", 1)
		run("a", "b", 2)
		r.LosePower(lost)
		run("c", "d", 1) // with which Redis would execute the half
		r.Kill()
		r.Restart()
		wantValue(t, r.Client(t), "a", "1")
		wantValue(t, r.Client(t), "b", "1")
	}
}

func TestMiniredisAnswers(t *testing.T) {
	c := Dial(t, Miniredis(t))
	set(t, c, "k", "v")
	wantValue(t, c, "k", "v")
}

func BenchmarkServer(b *testing.B) {
	for b.Loop() {
		r := Server(b)
		r.Kill()
	}
}

func TestRefusedWrites(t *testing.T) {
	t.Parallel()
	s := Server(t)
	c := s.Client(t)
	set(t, c, "k", "v")
	for _, why := range Refusals {
		s.RefuseWrites(why)
		if err := c.Set(t.Context(), "k", "w", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), why.code()) {
			t.Errorf("%s: a write was answered %v", why, err)
		}
		wantValue(t, c, "k", "v")
		s.TakeWrites()
		set(t, c, "k", "v")
	}
}
