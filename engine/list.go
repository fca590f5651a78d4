package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Bounds of one page of jobs, of a list and of a snapshot alike.
const (
	// listBytes is the most that a page's views have together; one view is given
	// whatever its size.
	listBytes = 60 << 10
	// listEntries is how many jobs one call looks at, whether or not it gives them.
	listEntries = 500
)

// Jobs lists a topic's jobs: those that live, newest first, then those that have
// ended, last ended first, and then the children that have ended, in the same way. A
// page has at most 60 KiB, so it may have fewer jobs than Limit; where jobs are gone it
// may have none, and a Next all the same. Errors to branch on: ErrInvalidTopic,
// ErrInvalid, ErrUnreachable.
func (e *Engine) Jobs(ctx context.Context, topic Topic, q JobsQuery) (JobsPage, error) {
	if _, err := ParseTopic(string(topic)); err != nil {
		return JobsPage{}, err
	}
	option.Default(&q.Limit, 100)
	if err := option.Within("Limit", q.Limit, 1, listEntries); err != nil {
		return JobsPage{}, err
	}
	if err := checkPlace(q.After); err != nil {
		return JobsPage{}, err
	}
	page, err := e.list(ctx, topic, listing{after: q.After, jobs: q.Limit, on: true})
	return JobsPage{Jobs: page.Jobs, Next: page.next}, err
}

// A place is where a page of jobs begins: "live:" and "ended:" at the beginning of each
// kind, and behind the live job with an ID or the ended one with a score. "" is "live:".
func checkPlace(after string) error {
	kind, place, _ := strings.Cut(after, ":")
	valid := after == ""
	switch {
	case kind == "live" && place != "":
		_, err := ParseJobID(place)
		valid = err == nil
	case kind == "ended":
		n, err := strconv.ParseInt(place, 10, 64)
		valid = after == "ended:" || err == nil && n >= -wire.MaxNumber && n <= wire.MaxNumber
	}
	if !valid {
		return fmt.Errorf("%w After %q: want the Next of another page", ErrInvalid, excerpt.Of(after, 80))
	}
	return nil
}

// A listing is what list.lua is asked, which explains its fields.
type listing struct {
	after   string
	jobs    int // 0: as many as a call looks at
	on      bool
	limited bool // live counts
	live    int
	last    JobID
	ending  bool // since and newest count
	since   uint64
	newest  int
	newer   uint64 // 0: none
}

func (e *Engine) list(ctx context.Context, topic Topic, l listing) (SnapshotPage, error) {
	phase, place, _ := strings.Cut(l.after, ":")
	args := []any{string(topic), phase, place, l.jobs, listBytes, listEntries, 0, "", string(l.last), "", "", ""}
	if phase == "" {
		args[1] = "live"
	}
	if l.jobs == 0 {
		args[3] = listEntries
	}
	if l.on {
		args[6] = 1
	}
	if l.limited {
		args[7] = l.live
	}
	if l.ending {
		args[9], args[10] = l.since, l.newest
	}
	if l.newer > 0 {
		args[11] = l.newer
	}
	answer, err := e.scripts.list.Run(ctx, e.redis, e.keys.declared(shardOf(topic, e.opts.Shards)), args...).Slice()
	if err != nil {
		return SnapshotPage{}, failure("list jobs of "+string(topic), err)
	}
	page := SnapshotPage{Head: Cursor(text(answer[0])), next: text(answer[1]), Jobs: make([]View, 0, len(answer)-3)}
	page.cut = JobID(strings.TrimPrefix(text(answer[2]), "live:"))
	for _, a := range answer[3:] {
		job, _ := a.([]any)
		f, _ := job[1].([]any)
		if !State(text(f[1])).Ended() {
			page.live++
		}
		page.Jobs = append(page.Jobs, composeView(JobID(text(job[0])), f))
	}
	return page, nil
}
