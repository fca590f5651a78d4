package wire

import "github.com/tidemark-dev/tidemark/internal/excerpt"

// Bounds of a record's parts and of a checkpoint, in bytes; those of runes say so in their names.
const (
	MaxRecordBytes     = 40 << 10
	MaxResultBytes     = 16 << 10
	MaxMessageBytes    = 1 << 10
	MaxTitleRunes      = 200
	MaxErrorBytes      = 4 << 10
	MaxCheckpointBytes = 1 << 20
)

// Bounds of a job's artifacts: how many there are, and the bytes of a media type. They take at most 9 KiB
// of a record.
const (
	MaxArtifacts         = 16
	MaxArtifactTypeBytes = 70
)

// clip shortens s for an error text, so that input of any size fits a line.
func clip(s string, most int) string { return excerpt.Of(s, most) }
