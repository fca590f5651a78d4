package redisproc

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigNamesTheFieldThatIsWrong(t *testing.T) {
	for _, tc := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "Dir"},
		{Config{Dir: "d", Socket: "a/b"}, "Socket"},
		{Config{Dir: "d", Socket: "s", Port: 1}, "Port"},
		{Config{Dir: "d", Port: 65536}, "65535"},
		{Config{Dir: "d", Port: 55536, Cluster: true}, "55535"},
		{Config{Dir: "d", MaxMemoryBytes: -1}, "MaxMemoryBytes"},
		{Config{Dir: "d", StopTimeout: -1}, "StopTimeout"},
		{Config{Dir: "d", Fsync: "sometimes"}, "Fsync"},
		{Config{Dir: "d", ReplicaOf: "nowhere"}, "ReplicaOf"},
		{Config{Dir: "d", Sentinel: &Sentinel{Master: "m", Addr: "127.0.0.1:1"}}, "Quorum"},
	} {
		if _, err := Start(t.Context(), tc.cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v gave %v; want %q named", tc.cfg, err, tc.want)
		}
	}
}

func TestFindFailsWithTheRemedy(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	sbin := sbinDirs
	t.Cleanup(func() { sbinDirs = sbin })
	sbinDirs = []string{t.TempDir()}

	_, err := Find()
	if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "apt-get install redis-server") {
		t.Fatalf("Find gave %v", err)
	}
	if _, err := Start(t.Context(), Config{Dir: t.TempDir()}); !errors.Is(err, ErrNotInstalled) {
		t.Fatalf("Start gave %v", err)
	}

	valkey := filepath.Join(sbinDirs[0], "valkey-server")
	if err := os.WriteFile(valkey, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if path, err := Find(); err != nil || path != valkey {
		t.Fatalf("Find gave %q, %v; want %q", path, err, valkey)
	}
}

func TestSocketUnderALongPathCanBeDialled(t *testing.T) {
	t.Setenv("TMPDIR", shortTempDir(t))
	dir := filepath.Join(t.TempDir(), strings.Repeat("long ", 30)+"é'\"", "redis")
	p := startTest(t, Config{Dir: dir, Socket: "redis.sock"})
	if len(p.Addr()) > maxSocketPath {
		t.Fatalf("%s has %d bytes", p.Addr(), len(p.Addr()))
	}
	mustAsk(t, p, "PING", "+PONG")
	if again, err := SocketPath(dir, "redis.sock"); err != nil || again != p.Addr() {
		t.Fatalf("asked again: %q, %v; want %q", again, err, p.Addr())
	}
}

func TestSocketLinksAreNotTakenFromStrangers(t *testing.T) {
	tmp := shortTempDir(t)
	t.Setenv("TMPDIR", tmp)
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	path, err := SocketPath(dir, "s")
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Dir(path)
	home := filepath.Dir(link)

	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := SocketPath(dir, "s"); err == nil || !strings.Contains(err.Error(), home) {
		t.Errorf("a folder open to others gave %v", err)
	}
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/elsewhere", link); err != nil {
		t.Fatal(err)
	}
	if _, err := SocketPath(dir, "s"); err == nil || !strings.Contains(err.Error(), link) {
		t.Errorf("a link to elsewhere gave %v", err)
	}
	t.Setenv("TMPDIR", filepath.Join(tmp, strings.Repeat("y", 100)))
	if _, err := SocketPath(dir, "s"); err == nil || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("a long TMPDIR gave %v", err)
	}
}

// shortTempDir is a temporary folder whose path leaves room for a socket's;
// the test's own has the test's name in it.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tm") //nolint:usetesting // the path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
