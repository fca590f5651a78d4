package source

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// maxPosition is how long a position may be; see rows.Source.
const maxPosition = 64 << 10

// A position is where a source stands.
type position struct {
	// Of tells apart what was asked for, and what answered.
	Of []byte `json:"of"`
	// Key is the last row's, in the form of the database's room.
	Key [][]byte `json:"key,omitempty"`
	// Rows is how many were read.
	Rows int64 `json:"rows"`
	// Snapshots are those that rows were read from, the oldest first. Omitted is how many are missing
	// after the first one, for which there was no room.
	Snapshots []sqlsource.Snapshot `json:"snapshots"`
	Omitted   int                  `json:"omitted,omitempty"`
}

// A checkpoint of another version of this package has one.
var errPosition = fmt.Errorf("%w: a position that no source gave", ErrChanged)

func parsePosition(text []byte) (p position, err error) {
	if len(text) > maxPosition || json.Unmarshal(text, &p) != nil || len(p.Of) != sha256.Size || p.Rows < 0 || (p.Rows > 0) != (len(p.Key) > 0) {
		return position{}, errPosition
	}
	return p, nil
}

// encode gives the position in at most maxPosition bytes: it leaves out snapshots, the second one first.
func (p position) encode() ([]byte, error) {
	p.Snapshots = slices.Clone(p.Snapshots)
	for {
		text, err := json.Marshal(p)
		if err != nil || len(text) <= maxPosition || len(p.Snapshots) <= 2 {
			return text, err
		}
		p.Snapshots = slices.Delete(p.Snapshots, 1, 2)
		p.Omitted++
	}
}

// Snapshots are those that the rows before a position were read from, the oldest first, and how many
// are left out between the first and the second, since a position is bounded.
func Snapshots(position []byte) (all []sqlsource.Snapshot, omitted int, err error) {
	p, err := parsePosition(position)
	return p.Snapshots, p.Omitted, err
}

// begin notes that rows come from a snapshot from now on. One that gave none is no part of what was read.
func (p *position) begin(at time.Time, after []string) {
	if n := len(p.Snapshots); n > 0 && p.Snapshots[n-1].Rows == p.Rows {
		p.Snapshots = p.Snapshots[:n-1]
	}
	p.Snapshots = append(p.Snapshots, sqlsource.Snapshot{At: at, Rows: p.Rows, After: after})
}

// fingerprint tells apart what was asked for and what answered: a position of another query, of other
// parameters or of other columns leads nowhere.
func fingerprint(c *entry, driver string, params any, columns, types any) []byte {
	text, _ := json.Marshal([]any{driver, c.Table, c.Query, c.Key, params, columns, types}) // texts and numbers
	sum := sha256.Sum256(text)
	return sum[:]
}
