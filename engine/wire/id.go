package wire

import (
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

// A JobID is two digits that name the job's shard and a ULID whose 80 random bits
// come from crypto/rand: 28 characters. The shard digits find the job's keys
// without a pointer, so an unknown ID and a foreign one cost the same look-up.
type JobID string

const jobIDLength = 2 + ulid.EncodedSize

// ParseJobID checks the form of s, not that there is such a job. Its error wraps
// ErrInvalidJobID.
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

// WellFormed reports whether the ID has a job ID's length and names a shard. It is cheaper than
// ParseJobID, and enough for a look-up in Redis.
func (id JobID) WellFormed() bool { return len(id) == jobIDLength && digit(id[0]) && digit(id[1]) }

// Beside reports whether one node of a Redis Cluster keeps both jobs for sure.
func (id JobID) Beside(other JobID) bool {
	return len(id) > 2 && len(other) > 2 && id[:2] == other[:2]
}

// Shard returns the number in the first two digits. The ID must be well-formed.
func (id JobID) Shard() int { return int(id[0]-'0')*10 + int(id[1]-'0') }

// Time is the time in the ID: of a job that a schedule made, its tick; of any other, when
// its ID was made. The ID must be well-formed.
func (id JobID) Time() time.Time { return ulid.Time(ulid.MustParse(string(id[2:])).Time()).UTC() }
