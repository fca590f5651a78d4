package worker

import (
	"context"
	"time"

	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// beat sends the heartbeats of all runs every HeartbeatInterval, in one call on a connection
// without reports, and passes on what Redis asks of the runs. The drain ends it after the last run.
func (c *supervisor) beat(ctx context.Context) {
	t := time.NewTicker(c.opts.HeartbeatInterval)
	defer t.Stop()
	away := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := c.beatOnce(ctx)
		switch {
		case err != nil && !away && ctx.Err() == nil:
			c.opts.Logger.Warn("heartbeats do not reach Redis; handlers go on, and their reports wait", "error", err)
		case err == nil && away:
			c.opts.Logger.Info("heartbeats reach Redis again")
		}
		away = err != nil
	}
}

func (c *supervisor) beatOnce(ctx context.Context) error {
	runs := c.present()
	if len(runs) == 0 {
		return nil
	}
	// After half a lease without an answer another try is worth more than waiting.
	ctx, cancel := context.WithTimeout(ctx, c.opts.Lease/2)
	defer cancel()
	beats := make([]runtime.Beat, len(runs))
	for i, r := range runs {
		beats[i] = runtime.Beat{Job: r.job, Attempt: r.fence.Attempt, Token: r.fence.Token}
	}
	flags, err := c.runtime.Heartbeat(ctx, beats)
	if err != nil {
		return err
	}
	for i, r := range runs {
		switch flags[i] {
		case runtime.FlagSuperseded:
			r.out.Supersede()
		case runtime.FlagCanceling:
			r.end(ErrCanceled)
		case runtime.FlagPausing:
			r.end(ErrPaused)
		}
	}
	return nil
}
