package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// snapshotEnded is how many of a topic's newest ended jobs a snapshot has, and of its newest ended
// children.
const snapshotEnded = 100

// A Snapshot is the present state of a topic's jobs.
type Snapshot struct {
	// Cursor is where a reader follows from. The jobs were read after it, so the records that
	// follow may be older than a job in Jobs: apply a view only when its Rev is higher than the
	// held one's.
	Cursor wire.Cursor
	Jobs   []wire.View
}

// Snapshot is that of engine.Engine.
func (st *Stream) Snapshot(ctx context.Context, topic wire.Topic, held wire.Cursor) (Snapshot, error) {
	p, err := NewPaging(held, 0, wire.Filter{})
	if err != nil {
		return Snapshot{}, err
	}
	var s Snapshot
	at := map[wire.JobID]int{}
	for {
		jobs, final, err := st.SnapshotPart(ctx, topic, &p)
		switch {
		case errors.Is(err, wire.ErrRewritten):
			if p, err = NewPaging("", 0, wire.Filter{}); err == nil {
				s.Jobs, at = nil, map[wire.JobID]int{}
				continue
			}
			return Snapshot{}, err
		case err != nil:
			return Snapshot{}, err
		}
		for _, v := range jobs {
			i, again := at[v.ID]
			if !again {
				i = len(s.Jobs)
				s.Jobs, at[v.ID] = append(s.Jobs, v), i
			}
			s.Jobs[i] = v // a view of a later part is never older
		}
		if final {
			s.Cursor = p.Cursor()
			return s, nil
		}
	}
}

// A SnapshotPage is a page of a snapshot, of at most 60 KiB.
type SnapshotPage struct {
	// Head is the topic's newest record, read before the jobs.
	Head wire.Cursor
	Jobs []wire.View

	live int        // how many of the jobs are live
	next string     // where the next page begins; "" for none
	cut  wire.JobID // the last live job, if the limit left out others
}

// A SnapshotQuery asks for a page of a snapshot. A Paging returns it. Equal queries of several
// Pagings ask for the same page. One page serves all of them if it is read after the cursor of
// each.
type SnapshotQuery struct{ listing }

// SnapshotPage reads a page of a snapshot. One call blocks Redis for one page only, however many
// jobs the topic has. Errors to branch on: ErrInvalidTopic, ErrUnreachable.
func (st *Stream) SnapshotPage(ctx context.Context, topic wire.Topic, q SnapshotQuery) (SnapshotPage, error) {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return SnapshotPage{}, err
	}
	return st.list(ctx, topic, q.listing)
}

// A Paging is a reader's place in a snapshot of a topic. It holds no job. It decides; it does no
// input or output, and it is not safe for concurrent use.
//
//	first page ─▶ pages of live jobs, newest first ─▶ pages of ended ones ─▶ replay from the cursor
//	    ▲                                                                        │        │
//	    └───────────────────── trimmed: another round ◀──────────────────────────┘        ▼ resumed
//	                                                                                    complete
//
// The first page's head is the cursor. A job that is live until its page is read is in that page. A
// job that ends before is among the ended ones, which come last, since they are all that have ended
// after the cursor. A job that begins or changes later has a record after the cursor, and the
// reader gets that record next.
//
// If those records are trimmed before the last page, another round has the jobs that have changed
// since: those with a Rev above the cursor, after a later cursor. A snapshot of one page is
// complete at once.
//
// A filter's State applies to the jobs as they are when their page is read. Another round has
// changed jobs in any state, since the reader may hold a job that has left the filter's State.
type Paging struct {
	filter  string      // in canonical form
	held    wire.Cursor // the reader's cursor; the jobs that ended since are included; "" for none
	limit   int         // how many more live jobs the snapshot may have, if limited
	limited bool

	cursor wire.Cursor
	begun  bool       // Take was called
	within bool       // Take was called in the present round
	newer  uint64     // from the second round on: the cursor of the round before
	after  string     // where the next page begins
	last   wire.JobID // the last live job, if the limit left out others
	over   bool       // the round has no more pages
}

// NewPaging begins a snapshot. held is the reader's cursor if records after it were trimmed: the
// snapshot then has all jobs that ended since; otherwise "". limit, 1 to wire.MaxSnapshotLimit,
// bounds the live jobs, of which the snapshot has the newest; 0 is no bound. filter selects among
// all those; with a Job it selects that job, however long ago it ended. Errors to branch on:
// ErrInvalidCursor, ErrInvalid, ErrInvalidJobID.
func NewPaging(held wire.Cursor, limit int, filter wire.Filter) (Paging, error) {
	if held != "" {
		if _, err := wire.ParseCursor(string(held)); err != nil {
			return Paging{}, err
		}
	}
	if err := option.Within("limit", limit, 0, wire.MaxSnapshotLimit); err != nil {
		return Paging{}, err
	}
	if err := filter.Validate(); err != nil {
		return Paging{}, err
	}
	return Paging{filter: filter.String(), held: held, limit: limit, limited: limit > 0}, nil
}

// Cursor is where a reader follows from once the snapshot is complete; "" before its first page.
// Another round moves it.
func (p *Paging) Cursor() wire.Cursor { return p.cursor }

// More is the After with which Jobs lists the live jobs that the limit left out; "" if there are
// none.
func (p *Paging) More() string {
	if p.last == "" {
		return ""
	}
	return "live:" + string(p.last)
}

// Next returns the query of the next page; false when all pages were taken, and a replay from
// Cursor must decide.
func (p *Paging) Next() (SnapshotQuery, bool) {
	q := listing{filter: p.filter, stray: p.newer > 0, after: p.after, on: !p.within, last: p.last, newer: p.newer}
	live := !strings.HasPrefix(p.after, "ended:")
	if live && p.limited && p.last == "" && p.newer == 0 {
		q.limited, q.live = true, p.limit
	}
	if !live || q.on {
		q.ending, q.since, q.newest = true, wire.MaxNumber, snapshotEnded
		if p.begun {
			q.since = p.cursor.N()
		}
		if p.held != "" {
			q.since = min(q.since, p.held.N())
		}
		if p.newer > 0 {
			q.since, q.newest = p.newer, 0
		}
	}
	return SnapshotQuery{q}, !p.over
}

// Take takes the page that Next asked for, and reports whether the snapshot is now complete. Its
// only error is ErrRewritten.
func (p *Paging) Take(page SnapshotPage) (complete bool, err error) {
	if p.begun && page.Head.N() < p.cursor.N() {
		return false, wire.ErrRewritten
	}
	first := !p.within
	if first {
		p.cursor = page.Head
	}
	p.begun, p.within = true, true
	if p.limited && p.newer == 0 {
		p.limit -= page.live
	}
	if p.last == "" {
		p.last = page.cut
	}
	p.after, p.over = page.next, page.next == ""
	return first && p.over, nil
}

// Decide takes the verdict of a replay from Cursor after the last page, and reports whether the
// snapshot is complete. If not, another round begins. Its only error is ErrRewritten.
func (p *Paging) Decide(v wire.Verdict) (complete bool, err error) {
	switch v {
	case wire.Resumed:
		return true, nil
	case wire.Trimmed:
		p.newer, p.after, p.within, p.over = p.cursor.N(), "", false, false
		return false, nil
	}
	return false, wire.ErrRewritten
}

// SnapshotPart reads the next part of a snapshot, and reports whether it is the last. A part may
// have no jobs, also where the filter matches none of 5,000. After an error the caller may call it
// again. Errors to branch on: ErrInvalidTopic, ErrUnreachable, and ErrRewritten, after which the
// caller needs a new Paging.
func (st *Stream) SnapshotPart(ctx context.Context, topic wire.Topic, p *Paging) (jobs []wire.View, final bool, err error) {
	for range listCalls {
		if jobs, final, err = st.snapshotPage(ctx, topic, p); len(jobs) > 0 || final || err != nil {
			break
		}
	}
	return jobs, final, err
}

func (st *Stream) snapshotPage(ctx context.Context, topic wire.Topic, p *Paging) (jobs []wire.View, final bool, err error) {
	q, pages := p.Next()
	if !pages {
		page, err := st.Replay(ctx, topic, p.cursor)
		if err == nil {
			final, err = p.Decide(page.Verdict)
		}
		return nil, final, err
	}
	page, err := st.SnapshotPage(ctx, topic, q)
	if err == nil {
		final, err = p.Take(page)
	}
	return page.Jobs, final, err
}

// String encodes a Paging, for callers that keep it between two requests.
func (p Paging) String() string {
	mark := func(b bool) string { return strconv.Itoa(map[bool]int{true: 1}[b]) }
	return strings.Join([]string{
		string(p.cursor), string(p.held), mark(p.limited), strconv.Itoa(p.limit), mark(p.within), mark(p.over),
		strconv.FormatUint(p.newer, 10), string(p.last), p.after, p.filter,
	}, ",")
}

// ParsePaging parses the String of a Paging of which a part was read. Its error wraps ErrInvalid.
func ParsePaging(s string) (Paging, error) {
	f := strings.Split(s, ",")
	if len(f) != 10 {
		return Paging{}, fmt.Errorf("%w page %q: want the next of another part", wire.ErrInvalid, excerpt.Of(s, 80))
	}
	_, wrong := wire.ParseCursor(f[0])
	limit, err := strconv.Atoi(f[3])
	filter, unread := filterOf(f[9])
	p, bounds := NewPaging(wire.Cursor(f[1]), 0, filter)
	err = errors.Join(wrong, err, unread, bounds, option.Within("limit", limit, 0, wire.MaxSnapshotLimit), checkPlace(f[8]))
	if f[7] != "" {
		_, wrong = wire.ParseJobID(f[7])
		err = errors.Join(err, wrong)
	}
	if err != nil || !decimal(f[6]) {
		return Paging{}, fmt.Errorf("%w page %q: want the next of another part", wire.ErrInvalid, excerpt.Of(s, 80))
	}
	p.cursor, p.begun, p.limit = wire.Cursor(f[0]), true, limit
	p.limited, p.within, p.over = f[2] == "1", f[4] == "1", f[5] == "1"
	p.newer, p.last, p.after = ground.Number(f[6]), wire.JobID(f[7]), f[8]
	return p, nil
}

func decimal(s string) bool {
	n, err := strconv.ParseUint(s, 10, 64)
	return err == nil && n <= wire.MaxNumber
}
