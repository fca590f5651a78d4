package reconcile

import (
	"context"
	"time"

	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// A reconciler ends a receiving job whose receiver has not reported for its idle limit and as long
// again, at most idleMargin: a gateway that lives would have ended the job itself by then. Redis may
// have been away for all that time. So the reconciler then waits for unheardRounds intervals with
// Redis there, in which a receiver that lives reports.
const (
	idleMargin    = time.Hour
	unheardRounds = 10
)

// unheard ends a receiving job whose receiver is lost, together with the gateway's folder. It
// reports whether it did.
func (r *Reconciler) unheard(ctx context.Context, a runtime.Attempt) (bool, error) {
	due := a.Heard.Add(a.Idle + min(a.Idle, idleMargin))
	if a.Idle == 0 || !r.runtime.Past(due) {
		delete(r.suspects, a.Job)
		return false, nil
	}
	if !r.suspected(a, unheardRounds*r.opts.Interval) {
		return false, nil
	}
	r.opts.Logger.Warn("a receiving job's receiver is lost; the job has failed", "job", a.Job, "last_report", a.Heard)
	return true, r.runtime.ExpireReception(ctx, a.Job, a.Idle)
}
