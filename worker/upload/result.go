package upload

import (
	"encoding/json"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/datasets"
)

// maxResultBytes leaves room below the 16 KiB that a job's result may take.
const maxResultBytes = 15 << 10

// A Result is the result of a job: the dataset in brief. Its JSON takes less than 16 KiB; what does not fit is
// in the dataset's manifest.
type Result struct {
	// Dataset is the ID by which exports and analyses name it.
	Dataset   wire.JobID `json:"dataset"`
	Size      int64      `json:"size"` // bytes
	SHA256    string     `json:"sha256"`
	MediaType string     `json:"media_type"`
	Format    string     `json:"format"`
	Rows      int64      `json:"rows"`
	Rejected  int64      `json:"rejected,omitempty"`
	// Columns are the first, MoreColumns counts the others.
	Columns     []datasets.Column `json:"columns"`
	MoreColumns int               `json:"more_columns,omitempty"`
	// Rejections are the first rejected rows, up to 100; the artifact RejectedName has all.
	Rejections []datasets.Rejection `json:"rejections,omitempty"`
	// Preview has the first rows, of the first columns, up to 20.
	Preview [][]*string `json:"preview,omitempty"`
}

func resultOf(m *datasets.Manifest) Result {
	r := Result{
		Dataset: m.ID, Size: m.Size, SHA256: m.SHA256, MediaType: m.MediaType, Format: m.Format, Rows: m.Rows, Rejected: m.Rejected,
	}
	columns, rows, rejections := len(m.Columns), len(m.Preview), len(m.Rejections)
	for {
		r.Columns, r.MoreColumns, r.Rejections, r.Preview = m.Columns[:columns], len(m.Columns)-columns, m.Rejections[:rejections], nil
		for _, row := range m.Preview[:rows] {
			r.Preview = append(r.Preview, row[:columns])
		}
		b, err := json.Marshal(r)
		// A result that can't be encoded is the reporter's to complain about.
		if err != nil || len(b) <= maxResultBytes || columns == 0 {
			return r
		}
		// Columns go before rows, rejected rows last.
		switch {
		case columns > 50:
			columns = max(50, columns/2)
		case rows > 3:
			rows--
		case columns > 10:
			columns--
		case rows > 0:
			rows--
		case rejections > 20:
			rejections--
		default:
			columns--
		}
	}
}
