package upload

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// stateVersion changes with all that decides what a row, a rejected row or a kind is.
	stateVersion = 1

	maxRejections   = 100
	previewRows     = 20
	maxPreviewCell  = 100
	maxPreviewBytes = 16 << 10
)

// A state is a checkpoint: what was gathered before a position. It encodes as JSON.
type state struct {
	Version   int            `json:"version"`
	File      uint64         `json:"file"` // fingerprint
	Packing   packed.Packing `json:"packing"`
	MediaType string         `json:"media_type"`
	BOM       bool           `json:"bom"`
	Start     []byte         `json:"start"`
	Position  []byte         `json:"position"` // nil: nothing was read yet

	// Sum is the state of SHA-256 after Summed bytes, which are at least those before Position, of a
	// file that is not packed.
	Sum    []byte `json:"sum"`
	Summed int64  `json:"summed"`

	Names      []string             `json:"names"`
	Cells      []dataset.Cells      `json:"cells"`
	Rows       int64                `json:"rows"`
	Rejected   int64                `json:"rejected"`
	Rejections []datasets.Rejection `json:"rejections"`
	Preview    [][]*string          `json:"preview"`
	Previewed  int                  `json:"previewed"` // bytes of the preview
}

// fingerprint covers all that a state depends on. Limits are not part of it, so that a job that failed at one
// goes on when it is tried again with a higher one; the longest record is, since it decides what is rejected.
func fingerprint(p Payload, size, maxRecordBytes int64) uint64 {
	return xxhash.Sum64String(fmt.Sprintf("%q %q %d %q %q %q %t %d", p.Blob, p.Name, size, p.SHA256, p.Format, p.Delimiter, p.NoHeader, maxRecordBytes))
}

// previewFields shows a row of a CSV.
func (st *state) previewFields(fields [][]byte) {
	row := make([]*string, len(fields))
	for i, f := range fields {
		if len(f) > 0 {
			row[i] = shown(f)
		}
	}
	st.show(row)
}

// previewMembers shows a row of NDJSON, of which the schema has learned.
func (st *state) previewMembers(schema *dataset.Schema, w table.Walk) {
	row := make([]*string, len(schema.Names()))
	for {
		key, value, ok := w.Member()
		if !ok {
			break
		}
		switch value[0] {
		case '"':
			value = table.Unescape(nil, value[1:len(value)-1])
		case 'n':
			value = nil
		}
		if i, ok := schema.Column(string(table.Unescape(nil, key))); ok {
			if row[i] = nil; value != nil {
				row[i] = shown(value)
			}
		}
	}
	st.show(row)
}

// show adds a row to the preview, or ends the preview where there is no room for it.
func (st *state) show(row []*string) {
	if st.Previewed > maxPreviewBytes {
		return
	}
	for _, cell := range row {
		if st.Previewed += len("null,"); cell != nil {
			st.Previewed += len(*cell)
		}
	}
	if st.Previewed <= maxPreviewBytes {
		st.Preview = append(st.Preview, row)
	}
}

func shown(cell []byte) *string {
	text := string(clip(cell, maxPreviewCell))
	return &text
}

// clip cuts text to at most n bytes, between characters, and makes it UTF-8.
func clip(text []byte, n int) []byte {
	if len(text) > n {
		n -= len("…")
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		text = append(bytes.Clone(text[:n]), "…"...)
	}
	return bytes.ToValidUTF8(text, []byte("\uFFFD"))
}
