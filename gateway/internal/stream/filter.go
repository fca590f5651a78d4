package stream

import (
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A filter says which of a topic's records and jobs a subscription is about. It is
// comparable, since subscriptions with the same filter share what is read for them. The
// zero filter passes everything.
type filter struct {
	job engine.JobID // "": any
}

// newFilter is the filter of a client's subscribe. Its error says what is malformed.
func newFilter(m wire.Message) (filter, error) {
	if m.Job == "" {
		return filter{}, nil
	}
	job, err := engine.ParseJobID(string(m.Job))
	return filter{job}, err
}

// all reports whether the filter passes everything.
func (f filter) all() bool { return f == filter{} }

// passes reports whether records of a job are asked for.
func (f filter) passes(job engine.JobID) bool { return f.job == "" || f.job == job }
