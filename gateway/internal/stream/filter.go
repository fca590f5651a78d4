package stream

import "github.com/tidemark-dev/tidemark/engine"

// A filter says which of a topic's records and jobs a subscription is about. It is
// comparable, since subscriptions with the same filter share what is read for them. The
// zero filter passes everything.
type filter struct {
	job engine.JobID // "": any
}

// newFilter checks what a client asks for. Its error says what is malformed.
func newFilter(job string) (filter, error) {
	if job == "" {
		return filter{}, nil
	}
	id, err := engine.ParseJobID(job)
	return filter{id}, err
}

// all reports whether the filter passes everything.
func (f filter) all() bool { return f == filter{} }

// passes reports whether records of a job are asked for.
func (f filter) passes(job engine.JobID) bool { return f.job == "" || f.job == job }
