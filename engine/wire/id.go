package wire

import (
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

// A JobID has 28 characters: two digits that name the job's shard, and a ULID with 80 random bits
// from crypto/rand. The engine finds the job's keys by the shard digits, without a pointer, so an
// unknown ID costs the same look-up as another topic's.
type JobID string

const jobIDLength = 2 + ulid.EncodedSize

// ParseJobID checks the form of s, not whether the job exists. Its error wraps ErrInvalidJobID.
func ParseJobID(s string) (JobID, error) {
	if !JobID(s).WellFormed() {
		return "", fmt.Errorf("%w %q: want two digits and a ULID, 28 characters", ErrInvalidJobID, clip(s, 80))
	}
	u, err := ulid.ParseStrict(s[2:])
	if err != nil || u.String() != s[2:] {
		return "", fmt.Errorf("%w %q: what follows the first two digits is not a ULID", ErrInvalidJobID, s)
	}
	return JobID(s), nil
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// WellFormed reports whether the ID has the length of a job ID and names a shard. It is cheaper
// than ParseJobID, and enough for a look-up in Redis.
func (id JobID) WellFormed() bool { return len(id) == jobIDLength && digit(id[0]) && digit(id[1]) }

// Beside reports whether both jobs are on the same node of a Redis Cluster for certain.
func (id JobID) Beside(other JobID) bool {
	return len(id) > 2 && len(other) > 2 && id[:2] == other[:2]
}

// Shard returns the number of the first two digits. The ID must be well-formed.
func (id JobID) Shard() int { return int(id[0]-'0')*10 + int(id[1]-'0') }

// Time returns the time in the ID: the tick of a job that a schedule created, the creation of any
// other ID. The ID must be well-formed.
func (id JobID) Time() time.Time { return ulid.Time(ulid.MustParse(string(id[2:])).Time()).UTC() }
