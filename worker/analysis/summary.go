package analysis

import "encoding/json"

const (
	// maxSummaryBytes leaves room below the 16 KiB that a job's result may take.
	maxSummaryBytes    = 15 << 10
	maxSummaryColumns  = 50
	maxSummaryName     = 64 // characters
	maxSummaryWarnings = 5
)

// Summary is the result of a job: what a list of jobs can show without opening
// the profile. Its JSON takes less than 16 KiB.
type Summary struct {
	Schema    int    `json:"schema"`
	Format    string `json:"format"`
	Bytes     int64  `json:"bytes"`
	Rows      int64  `json:"rows"`
	Ragged    int64  `json:"ragged,omitempty"`
	Malformed int64  `json:"malformed,omitempty"`
	// Warnings are the first of the profile's.
	Warnings []Warning       `json:"warnings,omitempty"`
	Columns  []SummaryColumn `json:"columns"`
	// MoreColumns is how many are left out here; the profile has them all.
	MoreColumns int      `json:"more_columns,omitempty"`
	Profile     Artifact `json:"profile"`
	// Report is the profile as a page for people.
	Report Artifact `json:"report"`
	// Uploaded says that the file was uploaded, so that a gateway has it: GET /v1/jobs/{id}/upload.
	Uploaded bool `json:"uploaded,omitempty"`
}

// SummaryColumn is a column in brief; a long name ends in an ellipsis.
type SummaryColumn struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nulls    int64  `json:"nulls"`
	Distinct int64  `json:"distinct"`
}

// Artifact names a file that a job has written, as a gateway knows it:
// "<job>.<name>". Package blobs says where it stands.
type Artifact struct {
	ID   string `json:"id"`
	Size int64  `json:"size"` // bytes
}

func summarize(p *Profile, file Artifact) Summary {
	s := Summary{
		Schema: p.Schema, Format: p.Format, Bytes: p.Bytes, Rows: p.Rows,
		Ragged: p.Ragged, Malformed: p.Malformed, Columns: []SummaryColumn{}, Profile: file,
	}
	for _, w := range p.Warnings[:min(len(p.Warnings), maxSummaryWarnings)] {
		w.Column = clip(w.Column, maxSummaryName)
		s.Warnings = append(s.Warnings, w)
	}
	for _, c := range p.Columns[:min(len(p.Columns), maxSummaryColumns)] {
		s.Columns = append(s.Columns, SummaryColumn{clip(c.Name, maxSummaryName), c.Type, c.Nulls, c.Distinct})
	}
	for {
		s.MoreColumns = len(p.Columns) - len(s.Columns)
		b, err := json.Marshal(s)
		// A result that can't be encoded is the reporter's to complain about.
		if err != nil || len(b) <= maxSummaryBytes || len(s.Columns) == 0 {
			return s
		}
		s.Columns = s.Columns[:len(s.Columns)-1]
	}
}
