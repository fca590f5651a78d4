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

// ErrFenced is what an OutboxStore returns for a batch that it does not admit: another reader has
// taken the shard, or has stored the batch's records.
var ErrFenced = errors.New("another reader has taken the shard")

// An OutboxPosition says up to which record a reader has stored a shard's outbox. It is a text of
// at most 100 ASCII characters, which an OutboxStore keeps unchanged; "" means that the reader has
// stored nothing. It names the record, a hash of its content, and the replication history of the
// Redis that it came from, so a reader notices when Redis has lost some of its data.
type OutboxPosition string

// An OutboxPlace is what an OutboxStore keeps for a shard: the Through and the Fence of the batch
// that it stored last.
type OutboxPlace struct {
	Position OutboxPosition
	Fence    int64
}

// An OutboxStore keeps what a consumer makes of the records, such as rows in SQL, together with the
// position in the outbox. Readers call its methods concurrently, for different shards. The ctx of a
// call ends when the reader loses its shard.
type OutboxStore interface {
	// Place returns a shard's place, the zero OutboxPlace when the store has none.
	Place(ctx context.Context, shard int) (OutboxPlace, error)

	// Commit stores a batch in one transaction: it reads the shard's place, returns ErrFenced
	// unless OutboxBatch.Admits it, and otherwise stores its effect and the batch's place. After
	// any other error the reader calls Place and goes on from there, so Commit may also return an
	// error after the transaction has committed. A batch may have no records.
	//
	// When a record can never be stored, Commit stores nothing and returns an error that wraps a
	// *PoisonError. The reader sets that record aside and calls Commit again without it.
	Commit(ctx context.Context, b OutboxBatch) error
}

// An OutboxBatch is what a reader hands to an OutboxStore in one call.
type OutboxBatch struct {
	Shard int
	// Fence is the reader's fencing number. Each reader of a shard has a higher one than all before
	// it.
	Fence int64
	// After is the shard's position before the batch, Through its position after it.
	After, Through OutboxPosition
	// Gaps say which records may be missing. All gaps lie before the batch's records.
	Gaps []OutboxGap
	// Records are in the outbox's order, which is the order of each topic.
	Records []OutboxRecord
	// Aside are the records between After and Through that Commit has called poison.
	Aside []AsideRecord
}

// Place returns what the store keeps for the shard together with the batch.
func (b OutboxBatch) Place() OutboxPlace { return OutboxPlace{Position: b.Through, Fence: b.Fence} }

// Admits reports whether a store that has place for the shard may store the batch.
func (b OutboxBatch) Admits(place OutboxPlace) bool {
	return place.Fence <= b.Fence && place.Position == b.After
}

// An OutboxRecord is a record as the outbox holds it. (Topic, ID) identifies it. After a gap for
// which GapReason.Repeats is true, records that were stored before come again.
type OutboxRecord struct {
	Entry
	// OutboxID is the record's ID in its shard's outbox, "<ms>-<k>". ms is from Redis's clock. IDs
	// rise, and may skip numbers.
	OutboxID string
}

// GapReason says why records may be missing.
type GapReason string

// The reasons of gaps.
const (
	// GapCapped: the outbox reached its cap, and Redis dropped unread records.
	GapCapped GapReason = "capped"
	// GapTrimmed: the group has acknowledged the records, but the store does not have them, as
	// after the store was restored from a backup.
	GapTrimmed GapReason = "trimmed"
	// GapForgotten: Redis lost the outbox, as after FLUSHALL, or the group was dropped for some
	// time. The new outbox holds everything after Through.
	GapForgotten GapReason = "forgotten"
	// GapRewritten: Redis has another history than the one that the position is from, as after a
	// restart from an older state. All records of the outbox come again.
	GapRewritten GapReason = "rewritten"
	// GapRestarted: Redis is another process, or has another replication history, and holds the
	// position. Redis may have lost records that it had acknowledged; the engine cannot tell.
	GapRestarted GapReason = "restarted"
)

// Repeats reports whether records that were stored before may come again after such a gap.
func (r GapReason) Repeats() bool { return r == GapRewritten || r == GapForgotten }

// An OutboxGap says that records may be missing.
type OutboxGap struct {
	Reason GapReason
	// After and Through are IDs of the outbox, see OutboxRecord.OutboxID. Records after After, up
	// to and including Through, may be missing. Through is "" when Redis no longer knows the end of
	// its lost history; the missing records then still precede the batch.
	After, Through string
}

// A PoisonError says that a record can never be stored.
type PoisonError struct {
	// Record is the record's index in the batch's Records.
	Record int
	// Reason is saved with the record, clipped to 1 KiB.
	Reason string
}

func (e *PoisonError) Error() string {
	return fmt.Sprintf("record %d of the batch is poison: %s", e.Record, e.Reason)
}

// position is a parsed OutboxPosition: "<ms>-<k>/<content>/<history>".
type position struct {
	id      string // "" when the reader has stored nothing
	content string // the record's hash, "" for a place without a record
	history string // see Engine.History; "" when Redis does not say
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

// contentOf is a hash that tells a record from another one with the same ID; consume.lua computes
// the same. It is no protection against forgery.
func contentOf(r OutboxRecord) string {
	h := sha1.New()
	for _, part := range [][]byte{[]byte(r.Topic), []byte(r.ID), r.JSON} {
		_, _ = h.Write(part) // a hash never returns an error
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
