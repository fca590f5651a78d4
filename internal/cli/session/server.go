package session

import (
	"context"
	"iter"
	"os"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/client"
)

// A Store is where a command's jobs are: in Redis, through an engine, or behind a
// gateway.
type Store interface {
	Enqueue(ctx context.Context, s engine.Spec) (engine.Enqueued, error)
	Job(ctx context.Context, id engine.JobID) (engine.View, error)
	Jobs(ctx context.Context, topic engine.Topic, q engine.JobsQuery) (engine.JobsPage, error)
	Cancel(ctx context.Context, id engine.JobID) error
	Remove(ctx context.Context, id engine.JobID) error
	PutSchedule(ctx context.Context, s engine.Schedule) (engine.Scheduled, bool, error)
	DeleteSchedule(ctx context.Context, topic engine.Topic, name string) error
	Pause(ctx context.Context, id engine.JobID) error
	Resume(ctx context.Context, id engine.JobID) error
	Retry(ctx context.Context, id engine.JobID, q engine.RetryQuery) (engine.Enqueued, error)
	Queues(ctx context.Context) ([]engine.Queue, error)
	QueuesOf(ctx context.Context, jobs ...engine.JobID) ([]engine.Queue, error)
	Follow(ctx context.Context, q engine.FollowQuery) iter.Seq2[engine.Update, error]
}

var (
	_ Store = (*engine.Engine)(nil)
	_ Store = (*client.Client)(nil)
)

// ServerFlag declares --server, for commands that a gateway can serve.
func ServerFlag(cmd *cobra.Command) { config.AddFlags(cmd.Flags(), "server") }

// ByServer reports whether a command is to speak to a gateway. What the command line
// names goes before what a variable or the file does; on the command line the two
// exclude each other.
func ByServer(c *config.Config) (bool, error) {
	if c.Server == "" {
		return false, nil
	}
	server := c.Origin("server")
	for _, key := range []string{"data", "redis.url", "worker.concurrency"} {
		local := c.Origin(key)
		if local.Kind != "flag" {
			continue
		}
		if server.Kind == "flag" {
			return false, Usage("%s and %s: with a server, no data folder, Redis or worker of this machine is used; drop one of the two", server.Where, local.Where)
		}
		if key != "worker.concurrency" {
			return false, nil
		}
	}
	return true, nil
}

// OpenServer makes the session of a command that speaks to a gateway. It does not
// connect.
func OpenServer(c *config.Config) (*Session, error) {
	client, err := client.New(client.Options{URL: c.Server, Token: os.Getenv(config.TokenVariable)})
	if err != nil {
		return nil, err
	}
	return &Session{Config: c, Store: client, Remote: client}, nil
}

// OpenStore opens what a command is to use that is about jobs of other processes.
func OpenStore(cmd *cobra.Command) (*Session, error) {
	c, err := Settings(cmd)
	if err != nil {
		return nil, err
	}
	remotely, err := ByServer(c)
	if err != nil {
		return nil, err
	}
	if remotely {
		return OpenServer(c)
	}
	return OpenLasting(cmd)
}
