//go:build !race

package e2e

// Larger, so that the analysis lasts for some seconds too.
const (
	raced      = false
	tableBytes = 160 << 20
)
