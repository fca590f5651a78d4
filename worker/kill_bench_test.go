package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// BenchmarkKill measures how long a job is silent and how long it stands still when its
// worker is killed with kill -9 while another one serves the queue: in bare asynq with
// its defaults, and in Tidemark with its own. An operation is one kill of the former,
// and a round of several of the latter, at moments that are drawn. The time per
// operation says nothing; the metrics do.
func BenchmarkKill(b *testing.B) {
	b.Run("baseline=asynq", func(b *testing.B) {
		url := redistest.Server(b).URL()
		var waits []time.Duration
		for range b.N {
			round := make([]time.Duration, scale(1, 6))
			err := each(len(round), len(round), func(i int) (err error) {
				round[i], err = killBare(b, url)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
			waits = append(waits, round...)
		}
		median, most := spread(waits)
		b.ReportMetric(median.Seconds(), "running-median-s")
		b.ReportMetric(most.Seconds(), "running-max-s")
		b.ReportMetric(float64(len(waits)), "kills")
	})
	b.Run("tidemark", func(b *testing.B) {
		url, d := redistest.Server(b).URL(), draws(b)
		result := without(b, url)
		var all recovery
		for range b.N {
			err := each(scale(6, 60), 3, func(int) error {
				return scene{name: "alone", jobs: 1, slots: 2}.kill(b, url, defaultLeases, d, result, &all)
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		stalled, lastStalled := spread(all.stalled)
		running, lastRunning := spread(all.running)
		b.ReportMetric(stalled.Seconds(), "stalled-median-s")
		b.ReportMetric(lastStalled.Seconds(), "stalled-max-s")
		b.ReportMetric(running.Seconds(), "running-median-s")
		b.ReportMetric(lastRunning.Seconds(), "running-max-s")
		b.ReportMetric(float64(all.kills), "kills")
	})
}

// killBare kills an asynq server that runs a task, and returns how long it takes until
// another one, which was there, runs it.
func killBare(b *testing.B, url string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	r := role{URL: url, Namespace: fmt.Sprintf("t%d", namespaces.Add(1)), Slots: 1, Bare: true}
	e := openIn(b, url, r.Namespace)
	client := asynq.NewClientFromRedisClient(e.Redis())
	victim, err := spawn(ctx, b, r)
	if err != nil {
		return 0, err
	}
	if _, err := client.EnqueueContext(ctx, asynq.NewTask("bench", nil), asynq.Queue(e.QueueName(bareQueue))); err != nil {
		return 0, err
	}
	if _, err := victim.say(ctx, saysRunning, 1); err != nil {
		return 0, err
	}
	other, err := spawn(ctx, b, r)
	if err != nil {
		return 0, err
	}
	at, err := victim.kill()
	if err != nil {
		return 0, err
	}
	_, err = other.say(ctx, saysRunning, 1)
	_, killed := other.kill()
	return time.Since(at), errors.Join(err, killed)
}
