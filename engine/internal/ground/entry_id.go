package ground

import (
	"strconv"
	"strings"
)

// An EntryID is an ID in a shard's log or outbox: "<ms>-<k>".
type EntryID struct{ MS, K uint64 }

func (p EntryID) String() string {
	return strconv.FormatUint(p.MS, 10) + "-" + strconv.FormatUint(p.K, 10)
}

// After reports whether an entry is behind another.
func (p EntryID) After(o EntryID) bool { return p.MS > o.MS || (p.MS == o.MS && p.K > o.K) }

// ParseEntryID parses an ID from Redis.
func ParseEntryID(id string) EntryID {
	ms, k, _ := strings.Cut(id, "-")
	return EntryID{Number(ms), Number(k)}
}

// Number parses a number that Redis or a script wrote; 0 for anything else.
func Number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
