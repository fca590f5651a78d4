package datadir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

func TestGivenURLIsTakenAsItIs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := open(t, Options{Dir: dir, URL: "redis://bob:secret@db.example:6379/2?password=hidden"})
	if r.Kind() != Given || r.URL() != "redis://bob:secret@db.example:6379/2?password=hidden" {
		t.Fatalf("opened %s at %s", r.Kind(), r.URL())
	}
	if d := r.Describe(); !strings.Contains(d, "db.example:6379") || strings.Contains(d, "secret") || strings.Contains(d, "hidden") {
		t.Errorf("Describe: %s", d)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data folder was made for a given URL (%v)", err)
	}
}

func TestEmbeddedIsTakenWhereNoServerIsInstalled(t *testing.T) {
	find := findServer
	t.Cleanup(func() { findServer = find })
	findServer = func() (string, error) { return "", redisproc.ErrNotInstalled }
	checkEmbedded(t, open(t, Options{Dir: t.TempDir()}))
	if _, err := Open(t.Context(), Options{Dir: t.TempDir(), NeverEmbedded: true}); !errors.Is(err, redisproc.ErrNotInstalled) {
		t.Errorf("NeverEmbedded gave %v", err)
	}
}

func checkEmbedded(t *testing.T, r *Redis) {
	t.Helper()
	if r.Kind() != Embedded || !strings.Contains(r.Describe(), "nothing will survive this process") {
		t.Fatalf("opened %s: %s", r.Kind(), r.Describe())
	}
	c := client(t, r.URL())
	if err := c.Set(testContext(t), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	o, err := redis.ParseURL(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	if o.Password == "" || strings.Contains(r.Describe(), o.Password) {
		t.Errorf("password %q, description %q", o.Password, r.Describe())
	}
	stranger := client(t, "redis://"+o.Addr)
	if err := stranger.Get(testContext(t), "k").Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without the password: %v", err)
	}
}

func TestEmbeddedTellsOfDataThatItDoesNotUse(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(redisDir(dir), "appendonlydir"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := open(t, Options{Dir: dir, Embedded: true})
	if !strings.Contains(r.Describe(), redisDir(dir)) {
		t.Errorf("Describe: %s", r.Describe())
	}
}

func TestEmbeddedTimePassesByWhatWentByBetweenTicks(t *testing.T) {
	mini := miniredis.RunT(t)
	e := &embedded{mini: mini, stop: make(chan struct{}), done: make(chan struct{})}
	start, ticks := time.Now(), make(chan time.Time)
	go e.passTime(start, ticks)
	if err := mini.Set("k", "v"); err != nil {
		t.Fatal(err)
	}
	mini.SetTTL("k", 10*time.Second)

	at := func(d time.Duration) { ticks <- start.Add(d) }
	at(time.Second)
	at(9 * time.Second) // ticks in between were dropped
	at(9 * time.Second) // taken only when the one before has been worked off
	if got := mini.TTL("k"); got != time.Second {
		t.Errorf("after 9 s the TTL is %s, want 1s", got)
	}
	at(10 * time.Second)
	at(10 * time.Second)
	if mini.Exists("k") {
		t.Error("the key outlives its TTL")
	}
	close(e.stop)
	<-e.done
}

func TestEmbeddedClockIsTheRealOne(t *testing.T) {
	r := open(t, Options{Dir: t.TempDir(), Embedded: true})
	c := client(t, r.URL())
	if err := c.Set(testContext(t), "short", "v", 300*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	for ctx := testContext(t); ; <-time.After(10 * time.Millisecond) {
		n, err := c.Exists(ctx, "short").Result()
		if err != nil {
			t.Fatalf("a TTL of 300 ms never passes: %v", err)
		}
		if n == 0 {
			break
		}
	}
	// Time that was passed for TTLs must not have moved TIME and stream IDs.
	before := time.Now().Truncate(time.Microsecond) // which TIME counts
	now, err := c.Time(testContext(t)).Result()
	if after := time.Now(); err != nil || now.Before(before) || now.After(after) {
		t.Errorf("TIME is %s, %v; here it was %s before and %s after", now, err, before, after)
	}
}

func TestOptionsThatExcludeEachOther(t *testing.T) {
	for _, o := range []Options{
		{Embedded: true, NeverEmbedded: true},
		{Embedded: true, ServerPath: "/x"},
		{StartTimeout: -1},
	} {
		if _, err := Open(t.Context(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestUnusableFolderIsNamedWithTheRemedy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "orders.csv")
	if err := os.WriteFile(file, []byte("a,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"a file": file, "below a file": filepath.Join(file, "data")} {
		for what, try := range map[string]func() error{
			"Open":  func() error { _, err := Open(testContext(t), Options{Dir: dir, NeverEmbedded: true}); return err },
			"Blobs": func() error { _, err := Blobs(testContext(t), dir); return err },
		} {
			err := try()
			if !errors.Is(err, ErrNotFolder) || !strings.Contains(err.Error(), file+" is not a folder") || !strings.Contains(err.Error(), "--data") {
				t.Errorf("%s of %s gave %v", what, name, err)
			}
		}
	}
}

func TestFolderErrors(t *testing.T) {
	for err, want := range map[error]error{
		syscall.ENOSPC: ErrFull, syscall.EDQUOT: ErrFull, syscall.EFBIG: ErrFull,
		syscall.EACCES: ErrNotWritable, syscall.EPERM: ErrNotWritable, syscall.EROFS: ErrNotWritable,
		syscall.ENOTDIR: ErrNotFolder,
	} {
		got := folderError("opening the data folder", "/some/where", &fs.PathError{Op: "open", Path: "/some/where", Err: err})
		if !errors.Is(got, want) || !errors.Is(got, err) || !strings.Contains(got.Error(), "/some/where") || !strings.Contains(got.Error(), "--data") {
			t.Errorf("%v became %v", err, got)
		}
	}
}
