package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/datadir"
)

func (a *app) upCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Serve the page and the API, and run jobs, in one process",
		Long: `Serve the page and the API, and run jobs, in one process: a gateway and a worker on
the same Redis, which is run for the data folder unless --redis names one.

It prints where everything is, and then logs on standard error. On SIGINT or SIGTERM
it takes nothing new, jobs that run write a checkpoint and go back to their queue, and
it tells clients when to come back. The exit code is then 0. A second signal ends the
process at once. The next up on the same data goes on with the jobs, and clients with
their cursors.`,
		Example: `  tidemark up
  tidemark up --addr 127.0.0.1:9000 --data /srv/tidemark
  tidemark up --redis redis://localhost:6379/0`,
		Args: cobra.NoArgs,
	}
	config.AddFlags(cmd.Flags(), "gateway", "worker")
	asJSON := screen.JSONFlag(cmd, "print the addresses as one line of JSON, once it serves")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.serve(cmd, true, *asJSON) }
	return cmd
}

func (a *app) gatewayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Serve the page and the API, beside workers in other processes",
		Long: `Serve the page and the API, beside workers in other processes.

On SIGINT or SIGTERM it takes nothing new, and tells its clients when to come back;
they go on with their cursors, here or at another gateway of the same Redis. The exit
code is then 0. A second signal ends the process at once.

Gateways and workers of one Redis must share the data folder, or storage.url: uploads are
written there, and read there.`,
		Example: `  tidemark gateway --redis redis://localhost:6379/0
  tidemark gateway & tidemark worker`,
		Args: cobra.NoArgs,
	}
	config.AddFlags(cmd.Flags(), "gateway")
	asJSON := screen.JSONFlag(cmd, "print the addresses as one line of JSON, once it serves")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.serve(cmd, false, *asJSON) }
	return cmd
}

func (a *app) serve(cmd *cobra.Command, working, asJSON bool) (err error) {
	s, err := a.openService(cmd, working)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	logRedis(s.session.Log)
	return s.run(cmd.Context(), func() {
		w := s.whereabouts()
		if asJSON {
			screen.WriteLine(a.out, w)
			return
		}
		w.write(a.out)
	})
}

// whereabouts is what a process that serves says of itself.
type whereabouts struct {
	Type   string       `json:"type"` // "up"
	Addr   string       `json:"addr"`
	Page   string       `json:"page"`
	Jobs   string       `json:"jobs"`
	Socket string       `json:"websocket"`
	Asynq  string       `json:"asynq"`
	Redis  string       `json:"redis"`
	Kind   datadir.Kind `json:"redis_kind"`
	// RedisURL is only of the data folder's own server: others' may hold a password.
	RedisURL string `json:"redis_url,omitempty"`
	Data     string `json:"data"`
	Topic    string `json:"topic"`
	Auth     string `json:"auth"`
	Announce string `json:"announcement,omitempty"`
	Working  bool   `json:"worker"`
}

func (s *service) whereabouts() whereabouts {
	c, addr := s.session.Config, s.listener.Addr().String()
	base := "http://" + addr
	if public := c.Auth.PublicURL; c.Auth.Site().Public {
		base = public
	}
	url := ""
	if s.session.Redis.Kind() == datadir.Server {
		url = s.session.Redis.URL()
	}
	return whereabouts{
		Type: "up", Addr: addr, Page: base + "/", Jobs: base + "/v1/jobs",
		Socket: "ws" + strings.TrimPrefix(base, "http") + "/v1/ws", Asynq: base + "/admin/asynq",
		Redis: s.session.Redis.Describe(), Kind: s.session.Redis.Kind(), RedisURL: url, Data: c.Data.Dir,
		Topic: string(c.Topic), Auth: c.Auth.Mode, Announce: s.auth.Announcement(), Working: s.worker != nil,
	}
}

// write says it to people.
func (w whereabouts) write(out io.Writer) {
	fmt.Fprintf(out, "Tidemark is up: %s\n\n", w.Page)
	say := func(name, text string) { fmt.Fprintf(out, "  %-11s%s\n", name, screen.OneLine(text)) }
	say("producers", "POST "+w.Jobs)
	if w.RedisURL != "" {
		say("in Go", "engine.Options{URL: "+strconv.Quote(w.RedisURL)+"}")
	}
	say("WebSocket", w.Socket)
	say("queues", w.Asynq)
	say("Redis", w.Redis)
	say("data", w.Data)
	if w.Announce != "" {
		say("access", w.Announce)
	}
	if !w.Working {
		say("workers", "none in this process: run \"tidemark worker\" on the same Redis and data folder")
	}
	what := "runs hand their jobs back, and the next up goes on with them"
	switch {
	case !w.Working:
		what = "clients go on with their cursors when it is back"
	case w.Kind == datadir.Embedded:
		what = "jobs end with it"
	}
	fmt.Fprintf(out, "\nCtrl-C stops it: %s. Twice: at once.\n", what)
}
