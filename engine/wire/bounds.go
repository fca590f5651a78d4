package wire

import "github.com/tidemark-dev/tidemark/internal/excerpt"

// Bounds of what a record carries, in bytes unless they are of runes, and of a checkpoint.
const (
	MaxRecordBytes     = 32 << 10
	MaxResultBytes     = 16 << 10
	MaxMessageBytes    = 1 << 10
	MaxTitleRunes      = 200
	MaxErrorBytes      = 4 << 10
	MaxCheckpointBytes = 1 << 20
)

// clip shortens s for an error text, so that input of any size makes a line.
func clip(s string, most int) string { return excerpt.Of(s, most) }
