package wire

import "github.com/tidemark-dev/tidemark/internal/option"

// A Verdict says whether a reader can go on from its cursor.
type Verdict string

// The verdicts.
const (
	// Resumed: every record after the cursor follows.
	Resumed Verdict = "resumed"
	// Trimmed: records after the cursor are gone from the stream.
	Trimmed Verdict = "trimmed"
	// Rewritten: the stream does not hold the history that the cursor is from, as
	// after a failover that lost writes.
	Rewritten Verdict = "rewritten"
)

// FollowQuery says what to follow.
type FollowQuery struct {
	// Topic is whose records. Not needed with a Filter's Job.
	Topic Topic
	// Filter narrows it to the records, and the jobs of a snapshot, that match. With a Job
	// the iterator ends after that job's last record.
	Filter Filter
	// After is the cursor of the last record held; "" begins with a snapshot.
	After Cursor
	// Limit bounds the live jobs of a snapshot, of which the newest are given, 1 to
	// MaxSnapshotLimit; 0: all are.
	Limit int
}

// MaxSnapshotLimit is the largest bound of a snapshot's live jobs.
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

// UpdateKind says what an Update brings.
type UpdateKind string

// The kinds of updates.
const (
	// UpdateRecord: Entry is the next record.
	UpdateRecord UpdateKind = "record"
	// UpdateSnapshot: Jobs are a part of the present state of the topic's jobs; Reason
	// says why the records themselves could not be given. Part 1 begins a snapshot, whether
	// or not the one before it came to its end. With the part that is Final, a job that the
	// reader holds and that none of its parts had is no longer the topic's, or has ended
	// long ago; with More, that is not true of live jobs behind More.
	UpdateSnapshot UpdateKind = "snapshot"
	// UpdateLive: everything up to now has been given.
	UpdateLive UpdateKind = "live"
	// UpdateInterrupted: Redis is away for the reason Err; the iterator goes on by
	// itself.
	UpdateInterrupted UpdateKind = "interrupted"
)

// Fresh is the reason of the snapshot that a reader without a cursor begins with;
// the other reasons are Trimmed and Rewritten.
const Fresh Verdict = "fresh"

// An Update is one step of Follow.
type Update struct {
	Kind UpdateKind
	// Cursor is the reader's after this update. A part of a snapshot that is not the
	// final one leaves it as it was.
	Cursor Cursor
	Entry  Entry
	Reason Verdict
	Jobs   []View
	// Part counts the parts of a snapshot from 1; Final says that it ends with this one.
	Part  int
	Final bool
	// More is there with Final if live jobs were left out for their number: it is the
	// After with which Jobs lists them. IDs of jobs behind it are below the one in it.
	More string
	Err  error
}

// Record decodes the record of an update of kind UpdateRecord.
func (u Update) Record() (Record, error) { return u.Entry.Record() }
