package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

func (a *app) workerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run jobs until told to stop",
		Long: `Run jobs until told to stop.

On SIGINT or SIGTERM no new jobs are taken; those that run write a checkpoint and go
back to their queue, at no cost, for another worker. The exit code is then 0. A
second signal ends the process at once; other workers take its jobs over when the
lease has passed.

It serves the queues of worker.queues, and those of its processors:
` + processorList() + `
It leaves a job whose type it does not know to workers that know it. If there is none for
worker.unknown_type_wait, the job fails.

Workers of one Redis must share the data folder, or storage.url, since payloads name files
in it.

With --health-addr it answers GET /healthz and /readyz, and shows its metrics under
/metrics.`,
		Example: `  tidemark worker --redis redis://localhost:6379/0
  tidemark worker --queues default=3,bulk=1 --concurrency 4`,
		Args: cobra.NoArgs,
	}
	config.AddFlags(cmd.Flags(), "worker", "health")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.work(cmd) }
	return cmd
}

func (a *app) work(cmd *cobra.Command) (err error) {
	ctx := cmd.Context()
	c, err := session.Settings(cmd)
	if err != nil {
		return err
	}
	log := c.Log.Logger(a.err, slog.LevelDebug)
	logRedis(log)
	var h *health
	var metrics *prometheus.Registry
	if c.Health.Addr != "" {
		if h, err = listenHealth(c.Health.Addr); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, h.close()) }()
		metrics = h.registry
	}
	s, err := session.OpenLasting(cmd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	s.Log = log
	if s.Blobs, err = session.OpenBlobs(ctx, s.Config); err != nil {
		return err
	}
	served := servedQueues(s.Config)
	w, grace, err := session.NewWorker(s, metrics, served...)
	if err != nil {
		return err
	}
	if h != nil {
		h.serve(s.Engine, w.Refused, s.Blobs.Ready, s.Log)
	}
	if err := w.Start(ctx); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	h.setWorking(true)
	s.Log.Info("taking jobs", append(jobsTaken(s.Config, served), "redis", s.Redis.Describe(), "data", s.Config.Data.Dir)...)
	<-ctx.Done()
	h.setWorking(false)
	s.Log.Info("draining: jobs that run go back to their queues; a second signal ends the process at once")
	drain, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := w.Stop(drain); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	s.Log.Info("drained")
	return nil
}

// jobsTaken are the words of the log for what a worker takes.
func jobsTaken(c *config.Config, queues []string) []any {
	types := make([]string, len(c.Processors))
	for i, p := range c.Processors {
		types[i] = p.Type
	}
	return []any{"types", strings.Join(types, ","), "queues", strings.Join(queues, ","), "concurrency", c.Worker.Concurrency}
}

// processorList says what the processors do, a line each, for help.
func processorList() string {
	var b strings.Builder
	for _, make := range config.Processors {
		p := make()
		fmt.Fprintf(&b, "  %-10s %s; queue %s\n", p.Type, p.Brief, p.Queue)
	}
	return b.String()
}
