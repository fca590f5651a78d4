package ground

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// NewJobID makes the ID of a job of a shard: the time, and 80 bits from crypto/rand.
func NewJobID(shard int, now time.Time) wire.JobID {
	return wire.JobID(fmt.Sprintf("%02d%s", shard, ulid.MustNew(ulid.Timestamp(now), rand.Reader)))
}

// DerivedJobID is a job's ID without chance, so that creating the job again creates no second one:
// its time is at, and its 80 other bits are a hash of from.
func DerivedJobID(shard int, at time.Time, from string) wire.JobID {
	sum := sha256.Sum256([]byte(from))
	return wire.JobID(fmt.Sprintf("%02d%s", shard, ulid.MustNew(ulid.Timestamp(at), bytes.NewReader(sum[:]))))
}

// NewKey returns a random key for an operation that its caller did not name. Its mark "~" makes the
// script keep the result for a shorter time; named keys have a prefix.
func NewKey() string { return "~" + NewToken() }

// NewToken returns a fence's token: 130 bits from crypto/rand.
func NewToken() string { return strings.ToLower(rand.Text()) }

// ShardOf returns a topic's shard: FNV-1a of its text, modulo the number of shards.
func ShardOf(t wire.Topic, shards int) int {
	h := fnv.New32a()
	h.Write([]byte(t))
	return int(h.Sum32() % uint32(shards))
}
