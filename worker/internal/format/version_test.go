package format

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"testing"
)

// A worker of another version continues a file only if its writer has the same version, so bytes may not
// change under one. If a sum is another one, raise the writer's version in versions, and write the sum here.
func TestBytesAreThoseOfTheVersion(t *testing.T) {
	t.Parallel()
	columns := allKinds()
	table := randomTable(12, columns, 12_000)
	for name, want := range map[string]string{
		"csv 1":         "f0b8dac985704f8f",
		"csv-gzip 1":    "bba7fb3ec6b3424f",
		"csv-zstd 1":    "3391c3871db9498c",
		"ndjson 1":      "0ad4b14e6153fc88",
		"ndjson-gzip 1": "ee3bbf476b1a61a3",
		"ndjson-zstd 1": "667ceecbfac4404e",
		"xlsx 1":        "61ec03746121a010",
		"parquet 1":     "6c7a8d8586e93f73",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, o := range each {
				if nameOf(o)+" "+strconv.Itoa(versions[o.Format]) != name {
					continue
				}
				sum := sha256.Sum256(plan{columns: columns, options: o, limits: theLimits, table: table}.mustWrite(t))
				if got := hex.EncodeToString(sum[:8]); got != want {
					t.Errorf("the sum is %s, want %s", got, want)
				}
				return
			}
			t.Error("no writer has this version")
		})
	}
}
