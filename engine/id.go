package engine

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// A JobID is two digits that name the job's shard and a ULID whose 80 random bits
// come from crypto/rand: 28 characters. The shard digits find the job's keys
// without a pointer, so an unknown ID and a foreign one cost the same look-up.
type JobID string

// ErrInvalidJobID is what an error about a malformed job ID wraps.
var ErrInvalidJobID = errors.New("invalid job ID")

const jobIDLength = 2 + ulid.EncodedSize

// ParseJobID checks the form of s, not that there is such a job. Its error wraps
// ErrInvalidJobID.
func ParseJobID(s string) (JobID, error) {
	if len(s) != jobIDLength || !digit(s[0]) || !digit(s[1]) {
		return "", fmt.Errorf("%w %q: want two digits and a ULID, 28 characters", ErrInvalidJobID, clip(s, 80))
	}
	u, err := ulid.ParseStrict(s[2:])
	if err != nil || u.String() != s[2:] {
		return "", fmt.Errorf("%w %q: what follows the first two digits is not a ULID", ErrInvalidJobID, s)
	}
	return JobID(s), nil
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// Beside reports whether two jobs are kept by the same node of a Redis Cluster for sure.
func (id JobID) Beside(other JobID) bool {
	return len(id) > 2 && len(other) > 2 && id[:2] == other[:2]
}

// shard returns the number in the first two digits. The ID must be well-formed.
func (id JobID) shard() int { return int(id[0]-'0')*10 + int(id[1]-'0') }

// Time is the time in the ID: of a job that a schedule made, its tick; of any other, when
// its ID was made. The ID must be well-formed.
func (id JobID) Time() time.Time { return ulid.Time(ulid.MustParse(string(id[2:])).Time()).UTC() }

func newJobID(shard int, now time.Time) JobID {
	return JobID(fmt.Sprintf("%02d%s", shard, ulid.MustNew(ulid.Timestamp(now), rand.Reader)))
}

// derivedJobID is the ID of a job that something decides beside chance, so that making it
// again makes no second one: its time is at, and its 80 other bits are of what from says.
func derivedJobID(shard int, at time.Time, from string) JobID {
	sum := sha256.Sum256([]byte(from))
	return JobID(fmt.Sprintf("%02d%s", shard, ulid.MustNew(ulid.Timestamp(at), bytes.NewReader(sum[:]))))
}

// newKey returns a random key for an operation that its caller did not name. Its mark
// tells the script to keep the result for a shorter time; named keys have a prefix.
func newKey() string { return "~" + NewToken() }

// NewToken returns a fence's token: 130 bits from crypto/rand.
func NewToken() string { return strings.ToLower(rand.Text()) }

// shardOf places a topic: FNV-1a of its text, modulo the number of shards.
func shardOf(t Topic, shards int) int {
	h := fnv.New32a()
	h.Write([]byte(t))
	return int(h.Sum32() % uint32(shards))
}
