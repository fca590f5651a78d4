package datadir

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

const socketName = "redis.sock"

// server is this process's part in the data folder's server; see the package
// page for its locks.
type server struct {
	shown   string // the Redis folder as the user named it
	dir     string // the same, absolute
	addr    string // the socket, as clients dial it
	opts    Options
	users   *lock
	pid     int
	adopted bool
}

func openServer(ctx context.Context, o Options) (*Redis, error) {
	shown := redisDir(o.Dir)
	dir, err := filepath.Abs(shown)
	if err != nil {
		return nil, fmt.Errorf("opening the data folder %s: %w", o.Dir, err)
	}
	if err := makeDir("opening the data folder", dir); err != nil {
		return nil, err
	}
	addr, err := redisproc.SocketPath(dir, socketName)
	if err != nil {
		return nil, fmt.Errorf("opening the data folder %s: %w", o.Dir, err)
	}
	s := &server{shown: shown, dir: dir, addr: addr, opts: o}
	if err := s.arrive(ctx); err != nil {
		return nil, err
	}
	how := "started"
	if s.adopted {
		how = "found running"
	}
	return &Redis{
		kind:     Server,
		url:      (&url.URL{Scheme: "unix", Path: addr}).String(),
		describe: fmt.Sprintf("Redis of the data folder, in %s (process %d, %s); all survives this process, a power cut may take the last second", shown, s.pid, how),
		leave:    s.leave,
	}, nil
}

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }

// arrive makes this process a user of the folder's server, which it starts when
// there is none.
func (s *server) arrive(ctx context.Context) (err error) {
	// A leaver holds users alone while it shuts the server down: this waits
	// until it has.
	s.users, err = takeLock(ctx, s.path("users.lock"), shared)
	if err != nil {
		return folderError("opening the data folder", s.dir, err)
	}
	started := false
	defer func() {
		switch {
		case err != nil && started:
			// Nobody came of this arrival; a server that did must not stay
			// behind alone. ctx may be what ended it.
			tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.StartTimeout)
			defer cancel()
			// One that does not listen yet takes no SHUTDOWN.
			_, _ = redisproc.Await(tidy, "unix", s.addr, s.opts.StartTimeout, s.alive)
			err = errors.Join(err, s.leave(tidy))
		case err != nil:
			s.users.release()
		}
	}()
	for {
		own, err := tryLock(s.path("server.lock"), exclusive)
		if err != nil {
			return folderError("opening the data folder", s.dir, err)
		}
		if own != nil {
			started = true
			s.pid, err = redisproc.Detach(ctx, s.config(), own.file, s.alive)
			if err == nil {
				err = s.dropHalf(ctx)
			}
			return s.startError(err)
		}
		s.pid, err = redisproc.Await(ctx, "unix", s.addr, s.opts.StartTimeout, s.alive)
		switch {
		case err == nil:
			s.adopted = true
			return nil
		case errors.Is(err, redisproc.ErrGone):
			continue // it was on its way out; now the lock is free
		case errors.Is(err, redisproc.ErrSilent):
			return fmt.Errorf("the data folder's Redis in %s runs but does not answer: end process %s and try again: %w",
				s.shown, s.lastPID(), err)
		}
		return fmt.Errorf("adopting the data folder's Redis in %s: %w", s.shown, err)
	}
}

func (s *server) config() redisproc.Config {
	return redisproc.Config{
		Path: s.opts.ServerPath, Dir: s.dir, Socket: socketName, StartTimeout: s.opts.StartTimeout,
		AppendOnly: true, Fsync: redisproc.FsyncEverySecond, Policy: "noeviction",
	}
}

// dropHalf has a server write its append-only file anew that has just taken the end off it,
// as after a power cut. Redis 7.0 drops a transaction or script that was cut from memory, but
// leaves most of it in the file, and executes that when it loads the file once more.
func (s *server) dropHalf(ctx context.Context) (err error) {
	if !strings.Contains(redisproc.LogTail(s.dir), "Truncating the AOF") {
		return nil
	}
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: s.addr})
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.BgRewriteAOF(ctx).Err(); err != nil && !strings.Contains(err.Error(), "in progress") {
		return fmt.Errorf("writing the append-only file anew after a power cut: %w", err)
	}
	for {
		info, err := c.Info(ctx, "persistence").Result()
		switch {
		case err != nil:
			return fmt.Errorf("writing the append-only file anew after a power cut: %w", err)
		case strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0"):
			return nil
		}
		<-time.After(20 * time.Millisecond) // Redis has no signal for it
	}
}

// startError adds the remedy that the server's own log cannot know.
func (s *server) startError(err error) error {
	var exit *redisproc.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && strings.Contains(exit.Log, "No space left on device"):
		return folderError("starting the data folder's Redis", s.dir, errors.Join(syscall.ENOSPC, err))
	case Full(err):
		return folderError("starting the data folder's Redis", s.dir, err)
	}
	return fmt.Errorf("starting the data folder's Redis in %s: %w", s.shown, err)
}

// alive reports whether a server holds its lock. The question takes the lock for a
// moment: another process that asks just then sees a server, finds that it does
// not answer, and asks again.
func (s *server) alive() bool {
	l, err := tryLock(s.path("server.lock"), exclusive)
	if l != nil {
		l.release()
	}
	return l == nil && err == nil
}

// lastPID is for messages alone: a process ID on disk may be out of date.
func (s *server) lastPID() string {
	pid, err := os.ReadFile(s.path("redis.pid"))
	if err != nil {
		return "(see redis.pid)"
	}
	return strings.TrimSpace(string(pid))
}

// leave gives the server up, and shuts it down when no other process uses it.
func (s *server) leave(ctx context.Context) error {
	s.users.release()
	last, err := tryLock(s.path("users.lock"), exclusive)
	if err != nil {
		return fmt.Errorf("leaving the data folder's Redis in %s, which stays up: %w", s.shown, err)
	}
	if last == nil {
		return nil
	}
	defer last.release() // from here on no process arrives until it is over
	if !s.alive() {
		return nil
	}
	if err := redisproc.Shutdown(ctx, "unix", s.addr); err != nil && s.alive() {
		return fmt.Errorf("the data folder's Redis in %s stays up: %w", s.shown, err)
	}
	gone, err := takeLock(ctx, s.path("server.lock"), exclusive)
	if err != nil {
		return fmt.Errorf("the data folder's Redis in %s has not yet ended after SHUTDOWN: %w", s.shown, err)
	}
	gone.release()
	return nil
}
