package artifacts

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
)

// Bounds of an artifact.
const (
	// MaxParts is the most parts of an artifact.
	MaxParts = 10_000
	// PartBytes is the size of a part, unless a checkpoint or the end cuts it shorter.
	PartBytes = 8 << 20
	// leastPartBytes is the size from which a checkpoint makes a part of what is there, and not a tail.
	leastPartBytes = 1 << 20
)

// A Place is where an artifact stands: under the job that writes it.
type Place struct {
	Topic wire.Topic
	Job   wire.JobID
	Name  string
}

func (p Place) key(file string) string { return blobs.Part(p.Topic, p.Job, p.Name, file) }

// A Span is a row of parts that one attempt wrote.
type Span struct {
	// Job is the attempt's: the artifact's own job, or one that it is the retry of.
	Job wire.JobID `json:"job"`
	// By is the attempt, "<number>.<token>".
	By string `json:"by"`
	// Sizes are those of its parts in bytes, in the order of their indexes from 0.
	Sizes []int `json:"sizes"`
}

func partFile(by string, index int) string { return fmt.Sprintf("%s-%05d", by, index) }

// A Tail is a blob with the bytes behind the last part.
type Tail struct {
	Job   wire.JobID `json:"job"`
	By    string     `json:"by"`
	Index int        `json:"index"`
	Size  int        `json:"size"`
}

func (t Tail) file() string { return fmt.Sprintf("%s-t%d", t.By, t.Index) }

// A State is an artifact as a checkpoint has it: a later attempt goes on from there.
type State struct {
	Name  string `json:"name"`
	Spans []Span `json:"spans,omitempty"`
	Tail  *Tail  `json:"tail,omitempty"`
	// Size is the bytes of all parts and the tail.
	Size int64 `json:"size"`
	// Hash is the state of SHA-256 over them.
	Hash []byte `json:"hash,omitempty"`
	// Closed is the artifact, if it was closed before the checkpoint. A retry of the job makes it its own.
	Closed *wire.Artifact `json:"closed,omitempty"`
}

// states is the form of all of a checkpoint's.
type states struct {
	Version   int     `json:"version"`
	Artifacts []State `json:"artifacts"`
}

const stateVersion = 1

// EncodeStates encodes the artifacts of a checkpoint; nil for none.
func EncodeStates(all []State) ([]byte, error) {
	if len(all) == 0 {
		return nil, nil
	}
	return json.Marshal(states{stateVersion, all})
}

// DecodeStates reads what EncodeStates has written.
func DecodeStates(b []byte) ([]State, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var s states
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("the checkpoint's artifacts do not decode: %w", err)
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("the checkpoint's artifacts are of version %d, and this worker knows %d: update it", s.Version, stateVersion)
	}
	return s.Artifacts, nil
}

// A Manifest says what a closed artifact consists of.
type Manifest struct {
	wire.Artifact
	Topic wire.Topic `json:"topic"`
	Job   wire.JobID `json:"job"`
	Spans []Span     `json:"spans"`
	// ClosedAt is when its attempt closed it, by the clock of Redis.
	ClosedAt time.Time `json:"closed_at"`
	// Gone says why its bytes were deleted; "" while they are kept.
	Gone string `json:"gone,omitempty"`
	// GoneSince is when they were.
	GoneSince *time.Time `json:"gone_since,omitempty"`
}

// Reasons why an artifact is gone.
const (
	Expired   = "it has expired"
	OverQuota = "its topic has used up its room"
)

// GoneAt says why nobody may read the artifact at a time; "" if it is there.
func (m *Manifest) GoneAt(now time.Time) string {
	if m.Gone == "" && m.ExpiresAt != nil && !now.Before(*m.ExpiresAt) {
		return Expired
	}
	return m.Gone
}

// File is the key of the blob that is the whole artifact, of one that has no other.
func (m *Manifest) File() (key string, ok bool) {
	all := m.parts()
	if len(all) != 1 {
		return "", false
	}
	return all[0].key, true
}

// A part of a manifest is a blob, and where it begins in the artifact.
type part struct {
	key         string
	from, bytes int64
}

func (m *Manifest) parts() []part {
	var all []part
	from := int64(0)
	for _, s := range m.Spans {
		for i, size := range s.Sizes {
			key := Place{m.Topic, s.Job, m.Name}.key(partFile(s.By, i))
			all = append(all, part{key, from, int64(size)})
			from += int64(size)
		}
	}
	return all
}

// TypeOf returns the media type of a file by its name; that of a machine's own tables would differ from
// worker to worker.
func TypeOf(name string) string {
	dot := strings.LastIndexByte(name, '.')
	switch strings.ToLower(name[dot+1:]) {
	case "csv":
		return "text/csv"
	case "tsv":
		return "text/tab-separated-values"
	case "txt", "log":
		return "text/plain; charset=utf-8"
	case "html", "htm":
		return "text/html; charset=utf-8"
	case "md":
		return "text/markdown; charset=utf-8"
	case "json":
		return "application/json"
	case "ndjson", "jsonl":
		return "application/x-ndjson"
	case "xlsx":
		return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	case "parquet":
		return "application/vnd.apache.parquet"
	case "pdf":
		return "application/pdf"
	case "xml":
		return "application/xml"
	case "zip":
		return "application/zip"
	case "gz":
		return "application/gzip"
	case "zst":
		return "application/zstd"
	case "png":
		return "image/png"
	case "jpg", "jpeg":
		return "image/jpeg"
	case "svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}
