package reconcile

import (
	"time"

	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// suspectsMax is how many suspects a reconciler remembers.
const suspectsMax = 10_000

// suspect is a job that a reconciler looks at again in each pass: a waiting one that asynq was not
// given, as far as Redis knows, or a receiving one without reports. A dispatch or a report may be on
// its way, so one look is not enough.
type suspect struct {
	attempt int
	since   time.Time
}

// suspected notes an attempt that should not stay as it is. It reports whether the first note is
// so long ago, and then forgets it.
func (r *Reconciler) suspected(a runtime.Attempt, since time.Duration) bool {
	s, known := r.suspects[a.Job]
	switch {
	case !known && len(r.suspects) >= suspectsMax:
		return false
	case !known || s.attempt != a.Attempt:
		s = suspect{attempt: a.Attempt, since: time.Now()}
	case time.Since(s.since) >= since:
		delete(r.suspects, a.Job)
		return true
	}
	r.suspects[a.Job] = s
	return false
}

// Suspects returns how many jobs the next pass looks at again.
func (r *Reconciler) Suspects() int { return len(r.suspects) }
