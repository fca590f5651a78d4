// Package silence tells which runs of other workers have fallen silent.
package silence

import (
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// A Watch is what a sweeper has seen of other workers' runs. Silence is observed, not
// computed from a clock that others set: it is the time between good reads that this process,
// on its monotonic clock, has watched a beat stand still, and a claim needs a whole
// lease of it.
//
// It needs no list of the runs for that. Each shard counts the heartbeats of all its
// runs, and a run's last one has the count of then, its mark. A run whose mark an earlier
// reading already told has not beaten since that reading, so a sweep asks for what lies at
// or below the marks of the reading a lease of watched time ago: what has been silent for
// a lease, and nothing else.
//
// Good reads follow each other closely. What lies between them is watched time, and
// a run that is alive beats in it: beats are at most half a lease apart. There are two
// ways for it to be otherwise.
//
//   - A read failed, or another Redis answered, or one whose count went back: what
//     happened to beats is unknown, so all is forgotten, and each run has a whole lease.
//   - Two good reads are more than half a lease apart, a gap. Either this process was
//     held up and all others went on, or Redis was, or all of them were: from here they
//     look alike. So a gap is no silence, but what was seen before it stays true, since
//     the same Redis answers.
//
// Is that enough for a run that is alive? With beats H apart, no more than H was watched of
// its silence before the gap, so L-H is left to watch. Where that is short, as with an H
// of half a lease, it is not long enough to tell, for the gap may have taken a beat with
// it. Hence the second condition: after a gap, the time of two beats and at least half a
// lease must be watched, without another gap. So a living run has
// max(L-H, 2H, L/2) after Redis answers again, needs H, and has at least L/3 to spare.
// A dead run is claimed after the lease and the gap, or max(2H, L/2) after the gap,
// whichever is later, where it used to be a whole lease after it.
//
// A Redis that answers reads may refuse writes: it is short of memory or of replicas, it
// cannot save, or it is a replica for a while. Then no run beats. So once a beat has stood
// still for so long that only max(2H, L/2) of its lease is left, its shard must take a write
// of the sweeper's after each reading until the claim. A refusal begins the lease of all its runs anew.
// With beats at most a third of a lease apart, no run that is alive and able to write gets there,
// so it costs a write only where a run is silent.
type Watch struct {
	lease time.Duration
	beats time.Duration // between two of a worker's heartbeats

	// readings are the good ones, oldest first: of those that lie a lease back only the
	// newest is kept.
	readings []reading
	last     time.Time     // the last good read; zero: there is nothing to go on from
	watched  time.Duration // in all, up to last
	settled  time.Duration // the watched time at which claims may follow the last gap
	shards   []shardWatch
}

// reading is the marks of all shards, and the watched time at which they were read.
type reading struct {
	marks []uint64
	at    time.Duration
}

// shardWatch is what a Watch knows of one shard.
type shardWatch struct {
	oldest uint64 // the mark of the oldest beat; 0: nothing runs
	// refused is the watched time of the last write that was refused: what was seen of
	// silence before it counts for nothing.
	refused time.Duration
	// written is the watched time from which on the shard is known to take writes. Zero: it
	// is not known.
	written time.Duration
	redis   string // the Redis behind
	unread  bool   // the last reading did not read it
}

// New makes a watch that has seen nothing. lease is how long a run is silent before it may be
// claimed, beats the time between two of a worker's heartbeats.
func New(lease, beats time.Duration) *Watch { return &Watch{lease: lease, beats: beats} }

// enough is the least time for which a Redis must have been well before a claim.
func (h *Watch) enough() time.Duration { return max(h.lease/2, 2*h.beats) }

// Failed forgets everything: between two reads anything may have happened.
func (h *Watch) Failed() { h.readings, h.shards, h.last = nil, nil, time.Time{} }

// Since is what a reading that begins now is to ask for: the marks of the newest reading
// that lies a whole lease back; nil while there is none.
func (h *Watch) Since(began time.Time) []uint64 {
	// What the answer says is so when the reading begins, or later.
	i := h.newest(h.watched + began.Sub(h.last))
	if i < 0 {
		return nil
	}
	marks := slices.Clone(h.readings[i].marks)
	for shard, s := range h.shards {
		if h.readings[i].at < s.refused {
			marks[shard] = 0
		}
	}
	return marks
}

// newest is which reading is the newest that lies a whole lease before a watched time; -1:
// none.
func (h *Watch) newest(at time.Duration) int {
	for i := len(h.readings) - 1; i >= 0; i-- {
		if at-h.readings[i].at >= h.lease {
			return i
		}
	}
	return -1
}

// silence is the watched time since which a shard's oldest beat is known to stand still.
func (h *Watch) silence(shard int) (time.Duration, bool) {
	s := h.shards[shard]
	if s.oldest == 0 {
		return 0, false
	}
	for _, r := range h.readings {
		if r.at >= s.refused && r.marks[shard] >= s.oldest {
			return r.at, true
		}
	}
	return 0, false
}

// Doubted are the shards that must take writes from now on, for a claim to follow.
func (h *Watch) Doubted() (shards []int) {
	for i := range h.shards {
		if at, still := h.silence(i); still && h.watched-at >= h.lease-h.enough() {
			shards = append(shards, i)
		} else {
			h.shards[i].written = 0
		}
	}
	return shards
}

// Wrote notes whether a shard took a write that was answered at a time.
func (h *Watch) Wrote(shard int, taken bool, at time.Time) {
	s, now := &h.shards[shard], h.watched+at.Sub(h.last)
	switch last := h.readings[len(h.readings)-1]; {
	case !taken:
		// What was silent at the last reading is so from now on.
		s.refused, s.written = now, 0
		if last.at < now {
			h.readings = append(h.readings, reading{last.marks, now})
		}
	case s.written == 0:
		s.written = now
	}
}

// Read takes a reading that began and ended at the times given, and that asked for since.
// It returns the jobs whose beat has not changed for a whole lease, with that beat, and how
// long the gap before the reading was, 0 if there was none.
func (h *Watch) Read(shards []runtime.Beats, began, ended time.Time) (silent map[engine.JobID]string, gap time.Duration) {
	apart, now := ended.Sub(h.last), reading{marks: make([]uint64, len(shards))}
	for i, s := range shards {
		if now.marks[i] = s.Mark; s.Oldest == 0 && len(h.readings) > 0 {
			now.marks[i] = h.readings[len(h.readings)-1].marks[i] // it was not told
		}
	}
	switch {
	case h.last.IsZero() || h.wentBack(now) || h.another(shards):
		h.readings, h.settled = nil, 0
		h.shards = make([]shardWatch, len(shards))
		apart = 0
	case apart > h.lease/2:
		h.settled = h.watched + h.enough()
		apart, gap = 0, apart
	}
	h.last = ended
	h.watched += apart
	sure := h.watched - ended.Sub(began)
	for i, s := range shards {
		own := &h.shards[i]
		if s.Err != nil || own.unread || s.Redis != own.redis {
			own.refused, own.written = h.watched, 0
		}
		own.oldest, own.unread, own.redis = s.Oldest, s.Err != nil, s.Redis
		if gap > 0 || sure < h.settled || own.written == 0 || sure-own.written < h.enough() {
			continue
		}
		for job, beat := range s.Silent {
			if silent == nil {
				silent = map[engine.JobID]string{}
			}
			silent[job] = beat
		}
	}
	now.at = h.watched
	h.readings = append(h.readings[max(0, h.newest(h.watched)):], now)
	return silent, gap
}

// another reports whether all shards that were read are of another Redis than before.
func (h *Watch) another(shards []runtime.Beats) bool {
	for i, s := range shards {
		if s.Err == nil && s.Redis == h.shards[i].redis {
			return false
		}
	}
	return true
}

// wentBack reports whether a shard has counted fewer beats than before.
func (h *Watch) wentBack(now reading) bool {
	if len(h.readings) == 0 {
		return false
	}
	for i, mark := range h.readings[len(h.readings)-1].marks {
		if now.marks[i] < mark {
			return true
		}
	}
	return false
}

// Wait is how long after a reading the next one is due: an interval, or less where a
// beat comes into doubt before that, or a whole lease of silence may be seen, which a
// reading just too early would put off by an interval. While nothing runs it is the longest
// that an interval may be.
func (h *Watch) Wait(interval time.Duration) time.Duration {
	if len(h.shards) > 0 && !slices.ContainsFunc(h.shards, func(s shardWatch) bool { return s.oldest > 0 }) {
		return max(interval, h.lease/4)
	}
	wait := interval
	for i, s := range h.shards {
		at, still := h.silence(i)
		if !still {
			continue
		}
		next := at + h.lease - h.enough()
		if s.written > 0 {
			next = max(at+h.lease, s.written+h.enough())
		}
		if left := next - h.watched; left > 0 {
			wait = min(wait, left)
		}
	}
	return max(wait, interval/4)
}
