package upload

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

const (
	// forgetAfter is how much longer an upload stays than jobs and schedules refer to it: a Redis
	// that is the wrong one, or empty, must not cost data while an operator may still notice.
	forgetAfter = 24 * time.Hour
	// voidAfter is the age at which an announcement that failed has no job any more that
	// could still appear.
	voidAfter = time.Hour
	// settledInterval is the time between two looks at settled uploads; they stay for
	// days.
	settledInterval = time.Hour
	// sweepLock is how long the sweep waits for an upload that a request works at.
	sweepLock = 2 * time.Second
)

// sweep checks the uploads at once and every SweepInterval, until the gateway stops. It
// costs a listing of the open uploads and one read of their jobs, whatever has been
// settled.
func (u *Server) sweep() {
	ctx, cancel := u.untilStop()
	defer cancel()
	ticker := time.NewTicker(u.opts.SweepInterval)
	defer ticker.Stop()
	last := time.Time{}
	for {
		now := time.Now()
		u.sweepExpected(ctx, now)
		if now.Sub(last) >= settledInterval {
			last = now
			u.sweepSettled(ctx, now)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Sweep looks at all uploads once, as if it were now.
func (u *Server) Sweep(ctx context.Context, now time.Time) {
	u.sweepExpected(ctx, now)
	u.sweepSettled(ctx, now)
}

// sweepExpected looks at the uploads whose bytes may still come.
func (u *Server) sweepExpected(ctx context.Context, now time.Time) {
	u.sweepOpen(ctx, now)
	u.sweepVoid(ctx, now)
}

// untilStop gives a context that ends when the gateway stops, or when cancel is called.
func (u *Server) untilStop() (ctx context.Context, cancel context.CancelFunc) {
	ctx, cancel = context.WithCancel(context.Background())
	go func() {
		select {
		case <-u.opts.Stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// trouble tells of what the sweep could not do; the next one tries again.
func (u *Server) trouble(ctx context.Context, job engine.JobID, err error) {
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, engine.ErrUnreachable), errors.Is(err, fs.ErrNotExist):
		u.opts.Logger.Debug("the sweep leaves an upload to the next one", "job", job, "error", err)
	default:
		u.opts.Logger.Warn("the sweep cannot check an upload; the next one tries again", "job", job, "error", err)
	}
}

func (u *Server) sweepOpen(ctx context.Context, now time.Time) {
	u.index.listing()
	jobs, err := u.shelf.list(ctx, open)
	if err != nil {
		u.trouble(ctx, "", err)
		return
	}
	for _, job := range u.index.missing(jobs) {
		up, err := u.shelf.read(ctx, open, job)
		if err != nil {
			u.trouble(ctx, job, err)
			continue
		}
		u.index.add(up)
	}
	u.index.complete()
	states, err := u.runtime.States(ctx, jobs)
	if err != nil {
		u.trouble(ctx, "", err)
		return
	}
	for i, job := range jobs {
		if ctx.Err() != nil {
			return
		}
		up, err := u.shelf.read(ctx, open, job)
		if err == nil {
			err = u.see(ctx, now, up, states[i])
		}
		u.trouble(ctx, job, err)
	}
}

// see decides about an open upload, and does what is to be done under its lock, after
// another look.
func (u *Server) see(ctx context.Context, now time.Time, up *upload, state engine.State) error {
	what, err := u.due(ctx, now, up, state)
	if what == "" || err != nil {
		return err
	}
	if h := u.locks.of(up.Job); h != nil {
		if what == "queued" {
			return nil // its request is just doing that
		}
		if what == "ended" {
			h.end()
		}
	}
	lock, cancel := context.WithTimeout(ctx, sweepLock)
	defer cancel()
	if err := u.locks.lock(lock, up.Job, false); err != nil {
		return nil // somebody works at it, or has removed it
	}
	err = u.swept(ctx, now, up, state, what)
	return errors.Join(err, u.locks.unlock(up.Job))
}

// due is what is to be done about an open upload: "" nothing, or what its metric says.
func (u *Server) due(ctx context.Context, now time.Time, up *upload, state engine.State) (string, error) {
	n, last, _, err := u.shelf.offset(ctx, up)
	if err != nil {
		return "", err
	}
	idle := now.Sub(last)
	switch {
	case state == "" && n == 0 && idle > max(voidAfter, u.opts.Idle):
		return "forgotten", nil
	case state == "":
		if idle > u.runtime.Retention()+forgetAfter {
			return "forgotten", nil
		}
		return "", nil
	case state.Ended() && n < up.Size:
		return "ended", nil
	case n >= up.Size || state != engine.Receiving:
		return "queued", nil
	case idle > u.opts.Idle:
		return "expired", nil
	}
	return "", nil
}

func (u *Server) swept(ctx context.Context, now time.Time, up *upload, state engine.State, what string) error {
	up, err := u.shelf.read(ctx, open, up.Job)
	if err != nil {
		return gone(err) // another gateway was faster
	}
	still, err := u.due(ctx, now, up, state)
	if err != nil || still != what {
		return err
	}
	switch what {
	case "forgotten":
		pinned, unknown := u.runtime.Pinned(ctx, up.Topic, []engine.JobID{up.Job})
		if pinned[up.Job] || unknown != nil {
			return unknown
		}
		u.index.remove(up.Job)
		err = u.shelf.forget(ctx, up)
	case "ended":
		err = u.discard(ctx, up)
	case "queued":
		if state == engine.Receiving {
			err = u.shelf.whole(ctx, up)
		}
		if err == nil {
			err = u.queue(ctx, up)
		}
		if errors.Is(err, errGone) {
			err = nil
		}
	case "expired":
		err = u.expire(ctx, up)
	}
	if err == nil {
		u.metrics.swept.WithLabelValues(what).Inc()
	}
	return err
}

// expire ends the job of an upload that receives nothing.
func (u *Server) expire(ctx context.Context, up *upload) error {
	err := u.runtime.ExpireReception(ctx, up.Job, u.opts.Idle)
	if err != nil && !errors.Is(err, engine.ErrEnded) {
		return err
	}
	return u.discard(ctx, up)
}

// sweepVoid ends jobs whose announcement has failed and was made nevertheless.
func (u *Server) sweepVoid(ctx context.Context, now time.Time) {
	jobs, err := u.shelf.list(ctx, void)
	u.trouble(ctx, "", err)
	for _, job := range jobs {
		if ctx.Err() != nil {
			return
		}
		up, err := u.shelf.read(ctx, void, job)
		if err != nil {
			u.trouble(ctx, job, err)
			continue
		}
		err = u.runtime.Fail(ctx, job, 0, engine.JobError{Code: engine.CodeUploadVoid, Message: "the upload's announcement failed"})
		if err == nil || errors.Is(err, engine.ErrEnded) || (errors.Is(err, engine.ErrNotFound) && now.Sub(up.Created) > voidAfter) {
			if err = u.shelf.forget(ctx, up); err == nil {
				u.metrics.swept.WithLabelValues("void").Inc()
			}
		}
		if !errors.Is(err, engine.ErrNotFound) {
			u.trouble(ctx, job, err)
		}
	}
}

// sweepSettled removes uploads that nothing refers to, and tickets that were never whole. A
// ticket is first moved to orphaned, and taken back from there if something refers to its
// upload again. Only those are looked at that are old enough, and those that are referred to
// not again for forgetAfter: the ticket's time says when they were.
func (u *Server) sweepSettled(ctx context.Context, now time.Time) {
	u.trouble(ctx, "", u.shelf.tidy(ctx, now.Add(-voidAfter)))
	u.sweepReferred(ctx, settled, func(job engine.JobID) bool {
		// The ID tells the job's age without a look at the file.
		return now.Sub(job.Time()) > u.runtime.Retention() && u.shelf.age(ctx, settled, job, now) > forgetAfter
	}, func(up *upload, referred bool) error {
		if !referred {
			if moved, err := u.shelf.move(ctx, up, orphaned); !moved || err != nil {
				return err
			}
			up.place = orphaned
		}
		return u.shelf.touch(ctx, up, now)
	})
	u.sweepReferred(ctx, orphaned, func(engine.JobID) bool { return true }, func(up *upload, referred bool) error {
		switch {
		case referred:
			_, err := u.shelf.move(ctx, up, settled)
			return err
		case u.shelf.age(ctx, orphaned, up.Job, now) <= forgetAfter:
			return nil
		}
		u.metrics.swept.WithLabelValues("forgotten").Inc()
		return u.shelf.forget(ctx, up)
	})
}

// sweepReferred decides about each upload at a place that is due to be looked at, with
// whether a job or a schedule refers to it.
func (u *Server) sweepReferred(ctx context.Context, at place, due func(engine.JobID) bool, decide func(up *upload, referred bool) error) {
	jobs, err := u.shelf.list(ctx, at)
	u.trouble(ctx, "", err)
	jobs = slices.DeleteFunc(jobs, func(job engine.JobID) bool { return !due(job) })
	states, err := u.runtime.States(ctx, jobs)
	if err != nil {
		u.trouble(ctx, "", err)
		return
	}
	unknown := map[engine.Topic][]*upload{}
	for i, job := range jobs {
		up, err := u.shelf.read(ctx, at, job)
		switch {
		case err != nil:
		case states[i] == "":
			unknown[up.Topic] = append(unknown[up.Topic], up)
		default:
			err = decide(up, true)
		}
		u.trouble(ctx, job, err)
	}
	for topic, ups := range unknown {
		ids := make([]engine.JobID, len(ups))
		for i, up := range ups {
			ids[i] = up.Job
		}
		pinned, err := u.runtime.Pinned(ctx, topic, ids)
		if err != nil {
			u.trouble(ctx, "", err)
			continue
		}
		for _, up := range ups {
			u.trouble(ctx, up.Job, decide(up, pinned[up.Job]))
		}
	}
}
