package redistest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// AOF is a copy of a server's append-only file at one moment.
type AOF struct{ dir string }

// aofNames are what a server's persistence consists of: a folder since Redis 7,
// a file in 6.2.
var aofNames = []string{"appendonlydir", "appendonly.aof"}

// SaveAOF keeps what the server (started [WithAOF]) has acknowledged so far, for
// [Redis.RestartFrom]. Of a command that is under way, all or nothing is kept.
func (r *Redis) SaveAOF() AOF {
	r.t.Helper()
	saved := AOF{dir: r.t.TempDir()}
	found := 0
	for _, name := range aofNames {
		found += copyTree(r.t, filepath.Join(r.Dir(), name), filepath.Join(saved.dir, name))
	}
	if found == 0 {
		r.t.Fatalf("the server in %s has no append-only file: start it with WithAOF", r.Dir())
	}
	return saved
}

// RestartFrom kills the server and starts it with the history of an earlier
// moment: all that was acknowledged since is lost, as by a power cut under
// appendfsync everysec, or a failover to a replica that lagged. The end of the
// history is always a whole command (or transaction, or script).
func (r *Redis) RestartFrom(saved AOF) {
	r.t.Helper()
	r.Kill()
	for _, name := range aofNames {
		path := filepath.Join(r.Dir(), name)
		if err := os.RemoveAll(path); err != nil {
			r.t.Fatal(err)
		}
		copyTree(r.t, filepath.Join(saved.dir, name), path)
	}
	r.dropHalf()
	r.Restart()
}

// copyTree copies a file or folder, and returns the number of files; 0 when
// there is nothing at from.
func copyTree(t testing.TB, from, to string) int {
	t.Helper()
	info, err := os.Stat(from)
	switch {
	case os.IsNotExist(err):
		return 0
	case err != nil:
		t.Fatal(err)
	case !info.IsDir():
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return 1
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		n += copyTree(t, filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
	}
	return n
}

// LosePower kills the server (started [WithAOF]), takes so many bytes off the end of its
// append-only file, at most all, and starts it again: what a power cut leaves, also in the
// middle of a command, which Redis drops when it loads.
func (r *Redis) LosePower(lost int64) {
	r.t.Helper()
	r.Kill()
	path := r.aofFile()
	info, err := os.Stat(path)
	r.check(err)
	r.check(os.Truncate(path, max(0, info.Size()-lost)))
	r.dropHalf()
	r.Restart()
}

// dropHalf takes the begin of a transaction, or of a script, whose end is lost off the
// append-only file. Redis 7.0 drops it from memory, but of the file only the command that was
// cut, and executes the others with the next transaction when it loads once more: half a script.
func (r *Redis) dropHalf() {
	r.t.Helper()
	path := r.aofFile()
	data, err := os.ReadFile(path)
	r.check(err)
	begin, end := bytes.LastIndex(data, []byte("*1\r\n$5\r\nMULTI\r\n")), bytes.LastIndex(data, []byte("*1\r\n$4\r\nEXEC\r\n"))
	if begin > end {
		r.check(os.Truncate(path, int64(begin)))
	}
}

// aofFile is the file that the server appends to.
func (r *Redis) aofFile() string {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(r.Dir(), aofNames[0], "*.incr.aof"))
	r.check(err)
	if len(found) == 0 {
		return filepath.Join(r.Dir(), aofNames[1])
	}
	return found[len(found)-1]
}
