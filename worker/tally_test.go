package worker_test

import (
	"context"
	"time"

	"github.com/tidemark-dev/tidemark/worker"
)

// tally adds the numbers below Steps, one a step, and checkpoints as it goes: its
// result shows whether a step was lost or repeated.
type tally struct {
	Steps int `json:"steps"`
	// Pace is how long a step takes. Defaults to 2 ms.
	Pace time.Duration `json:"pace,omitempty"`
}

type tallied struct {
	Next int `json:"next"`
	Sum  int `json:"sum"`
}

func (p tally) sum() int { return p.Steps * (p.Steps - 1) / 2 }

func (p tally) pace() time.Duration {
	if p.Pace == 0 {
		return 2 * time.Millisecond
	}
	return p.Pace
}

// counting is the handler of tally, and what it tells on its way, each of which may be
// nil.
type counting struct {
	each func(step int) error // before each step
	kept func(next int)       // after each checkpoint
}

// countUp is counting with a call before each step, if each is not nil.
func countUp(each func(step int) error) func(context.Context, *worker.Run, tally) error {
	return counting{each: each}.run
}

func (c counting) run(ctx context.Context, run *worker.Run, p tally) error {
	var s tallied
	if _, err := run.Resume(&s); err != nil {
		return err
	}
	run.Unit("steps")
	for ; s.Next < p.Steps; s.Next++ {
		if c.each != nil {
			if err := c.each(s.Next); err != nil {
				return err
			}
		}
		s.Sum += s.Next
		run.Progress(int64(s.Next), int64(p.Steps))
		if run.CheckpointDue() {
			done := tallied{s.Next + 1, s.Sum}
			if err := run.Checkpoint(done); err != nil {
				return err
			}
			if c.kept != nil {
				c.kept(done.Next)
			}
		}
		select {
		case <-time.After(p.pace()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return run.Result(s.Sum)
}
