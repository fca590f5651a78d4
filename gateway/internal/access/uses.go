package access

import (
	"sync"

	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// A Kind is what is in use under credentials.
type Kind string

// The kinds. None is of requests that no one counts.
const (
	None     Kind = ""
	Socket   Kind = "socket"
	Upload   Kind = "upload"
	Download Kind = "download"
	// Stream is an answer that carries records as they come. A browser has few connections for all
	// its tabs, so these are bounded by credential, where there is one.
	Stream Kind = "stream"
)

// Uses are all that is live under credentials: sockets, and the requests that bring or
// fetch files. They are indexed by subject and by credential, so that what somebody uses
// is found without a look at what others do. Uses may be used concurrently.
type Uses struct {
	mu           sync.Mutex
	bySubject    index
	byCredential index
}

type index map[held]map[*Use]struct{}

// held is whose uses, and of which kind.
type held struct {
	by   string // a subject or a credential
	kind Kind
}

// NewUses makes an empty registry.
func NewUses() *Uses { return &Uses{bySubject: index{}, byCredential: index{}} }

// A Use is one of them. The caller of Enter calls Leave, once.
type Use struct {
	kind Kind
	uses *Uses
	who  *auth.Principal // guarded by uses.mu
}

// Enter adds a use of p's. most bounds how many of the kind p's subject may have, or, of streams, its
// credential; 0: any number. It returns nil where there are as many.
func (u *Uses) Enter(p *auth.Principal, kind Kind, most int) *Use {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := len(u.bySubject[held{p.Subject, kind}])
	if kind == Stream && p.Credential != "" {
		now = len(u.byCredential[held{p.Credential, kind}])
	}
	if most > 0 && now >= most {
		return nil
	}
	use := &Use{kind: kind, uses: u, who: p}
	u.add(use)
	return use
}

// Renew moves the use to p's credential.
func (use *Use) Renew(p *auth.Principal) {
	use.uses.mu.Lock()
	defer use.uses.mu.Unlock()
	use.uses.remove(use)
	use.who = p
	use.uses.add(use)
}

// Leave removes the use.
func (use *Use) Leave() {
	use.uses.mu.Lock()
	defer use.uses.mu.Unlock()
	use.uses.remove(use)
}

// OfSubject is how many uses of a kind a subject has.
func (u *Uses) OfSubject(subject string, kind Kind) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.bySubject[held{subject, kind}])
}

// OfCredential is how many uses of a kind there are under a credential.
func (u *Uses) OfCredential(credential string, kind Kind) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.byCredential[held{credential, kind}])
}

func (u *Uses) add(use *Use) {
	u.bySubject.put(held{use.who.Subject, use.kind}, use)
	if use.who.Credential != "" {
		u.byCredential.put(held{use.who.Credential, use.kind}, use)
	}
}

func (u *Uses) remove(use *Use) {
	u.bySubject.drop(held{use.who.Subject, use.kind}, use)
	u.byCredential.drop(held{use.who.Credential, use.kind}, use)
}

func (x index) put(h held, use *Use) {
	if x[h] == nil {
		x[h] = map[*Use]struct{}{}
	}
	x[h][use] = struct{}{}
}

func (x index) drop(h held, use *Use) {
	delete(x[h], use)
	if len(x[h]) == 0 {
		delete(x, h)
	}
}
