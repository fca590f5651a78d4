package screen

import (
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

// Wait says where a waiting job waits, and what for, as words that follow its state; "" for any
// other job. queues may lack the job's.
func Wait(j engine.Job, queues []engine.Queue, now time.Time) string {
	if !j.Waits() {
		return ""
	}
	if j.State == engine.Queued && j.StartedAt == nil && j.StartAt != nil && j.StartAt.After(now) {
		return " until " + clock(*j.StartAt, now)
	}
	if j.Queue == "" {
		return ""
	}
	at := " in " + OneLine(j.Queue)
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
		return at + ", where no worker knows type " + OneLine(j.Type)
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

// paint shows a job, with what is known of its queue. The caller holds the lock.
func (b *Board) paint(s sight) {
	s.wait = Wait(s.job, b.queues, b.now())
	if delete(b.waiting, s.job.ID); s.job.Waits() {
		b.waiting[s.job.ID] = s
	}
	b.painter.show(s)
}

// ThatWait are the shown jobs that wait.
func (b *Board) ThatWait() []engine.Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	jobs := make([]engine.Job, 0, len(b.waiting))
	for _, s := range b.waiting {
		jobs = append(jobs, s.job)
	}
	return jobs
}

// Learn takes how queues are now, and shows the jobs anew whose wait that changes.
func (b *Board) Learn(queues []engine.Queue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queues = queues
	var changed []sight
	for _, s := range b.waiting {
		if Wait(s.job, queues, b.now()) != s.wait {
			changed = append(changed, s)
		}
	}
	slices.SortFunc(changed, func(x, y sight) int { return x.job.CreatedAt.Compare(y.job.CreatedAt) })
	for _, s := range changed {
		s.kind, s.log = "", nil // it is no record's
		b.paint(s)
	}
}
