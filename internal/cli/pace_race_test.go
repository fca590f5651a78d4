//go:build race

package cli_test

// tableBytes is less under the race detector, where an analysis takes ten times as
// long.
const tableBytes = 12 << 20
