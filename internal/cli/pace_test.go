//go:build !race

package cli_test

// tableBytes is enough for an analysis of about a second.
const tableBytes = 64 << 20
