package cli

import (
	"context"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// wait says where a waiting job waits, and what for, as words that follow its state; "" for any
// other job. queues may lack the job's.
func wait(j engine.Job, queues []engine.Queue, now time.Time) string {
	if !j.Waits() {
		return ""
	}
	if j.State == engine.Queued && j.StartedAt == nil && j.StartAt != nil && j.StartAt.After(now) {
		return " until " + clock(*j.StartAt, now)
	}
	if j.Queue == "" {
		return ""
	}
	at := " in " + oneLine(j.Queue)
	i := slices.IndexFunc(queues, j.In)
	if i < 0 {
		return at
	}
	switch queues[i].Holds(j.Type) {
	case engine.HoldPaused:
		return at + ", which is paused"
	case engine.HoldRefused:
		return at + ": its workers take nothing from there, since it holds tasks of another program"
	case engine.HoldNoWorker:
		return at + ", which no worker serves"
	case engine.HoldUnknownType:
		return at + ", where no worker knows type " + oneLine(j.Type)
	}
	return at
}

// clock writes a time, with its day unless that is today.
func clock(at, now time.Time) string {
	at = at.Local()
	if at.Format(time.DateOnly) == now.Local().Format(time.DateOnly) {
		return at.Format(time.TimeOnly)
	}
	return at.Format(time.DateTime)
}

// queuesOf reads the queues in which jobs wait. It is for what is said beside the jobs: an older
// server does not tell it, and the jobs are shown all the same.
func (s *session) queuesOf(ctx context.Context, jobs []engine.Job) []engine.Queue {
	first := wire.FirstOfQueues(jobs)
	if len(first) == 0 {
		return nil
	}
	queues, err := s.store.QueuesOf(ctx, first...)
	if err != nil && s.log != nil {
		s.log.Debug("the queues of jobs cannot be read", "error", err)
	}
	return queues
}

// queuesInterval is the time between two looks at the queues in which shown jobs wait.
const queuesInterval = 2 * time.Second

// watchQueues keeps what a board says of waiting jobs true: a queue may be paused, and workers come
// and go, without a record. While no job waits it asks nothing. It returns what ends it.
func (s *session) watchQueues(ctx context.Context, b *board) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(queuesInterval)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if jobs := b.thatWait(); len(jobs) > 0 {
				if queues := s.queuesOf(ctx, jobs); queues != nil {
					b.learn(queues)
				}
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// paint shows a job, with what is known of its queue. The caller holds the lock.
func (b *board) paint(s sight) {
	s.wait = wait(s.job, b.queues, b.now())
	if delete(b.waiting, s.job.ID); s.job.Waits() {
		b.waiting[s.job.ID] = s
	}
	b.painter.show(s)
}

// thatWait are the shown jobs that wait.
func (b *board) thatWait() []engine.Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	jobs := make([]engine.Job, 0, len(b.waiting))
	for _, s := range b.waiting {
		jobs = append(jobs, s.job)
	}
	return jobs
}

// learn takes how queues are now, and shows the jobs anew whose wait that changes.
func (b *board) learn(queues []engine.Queue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queues = queues
	var changed []sight
	for _, s := range b.waiting {
		if wait(s.job, queues, b.now()) != s.wait {
			changed = append(changed, s)
		}
	}
	slices.SortFunc(changed, func(x, y sight) int { return x.job.CreatedAt.Compare(y.job.CreatedAt) })
	for _, s := range changed {
		s.kind, s.log = "", nil // it is no record's
		b.paint(s)
	}
}
