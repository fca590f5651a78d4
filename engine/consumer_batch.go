package engine

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// ErrFenced is what an OutboxStore answers a batch with that it does not admit: another
// reader has taken the shard, or has stored what the batch holds.
var ErrFenced = errors.New("another reader has taken the shard")

// An OutboxPosition says up to which record a reader has stored a shard's outbox. It is a text
// of at most 100 ASCII characters, which an OutboxStore keeps as it is; "" is that of a reader that has stored
// nothing. It names the record, what the record says, and the history of the Redis that the
// record was read from, so that a reader notices when Redis has lost some of it.
type OutboxPosition string

// An OutboxPlace is what an OutboxStore keeps of a shard: the Through and the Fence of the
// batch that it stored last.
type OutboxPlace struct {
	Position OutboxPosition
	Fence    int64
}

// An OutboxStore keeps what a consumer makes of the records, such as rows in SQL, and beside it
// how far that is. Its methods are called concurrently, for different shards. Their ctx ends
// when the reader has lost its shard.
type OutboxStore interface {
	// Place returns a shard's place: the zero OutboxPlace when the store has none.
	Place(ctx context.Context, shard int) (OutboxPlace, error)

	// Commit stores a batch in one transaction: it reads the shard's place, refuses the batch
	// with ErrFenced unless OutboxBatch.Admits it, and otherwise stores what it makes of the
	// records and the batch's place. After another error the reader asks for the place
	// again and goes on from there, so an error may also come after the transaction. A batch
	// may be without records.
	//
	// Commit answers with an error that wraps a *PoisonError, having stored nothing, when one
	// record can never be stored. That record is set aside, and the batch comes
	// again without it.
	Commit(ctx context.Context, b OutboxBatch) error
}

// An OutboxBatch is what a reader hands to an OutboxStore at once.
type OutboxBatch struct {
	Shard int
	// Fence is the reader's number: each reader of a shard has a higher one than those before.
	Fence int64
	// After is the shard's position before the batch, Through the one behind it.
	After, Through OutboxPosition
	// Gaps say which records may be missing. They lie before the batch's records.
	Gaps []OutboxGap
	// Records are in the order of the outbox, which is that of each topic.
	Records []OutboxRecord
	// Aside are records between After and Through that Commit has called poison.
	Aside []AsideRecord
}

// Place is what the store keeps of the shard with the batch.
func (b OutboxBatch) Place() OutboxPlace { return OutboxPlace{Position: b.Through, Fence: b.Fence} }

// Admits says whether the batch may be stored while the store has place of its shard.
func (b OutboxBatch) Admits(place OutboxPlace) bool {
	return place.Fence <= b.Fence && place.Position == b.After
}

// An OutboxRecord is a record as the outbox has it. (Topic, ID) is its identity. After a gap that
// GapReason.Repeats, records come again that were stored before.
type OutboxRecord struct {
	Entry
	// OutboxID is the record's ID in its shard's outbox, "<ms>-<k>": ms is Redis's clock, and
	// IDs rise, with gaps.
	OutboxID string
}

// GapReason says why records may be missing.
type GapReason string

// The reasons of gaps.
const (
	// GapCapped: the outbox had reached its cap, and dropped them unread.
	GapCapped GapReason = "capped"
	// GapTrimmed: the group has acknowledged them, but the store does not have them, as after
	// a restore of its backup.
	GapTrimmed GapReason = "trimmed"
	// GapForgotten: Redis lost the outbox, as after FLUSHALL, or the group was dropped for a
	// while. The new outbox holds everything after Through.
	GapForgotten GapReason = "forgotten"
	// GapRewritten: Redis has another history than the one that was read, as after a restart
	// from an older state. Everything that the outbox holds comes again.
	GapRewritten GapReason = "rewritten"
	// GapRestarted: Redis is another process, or has another replication history, and holds the
	// position. Records that it had acknowledged may be lost; none is known to be.
	GapRestarted GapReason = "restarted"
)

// Repeats says whether records that were stored before may come again after such a gap.
func (r GapReason) Repeats() bool { return r == GapRewritten || r == GapForgotten }

// An OutboxGap says that records may be missing.
type OutboxGap struct {
	Reason GapReason
	// After and Through are IDs of the outbox, see OutboxRecord.OutboxID: what is missing is
	// after the first, up to and with the second. Through is "" where Redis does not
	// know any more how far its lost history went: that is no later than the batch.
	After, Through string
}

// A PoisonError says that a record can never be stored.
type PoisonError struct {
	// Record is its index in the batch's Records.
	Record int
	// Reason is kept with it, clipped to 1 KiB.
	Reason string
}

func (e *PoisonError) Error() string {
	return fmt.Sprintf("record %d of the batch is poison: %s", e.Record, e.Reason)
}

// position is an OutboxPosition taken apart: "<ms>-<k>/<content>/<history>".
type position struct {
	id      string // "" for a reader that has stored nothing
	content string // of the record, "" for a place that is no record's
	history string // see Engine.History; "" where Redis does not tell
}

var positionForm = regexp.MustCompile(`^(\d{1,16}-\d{1,16})/([0-9a-f]{16})?/([0-9a-f]{12}|embedded)?$`)

func parsePosition(p OutboxPosition) (position, error) {
	if p == "" {
		return position{}, nil
	}
	m := positionForm.FindStringSubmatch(string(p))
	if m == nil {
		return position{}, fmt.Errorf("%w position %q: want one that a batch had, unchanged", ErrInvalid, excerpt.Of(string(p), 120))
	}
	return position{m[1], m[2], m[3]}, nil
}

func (p position) text() OutboxPosition {
	if p.id == "" {
		return ""
	}
	return OutboxPosition(strings.Join([]string{p.id, p.content, p.history}, "/"))
}

// contentOf tells a record from another one in its place; consume.lua makes the same of it. It
// guards against nobody.
func contentOf(r OutboxRecord) string {
	h := sha1.New()
	for _, part := range [][]byte{[]byte(r.Topic), []byte(r.ID), r.JSON} {
		_, _ = h.Write(part) // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
