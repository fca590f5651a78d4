package wire

import "github.com/tidemark-dev/tidemark/internal/option"

// A Verdict says whether a reader can go on from its cursor.
type Verdict string

// The verdicts.
const (
	// Resumed: every record after the cursor follows.
	Resumed Verdict = "resumed"
	// Trimmed: the stream has dropped records after the cursor.
	Trimmed Verdict = "trimmed"
	// Rewritten: the stream does not hold the cursor's history, as after a failover that lost
	// writes.
	Rewritten Verdict = "rewritten"
)

// FollowQuery says what to follow.
type FollowQuery struct {
	// Topic is the topic to follow. A Filter with a Job needs none.
	Topic Topic
	// Filter selects the records, and the jobs of a snapshot. With a Job the iterator ends after
	// that job's last record.
	Filter Filter
	// After is the cursor of the last record that the reader holds; "" begins with a snapshot.
	After Cursor
	// Limit bounds the live jobs of a snapshot, from 1 to MaxSnapshotLimit; the snapshot has the
	// newest. 0 means all.
	Limit int
}

// MaxSnapshotLimit is the largest Limit.
const MaxSnapshotLimit = 100_000

// Validate checks the query. Its error wraps ErrInvalidTopic, ErrInvalidJobID, ErrInvalidCursor or
// ErrInvalid.
func (q FollowQuery) Validate() error {
	if q.After != "" {
		if _, err := ParseCursor(string(q.After)); err != nil {
			return err
		}
	}
	if err := option.Within("Limit", q.Limit, 0, MaxSnapshotLimit); err != nil {
		return err
	}
	if err := q.Filter.Validate(); err != nil || q.Filter.Job != "" {
		return err
	}
	_, err := ParseTopic(string(q.Topic))
	return err
}

// UpdateKind says what an Update contains.
type UpdateKind string

// The kinds of updates.
const (
	// UpdateRecord: Entry is the next record.
	UpdateRecord UpdateKind = "record"
	// UpdateSnapshot: Jobs are a part of the present state of the topic's jobs; Reason says why the
	// reader does not get the records themselves. Part 1 begins a snapshot, even if the one before
	// it did not end. After the Final part the reader drops each job that no part had: it is no
	// longer the topic's, or ended long ago. With More, that is not true of live jobs behind More,
	// unless a Filter has a State: they may have left it.
	UpdateSnapshot UpdateKind = "snapshot"
	// UpdateLive: the reader has everything up to now.
	UpdateLive UpdateKind = "live"
	// UpdateInterrupted: Redis is away, for the reason Err. The iterator goes on by itself.
	UpdateInterrupted UpdateKind = "interrupted"
)

// Fresh is the reason of the snapshot for a reader without a cursor. The other reasons are Trimmed
// and Rewritten.
const Fresh Verdict = "fresh"

// An Update is one step of Follow.
type Update struct {
	Kind UpdateKind
	// Cursor is the reader's cursor after this update. A part of a snapshot that is not the final
	// one does not change it.
	Cursor Cursor
	Entry  Entry
	Reason Verdict
	Jobs   []View
	// Part numbers the parts of a snapshot from 1; Final marks the last one.
	Part  int
	Final bool
	// More is set together with Final if the snapshot left out live jobs because of their number.
	// It is the After with which Jobs lists them. Their IDs are below the one in it.
	More string
	Err  error
}

// Record decodes the record of an UpdateRecord.
func (u Update) Record() (Record, error) { return u.Entry.Record() }
