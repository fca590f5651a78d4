package access

import (
	"maps"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// revocations are those that hold, by subject and by credential: until when.
type revocations struct{ subjects, credentials map[string]time.Time }

func newRevocations() revocations {
	return revocations{map[string]time.Time{}, map[string]time.Time{}}
}

// have reports whether p's credentials are revoked. Of a subject those are that were issued before the revocation; where
// nobody says when, all are.
func (r revocations) have(p *auth.Principal) bool {
	if _, one := r.credentials[p.Credential]; one && p.Credential != "" {
		return true
	}
	until, subject := r.subjects[p.Subject]
	return subject && !p.Issued.After(wire.Revocation{Until: until}.Before())
}

func (r revocations) of(one wire.Revocation) (all map[string]time.Time, name string) {
	if one.Subject != "" {
		return r.subjects, one.Subject
	}
	return r.credentials, one.Credential
}

// add adds one, or keeps it longer.
func (r revocations) add(one wire.Revocation) {
	if all, name := r.of(one); one.Until.After(all[name]) {
		all[name] = one.Until
	}
}

// beyond are those that all has not, or not for as long.
func (r revocations) beyond(all []wire.Revocation) []wire.Revocation {
	left := revocations{maps.Clone(r.subjects), maps.Clone(r.credentials)}
	for _, one := range all {
		if held, name := left.of(one); !held[name].After(one.Until) {
			delete(held, name)
		}
	}
	var more []wire.Revocation
	for _, name := range slices.Sorted(maps.Keys(left.subjects)) {
		more = append(more, wire.Revocation{Subject: name, Until: left.subjects[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(left.credentials)) {
		more = append(more, wire.Revocation{Credential: name, Until: left.credentials[name]})
	}
	return more
}

// slack is by how much a revocation is kept longer than Redis keeps it: clocks differ.
const slack = time.Minute

// forget drops those that are over, and returns how many are left.
func (r revocations) forget(now time.Time) int {
	over := func(_ string, until time.Time) bool { return now.After(until.Add(slack)) }
	maps.DeleteFunc(r.subjects, over)
	maps.DeleteFunc(r.credentials, over)
	return len(r.subjects) + len(r.credentials)
}
