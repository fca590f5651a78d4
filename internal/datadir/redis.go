package datadir

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

// DefaultDir is the data folder when none is named.
const DefaultDir = "tidemark-data"

// Options says which Redis to open. The zero value takes what DefaultDir and the
// machine offer.
type Options struct {
	// Dir is the data folder; it is made with mode 0700 when missing. Defaults
	// to DefaultDir.
	Dir string

	// URL is the Redis to use. When set, nothing is started, and the data
	// folder is left alone. Open does not connect to it.
	URL string

	// ServerPath is the redis-server or valkey-server to run. Defaults to what
	// is installed; see redisproc.Find.
	ServerPath string

	// Embedded takes the embedded Redis, also where a server is installed.
	// Not allowed beside NeverEmbedded or ServerPath.
	Embedded bool

	// NeverEmbedded fails, with redisproc.ErrNotInstalled, where Open would
	// otherwise fall back on the embedded Redis.
	NeverEmbedded bool

	// StartTimeout bounds how long the server may stay silent, started or
	// adopted. While it reads its append-only file the clock stands still.
	// Defaults to 20 s.
	StartTimeout time.Duration
}

func (o Options) validate() error {
	switch {
	case o.Embedded && o.NeverEmbedded:
		return errors.New("data folder: Embedded and NeverEmbedded exclude each other; set one")
	case o.Embedded && o.ServerPath != "":
		return errors.New("data folder: Embedded and ServerPath exclude each other; set one")
	case o.StartTimeout < 0:
		return fmt.Errorf("data folder: StartTimeout is %s; it must be 0 or more", o.StartTimeout)
	}
	return nil
}

// findServer is replaced by tests, to have a machine without a server.
var findServer = redisproc.Find

// Kind is which of the three a [Redis] is.
type Kind string

// The kinds.
const (
	Given    Kind = "given"    // the URL's; not ours to stop
	Server   Kind = "server"   // the data folder's own, on disk
	Embedded Kind = "embedded" // in memory, ends with this process
)

// Redis is the opened Redis of a process. Its methods may be called
// concurrently.
type Redis struct {
	kind     Kind
	url      string
	describe string
	leave    func(context.Context) error

	once sync.Once
	err  error
}

// Open finds the Redis to use, starts it where that is needed, and returns once
// it answers (a given URL is not tried). Every opened Redis must be closed.
//
// Errors to branch on: [ErrNotFolder], [ErrNotWritable], [ErrFull],
// redisproc.ErrNotInstalled, redisproc.ErrSilent (a server holds the folder and
// does not answer) and *redisproc.ExitError (it did not start; its log is in the
// error). ctx bounds the opening, not the life of what was opened.
func Open(ctx context.Context, o Options) (*Redis, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Dir == "" {
		o.Dir = DefaultDir
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = 20 * time.Second
	}
	switch {
	case o.URL != "":
		return &Redis{
			kind: Given, url: o.URL,
			describe: "Redis at " + redacted(o.URL) + "; what survives is for its own settings to say",
			leave:    func(context.Context) error { return nil },
		}, nil
	case o.Embedded:
		return openEmbedded(o.Dir, "as asked for")
	case errSupported != nil && !o.NeverEmbedded:
		return openEmbedded(o.Dir, "since a data folder cannot be shared on this system")
	}
	if o.ServerPath == "" {
		path, err := findServer()
		switch {
		case err == nil:
			o.ServerPath = path
		case errors.Is(err, redisproc.ErrNotInstalled) && !o.NeverEmbedded:
			return openEmbedded(o.Dir, "since no redis-server or valkey-server is installed")
		default:
			return nil, err
		}
	}
	return openServer(ctx, o)
}

// URL is what to connect to: the given one, unix:///…/redis.sock, or
// redis://:password@127.0.0.1:port for the embedded Redis. It may hold a
// password: do not print it.
func (r *Redis) URL() string { return r.url }

// Kind tells which Redis it is.
func (r *Redis) Kind() Kind { return r.kind }

// Describe says in one line, for people, which Redis it is and what survives.
// It holds no password.
func (r *Redis) Describe() string { return r.describe }

// Close leaves the Redis, once the process's clients are closed. The data
// folder's server is shut down when no other process uses it, and Close returns
// when it is gone; a given one is left alone; the embedded one ends and its data
// with it. ctx bounds the wait, so it must not be the context whose end made the
// process stop; past it, the server may stay behind for the next process to
// adopt. A second Close returns what the first did.
func (r *Redis) Close(ctx context.Context) error {
	r.once.Do(func() { r.err = r.leave(ctx) })
	return r.err
}

func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the given URL"
	}
	if q := u.Query(); q.Has("password") {
		q.Set("password", "xxxxx")
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}

// redisDir is the Redis folder of the data folder dir.
func redisDir(dir string) string { return filepath.Join(dir, "redis") }

// makeDir makes dir and checks that this user may write there.
func makeDir(doing, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return folderError(doing, dir, err)
	}
	return wrapped(doing, dir, writable(dir))
}
