package worker

import (
	"context"
	"time"

	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// A receiving job is given up for its lost receiver when that has not reported for its idle
// limit and as long again, at most idleMargin: a gateway that is there has then ended the job
// itself. Redis may have been away for all that time, so the job must stay unheard of for
// unheardRounds intervals more with Redis there, in which a receiver that lives reports.
const (
	idleMargin    = time.Hour
	unheardRounds = 10
)

// unheard ends a receiving job whose receiver is lost, with the folder of its gateway. It
// reports whether it did.
func (r *reconciler) unheard(ctx context.Context, a runtime.Attempt) (bool, error) {
	due := a.Heard.Add(a.Idle + min(a.Idle, idleMargin))
	if a.Idle == 0 || !r.c.runtime.Past(due) {
		delete(r.suspects, a.Job)
		return false, nil
	}
	if !r.suspected(a, unheardRounds*r.c.opts.ReconcileInterval) {
		return false, nil
	}
	r.c.opts.Logger.Warn("a receiving job's receiver is lost; the job has failed", "job", a.Job, "heard", a.Heard)
	return true, r.c.runtime.ExpireReception(ctx, a.Job, a.Idle)
}
