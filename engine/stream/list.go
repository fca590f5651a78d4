package stream

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Bounds of one page of jobs, both of a list and of a snapshot.
const (
	// listBytes bounds the views of a page together; a page may have one view of any size.
	listBytes = 60 << 10
	// listEntries is how many jobs one call examines, whether or not they match.
	listEntries = 500
	// listCalls is how many such calls one page of a filtered list may take, or one part of a
	// filtered snapshot.
	listCalls = 10
)

// Jobs is that of engine.Engine.
func (st *Stream) Jobs(ctx context.Context, topic wire.Topic, q wire.JobsQuery) (wire.JobsPage, error) {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return wire.JobsPage{}, err
	}
	option.Default(&q.Limit, 100)
	if err := option.Within("Limit", q.Limit, 1, listEntries); err != nil {
		return wire.JobsPage{}, err
	}
	if err := checkPlace(q.After); err != nil {
		return wire.JobsPage{}, err
	}
	if err := q.Filter.Validate(); err != nil {
		return wire.JobsPage{}, err
	}
	l := listing{after: q.After, on: true, filter: q.Filter.String()}
	page := wire.JobsPage{Next: q.After}
	for range listCalls {
		l.jobs = q.Limit - len(page.Jobs)
		part, err := st.list(ctx, topic, l)
		if err != nil {
			return wire.JobsPage{}, err
		}
		page.Jobs, page.Next = append(page.Jobs, part.Jobs...), part.next
		for _, v := range part.Jobs {
			l.held += len(v.JSON)
		}
		full := len(page.Jobs) == q.Limit || part.next == l.after // the next job does not fit
		if l.filter == "" || page.Next == "" || full {
			break
		}
		l.after = page.Next
	}
	return page, nil
}

// A place is where a page of jobs begins: "live:" and "ended:" at the start of each kind, otherwise
// after the live job with an ID, or after the ended one with a score. "" means "live:".
func checkPlace(after string) error {
	kind, place, _ := strings.Cut(after, ":")
	valid := after == ""
	switch {
	case kind == "live" && place != "":
		_, err := wire.ParseJobID(place)
		valid = err == nil
	case kind == "ended":
		n, err := strconv.ParseInt(place, 10, 64)
		valid = after == "ended:" || err == nil && n >= -wire.MaxNumber && n <= wire.MaxNumber
	}
	if !valid {
		return fmt.Errorf("%w After %q: want the Next of another page", wire.ErrInvalid, excerpt.Of(after, 80))
	}
	return nil
}

// A listing is the arguments of list.lua, which explains its fields.
type listing struct {
	filter  string // in canonical form, so that listings compare with ==
	stray   bool   // jobs in any state match, whatever the filter's State
	after   string
	jobs    int // 0 means as many as a call examines
	held    int
	on      bool
	limited bool // live applies
	live    int
	last    wire.JobID
	ending  bool // since and newest apply
	since   uint64
	newest  int
	newer   uint64 // 0 means none
}

func (st *Stream) list(ctx context.Context, topic wire.Topic, l listing) (SnapshotPage, error) {
	filter, err := filterOf(l.filter)
	if err != nil {
		return SnapshotPage{}, err
	}
	if l.stray {
		filter.State = ""
	}
	phase, place, _ := strings.Cut(l.after, ":")
	args := []any{string(topic), phase, place, l.jobs, listBytes, l.held, listEntries, 0, "", string(l.last), "", "", ""}
	if phase == "" {
		args[1] = "live"
	}
	if l.jobs == 0 {
		args[3] = listEntries
	}
	if l.on {
		args[7] = 1
	}
	if l.limited {
		args[8] = l.live
	}
	if l.ending {
		args[10], args[11] = l.since, l.newest
	}
	if l.newer > 0 {
		args[12] = l.newer
	}
	args = append(args, conditions(topic, filter)...)
	answer, err := st.g.Scripts.List.Run(ctx, st.g.Redis, st.g.Keys.Declared(ground.ShardOf(topic, st.g.Opts.Shards)), args...).Slice()
	if err != nil {
		return SnapshotPage{}, ground.Failure("list jobs of "+string(topic), err)
	}
	page := SnapshotPage{Head: wire.Cursor(ground.Text(answer[0])), next: ground.Text(answer[1]), Jobs: make([]wire.View, 0, len(answer)-3)}
	page.cut = wire.JobID(strings.TrimPrefix(ground.Text(answer[2]), "live:"))
	for _, a := range answer[3:] {
		job, _ := a.([]any)
		f, _ := job[1].([]any)
		if !wire.State(ground.Text(f[1])).Ended() {
			page.live++
		}
		page.Jobs = append(page.Jobs, ground.ComposeView(wire.JobID(ground.Text(job[0])), f))
	}
	return page, nil
}

// filterOf parses a filter's canonical form.
func filterOf(s string) (wire.Filter, error) {
	q, err := url.ParseQuery(s)
	if err != nil {
		return wire.Filter{}, fmt.Errorf("%w filter %q", wire.ErrInvalid, excerpt.Of(s, 80))
	}
	return wire.ParseFilter(q)
}

// conditions are list.lua's arguments for a filter.
func conditions(topic wire.Topic, f wire.Filter) []any {
	only := ""
	if f.State != "" {
		only = "live"
		if f.State.Ended() {
			only = "ended"
		}
	}
	from, to := f.Created()
	args := []any{only, string(f.Job), from, to}
	if f.Job != "" {
		args = append(args, "t", string(topic)) // the job could be another topic's
	}
	if f.Type != "" {
		args = append(args, "ty", f.Type)
	}
	if f.State != "" {
		args = append(args, "st", string(f.State))
	}
	switch f.Parent {
	case "":
	case wire.NoParent:
		args = append(args, "pa", "")
	default:
		args = append(args, "pa", string(f.Parent))
	}
	for name, value := range f.Labels {
		args = append(args, ground.LabelField+name, value)
	}
	return args
}
