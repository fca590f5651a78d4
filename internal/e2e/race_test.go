//go:build race

package e2e

// The program is as the tests are: with the race detector, in which an analysis takes
// some ten times as long.
const (
	raced      = true
	tableBytes = 52 << 20
)
