package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

// untilSignal returns a context that ends, with session.ErrInterrupted, on the first SIGINT or
// SIGTERM. On the second the process leaves at once: what it was doing can be gone on
// with, since that is what leases and checkpoints are for. stop ends the watch.
func untilSignal(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for again := false; ; again = true {
			select {
			case <-signals:
				if again {
					os.Exit(exitInterrupted)
				}
				cancel(session.ErrInterrupted)
			case <-done:
				return
			}
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		watch.Wait()
		cancel(nil)
	}
}
