// Package pgtest gives tests a PostgreSQL of their own: a real server on a free port of loopback, in a
// temporary folder, ended with its test or its package's tests. A test that needs one on a machine
// without it fails and says how to install it; it is never skipped.
//
// The server refuses to run as root, so root starts it as the user postgres, or else nobody.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

// User and Password log in as superuser; the password holds what a URL must encode.
const (
	User     = "tester"
	Password = "s3cret/@:#%"
)

// startTimeout bounds the start and the stop of a server. It is far more than they need, since tests run
// on busy machines.
const startTimeout = 2 * time.Minute

// Postgres is a server. Its methods are for one goroutine, but for those of URLs.
type Postgres struct {
	bin, dir string
	port     int
	as       *syscall.Credential
	run      *child
	bases    atomic.Int64
}

type child struct {
	pid    int
	exited chan struct{}
}

// Server starts a server that is ended with the test.
func Server(t testing.TB) *Postgres {
	t.Helper()
	p, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server logged last:\n%s", p.logTail())
		}
		if err := p.Remove(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// Start starts a server for the tests of a package, which share it by databases of their own. Remove
// ends it.
func Start(ctx context.Context) (_ *Postgres, err error) {
	p := &Postgres{}
	if p.bin, err = find(); err != nil {
		return nil, err
	}
	if p.as, err = unprivileged(); err != nil {
		return nil, err
	}
	if p.dir, err = os.MkdirTemp("", "tidemark-postgres-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("starting a PostgreSQL for tests in %s: %w", p.dir, errors.Join(err, p.Remove()))
		}
	}()
	secret := filepath.Join(p.dir, "password")
	if err := os.WriteFile(secret, []byte(Password), 0o644); err != nil { //nolint:gosec // a test's
		return nil, err
	}
	if p.as != nil {
		if err := os.Chown(p.dir, int(p.as.Uid), int(p.as.Gid)); err != nil {
			return nil, err
		}
	}
	initdb := exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"), "-D", p.data(), "-U", User, "--pwfile", secret,
		"-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync")
	p.own(initdb)
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	if p.port, err = redisproc.FreePort(ctx); err != nil {
		return nil, err
	}
	return p, p.Launch(ctx)
}

// find is the folder of the server's programs.
func find() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	newest, best := -1, ""
	for _, path := range all {
		dir := filepath.Dir(path)
		if n, err := strconv.Atoi(filepath.Base(filepath.Dir(dir))); err == nil && n > newest {
			newest, best = n, dir
		}
	}
	if best == "" {
		return "", errors.New("no PostgreSQL server on the PATH or under /usr/lib/postgresql: run `task setup`, or install one (Debian, Ubuntu: apt-get install postgresql)")
	}
	return best, nil
}

// unprivileged is whom to run the server as; nil for this user.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: true}, nil
		}
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }
func (p *Postgres) log() string  { return filepath.Join(p.dir, "log") }

func (p *Postgres) own(cmd *exec.Cmd) {
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=Asia/Tokyo") // a zone that no answer may show
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.as}
}

// Launch starts the server at its port, and returns once it answers.
func (p *Postgres) Launch(ctx context.Context) error {
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(p.bin, "postgres"), "-D", p.data(), "-p", strconv.Itoa(p.port), //nolint:noctx // Stop and Remove end it
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "shared_buffers=32MB",
		"-c", "max_connections=60", "-c", "timezone=Asia/Tokyo", "-c", "datestyle=SQL,DMY", "-c", "intervalstyle=sql_standard",
		"-c", "extra_float_digits=-3", "-c", "bytea_output=escape") // what a source must not depend on
	p.own(cmd)
	cmd.Stdout, cmd.Stderr = log, log
	dieWithParent(cmd.SysProcAttr)
	p.run = &child{exited: make(chan struct{})}
	started := make(chan error, 1)
	go func(run *child) {
		// The kernel's signal comes when the thread that forked ends, so it must last.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			run.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // the log tells
		}
		close(run.exited)
	}(p.run)
	if err := <-started; err != nil {
		return err
	}
	return p.await(ctx)
}

func (p *Postgres) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := pgconn.Connect(ctx, p.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.run.exited:
			return fmt.Errorf("it ended: %s", p.logTail())
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w; %s", err, p.logTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *Postgres) logTail() string {
	f, err := os.Open(p.log())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 4096 {
		_, _ = f.Seek(-4096, io.SeekEnd)
	}
	text, _ := io.ReadAll(f)
	return string(text)
}

// URL is the address of a database, as its superuser.
func (p *Postgres) URL(database string) string { return p.URLOf(User, Password, database) }

// URLOf is the address of a database for a user.
func (p *Postgres) URLOf(name, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(name, password), Host: "127.0.0.1:" + strconv.Itoa(p.port), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Database makes a database, and returns its URL and a session in it, closed with the test.
func (p *Postgres) Database(t testing.TB) (string, *Session) {
	t.Helper()
	name := "t" + strconv.FormatInt(p.bases.Add(1), 10)
	p.Session(t, "postgres").Exec("CREATE DATABASE " + name)
	return p.URL(name), p.Session(t, name)
}

// Session opens a session, closed with the test.
func (p *Postgres) Session(t testing.TB, database string) *Session {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), p.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		_ = conn.Close(ctx) // its server may be gone
	})
	return &Session{t, conn}
}

// A Session runs SQL for a test, which it ends if that fails.
type Session struct {
	t    testing.TB
	conn *pgconn.PgConn
}

// Exec runs statements.
func (s *Session) Exec(sql string) {
	s.t.Helper()
	if err := s.conn.Exec(s.t.Context(), sql).Close(); err != nil {
		s.t.Fatalf("%v: %.200s", err, sql)
	}
}

// Rows runs a query and returns its rows as text; NULL is "NULL".
func (s *Session) Rows(sql string) [][]string {
	s.t.Helper()
	all := s.conn.ExecParams(s.t.Context(), sql, nil, nil, nil, nil).Read()
	if all.Err != nil {
		s.t.Fatalf("%v: %.200s", all.Err, sql)
	}
	rows := make([][]string, len(all.Rows))
	for i, r := range all.Rows {
		for _, v := range r {
			cell := "NULL"
			if v != nil {
				cell = string(v)
			}
			rows[i] = append(rows[i], cell)
		}
	}
	return rows
}

// Until polls a query until its only cell is want, and fails the test when it does not become so.
func (s *Session) Until(sql, want string) {
	s.t.Helper()
	over := time.After(startTimeout)
	for {
		got := s.Rows(sql)
		if len(got) == 1 && got[0][0] == want {
			return
		}
		select {
		case <-over:
			s.t.Fatalf("%s gives %v, want %s", sql, got, want)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop ends the server at once, its sessions with it, and returns when it is gone. Launch starts it again.
func (p *Postgres) Stop() error { return p.end(syscall.SIGQUIT) }

func (p *Postgres) end(how syscall.Signal) error {
	if p.run == nil || p.run.pid == 0 {
		return nil
	}
	select {
	case <-p.run.exited:
		return nil
	default:
	}
	if err := syscall.Kill(p.run.pid, how); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	select {
	case <-p.run.exited:
		return nil
	case <-time.After(startTimeout):
		return fmt.Errorf("the PostgreSQL in %s does not stop: %s", p.dir, strings.TrimSpace(p.logTail()))
	}
}

// Remove ends the server and removes its folder.
func (p *Postgres) Remove() error {
	return errors.Join(p.end(syscall.SIGQUIT), os.RemoveAll(p.dir))
}
