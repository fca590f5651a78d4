package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/client"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/internal/redisproc"
	"github.com/tidemark-dev/tidemark/internal/storage"
)

const (
	// openTimeout bounds the first answer of Redis, so that an address that swallows
	// everything differs from one that works.
	openTimeout = 10 * time.Second
	// closeTimeout bounds the shutdown of the data folder's Redis.
	closeTimeout = 15 * time.Second
)

// A Session is what a command has open: a gateway, or a Redis and an engine on it.
type Session struct {
	Config *config.Config
	Store  Store
	Remote *client.Client // nil where there is an engine
	Redis  *datadir.Redis
	Engine *engine.Engine
	Blobs  *storage.Store // nil where no file is read or written
	Log    *slog.Logger
}

// Settings reads the configuration of a command.
func Settings(cmd *cobra.Command) (*config.Config, error) { return config.Load(cmd.Flags()) }

// Open connects a command to its Redis. The caller closes the session.
func Open(ctx context.Context, c *config.Config, log *slog.Logger) (*Session, error) {
	r, err := datadir.Open(ctx, c.Data)
	if err != nil {
		return nil, err
	}
	o := c.Engine
	o.URL, o.Logger = r.URL(), log
	first, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	e, err := engine.Open(first, o)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, errors.Join(fmt.Errorf("%s: %w", where(c), err), leave(r))
	}
	return &Session{Config: c, Store: e, Redis: r, Engine: e, Log: log}, nil
}

// OpenLasting is open for a command that is about jobs of other processes: it refuses
// a Redis that would begin and end with the command.
func OpenLasting(cmd *cobra.Command) (*Session, error) {
	c, err := Settings(cmd)
	if err != nil {
		return nil, err
	}
	log := LogTo(c, cmd.ErrOrStderr())
	if c.Data.URL == "" && c.Data.Embedded {
		return nil, fmt.Errorf("%s: %w: redis.embedded is always (%s), and an embedded Redis ends with its process; "+
			"name one with --redis URL", cmd.Name(), ErrTransient, c.Origin("redis.embedded"))
	}
	c.Data.Embedded, c.Data.NeverEmbedded = false, true
	s, err := Open(cmd.Context(), c, log)
	if errors.Is(err, redisproc.ErrNotInstalled) {
		return nil, fmt.Errorf("%s: %w: %w; or name one with --redis URL; analyze, upload and export work without", cmd.Name(), ErrTransient, err)
	}
	return s, err
}

// OpenBlobs opens where files are kept. The caller closes it.
func OpenBlobs(ctx context.Context, c *config.Config) (*storage.Store, error) {
	return storage.Open(ctx, c.Storage, c.Data.Dir)
}

// where says which Redis an error is about.
func where(c *config.Config) string {
	if c.Data.URL != "" {
		return "Redis at " + config.Mask(c.Data.URL)
	}
	return "Redis of the data folder " + c.Data.Dir
}

// Close gives everything back. It does not wait for the command's context, whose end
// may be why it is called.
func (s *Session) Close() error {
	if s.Remote != nil {
		return s.Remote.Close()
	}
	err := errors.Join(s.Engine.Close(), leave(s.Redis))
	if s.Blobs != nil {
		err = errors.Join(err, s.Blobs.Close())
	}
	return err
}

func leave(r *datadir.Redis) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return r.Close(ctx)
}

// Job reads a job, which its ID alone names. A topic that the command line names as well must be
// the job's; one of the settings is only where new jobs go, and is no matter here.
func (s *Session) Job(ctx context.Context, id engine.JobID) (engine.View, engine.Job, error) {
	v, err := s.Store.Job(ctx, id)
	if err != nil {
		return engine.View{}, engine.Job{}, err
	}
	if v.Topic != s.Config.Topic && s.Config.Origin("topic").Kind == "flag" {
		return engine.View{}, engine.Job{}, fmt.Errorf("job %s of topic %s: %w; it is of topic %s", id, s.Config.Topic, engine.ErrNotFound, v.Topic)
	}
	j, err := v.Job()
	return v, j, err
}

// TopicOf is the topic of the jobs that a filter selects: the parent's, if the filter names one.
func (s *Session) TopicOf(ctx context.Context, f engine.Filter) (engine.Topic, error) {
	if f.Parent == "" || f.Parent == engine.NoParent {
		return s.Config.Topic, nil
	}
	v, _, err := s.Job(ctx, f.Parent)
	if errors.Is(err, engine.ErrNotFound) {
		return s.Config.Topic, nil // Redis may have forgotten the parent before its children
	}
	return v.Topic, err
}

// LogTo is where a command logs that is no worker: errors alone, unless a level was
// asked for, since it shows its jobs itself.
func LogTo(c *config.Config, w io.Writer) *slog.Logger {
	if c.Origin("log.level").Kind == "default" {
		return c.Log.Logger(w, slog.LevelError)
	}
	return c.Log.Logger(w, slog.LevelDebug)
}
