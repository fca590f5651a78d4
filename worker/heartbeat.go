package worker

import (
	"context"
	"time"

	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// beat says every HeartbeatInterval that the runs are alive, all in one call that
// shares nothing with their reports, and passes on what comes back. It ends after
// the last run of a drain.
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
	// An answer that takes half a lease is worth less than another try.
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
