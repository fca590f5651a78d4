package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// A Kind is what is in use under credentials.
type Kind string

// The kinds. Request is of every request that is of no other one.
const (
	Request  Kind = "request"
	Socket   Kind = "socket"
	Upload   Kind = "upload"
	Download Kind = "download"
	// Stream is an answer that carries records as they come. A browser has few connections for all
	// its tabs, so these are bounded by credential, where there is one.
	Stream Kind = "stream"
)

var kinds = []Kind{Request, Socket, Upload, Download, Stream}

// Why a principal may not begin something, or not go on with it. ErrExpired and ErrRevoked wrap auth.ErrRejected, ErrBlind
// wraps auth.ErrUnavailable.
var (
	ErrCrowded = errors.New("there are as many as there may be")
	ErrExpired = fmt.Errorf("%w: they have expired", auth.ErrRejected)
	ErrRevoked = fmt.Errorf("%w: they are revoked", auth.ErrRejected)
	ErrBlind   = fmt.Errorf("%w: what is revoked cannot be read", auth.ErrUnavailable)
)

// Uses are all that is live under credentials: sockets, and the requests that bring or
// fetch files. They are indexed by subject and by credential, so that what somebody uses
// is found without a look at what others do. A use ends with its credentials, when they expire or are
// revoked: Revoke and Enter have one lock, so none slips between. Uses may be used concurrently.
type Uses struct {
	mu           sync.Mutex
	bySubject    index
	byCredential index
	revoked      revocations
	blind        bool // nobody knows what is revoked
	ended        func(why error)
}

type index map[held]map[*Use]struct{}

// held is whose uses, and of which kind.
type held struct {
	by   string // a subject or a credential
	kind Kind
}

// NewUses makes an empty registry. ended hears why a use has ended before it left; nil: nobody does. It is called
// concurrently.
func NewUses(ended func(why error)) *Uses {
	if ended == nil {
		ended = func(error) {}
	}
	return &Uses{bySubject: index{}, byCredential: index{}, revoked: newRevocations(), ended: ended}
}

// A Use is one of them. The caller of Enter calls Leave, once.
type Use struct {
	kind Kind
	uses *Uses
	end  func(why error) // nil: there is nothing to end

	// Guarded by uses.mu.
	who   *auth.Principal
	timer *time.Timer // of its expiry; nil: it does not expire
	left  bool
	why   error // end is called with it; nil: it is not
}

// Enter adds a use of p's. most bounds how many of the kind p's subject may have, or, of streams, its
// credential; 0: any number. end is called when p's credentials end before the use leaves: at most once, perhaps
// just after Leave, with ErrExpired, ErrRevoked or ErrBlind. It must not block. Enter's error is one of these or ErrCrowded.
func (u *Uses) Enter(p *auth.Principal, kind Kind, most int, end func(why error)) (*Use, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.refusal(p); err != nil {
		return nil, err
	}
	now := len(u.bySubject[held{p.Subject, kind}])
	if kind == Stream && p.Credential != "" {
		now = len(u.byCredential[held{p.Credential, kind}])
	}
	if most > 0 && now >= most {
		return nil, ErrCrowded
	}
	use := &Use{kind: kind, uses: u, end: end}
	u.add(use, p)
	return use, nil
}

// Renew moves the use to p's credential. Its error says why p's credentials are none, or why those before have ended:
// nothing has changed then.
func (use *Use) Renew(p *auth.Principal) error {
	u := use.uses
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := cmp.Or(use.why, u.refusal(p)); err != nil {
		return err
	}
	u.remove(use)
	u.add(use, p)
	return nil
}

// Leave removes the use.
func (use *Use) Leave() {
	use.uses.mu.Lock()
	defer use.uses.mu.Unlock()
	use.left = true
	use.uses.remove(use)
}

// Admits says whether p's credentials are still some: nil, ErrExpired, ErrRevoked or ErrBlind.
func (u *Uses) Admits(p *auth.Principal) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.refusal(p)
}

func (u *Uses) refusal(p *auth.Principal) error {
	switch {
	case u.blind:
		return ErrBlind
	case u.revoked.have(p):
		return ErrRevoked
	case !p.Expires.IsZero() && !time.Now().Before(p.Expires):
		return ErrExpired
	}
	return nil
}

// Revoke ends the uses under what is revoked, and lets in no more of them.
func (u *Uses) Revoke(all []wire.Revocation) {
	u.mu.Lock()
	var over []*Use
	for _, r := range all {
		by, name := u.bySubject, r.Subject
		if name == "" {
			by, name = u.byCredential, r.Credential
		}
		u.revoked.add(r)
		for _, kind := range kinds {
			for use := range by[held{name, kind}] {
				if u.revoked.have(use.who) && use.stop(ErrRevoked) {
					over = append(over, use)
				}
			}
		}
	}
	u.mu.Unlock()
	u.finish(over)
}

// Beyond returns the revocations that the registry has and all has not, or not for as long.
func (u *Uses) Beyond(all []wire.Revocation) []wire.Revocation {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.revoked.beyond(all)
}

// Forget drops the revocations that are over, and returns how many are left.
func (u *Uses) Forget() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.revoked.forget(time.Now())
}

// Blind says whether nobody knows what is revoked. Then nothing is let in, and all uses end but uploads: they give their
// client nothing, and no job comes of them while Redis is away.
func (u *Uses) Blind(blind bool) {
	u.mu.Lock()
	u.blind = blind
	var over []*Use
	for _, uses := range u.bySubject {
		for use := range uses {
			if blind && use.kind != Upload && use.stop(ErrBlind) {
				over = append(over, use)
			}
		}
	}
	u.mu.Unlock()
	u.finish(over)
}

// expire ends a use when its credentials have expired. It may have been renewed just before, or the clock was set back.
func (use *Use) expire() {
	u := use.uses
	u.mu.Lock()
	var over []*Use
	switch left := time.Until(use.who.Expires); {
	case use.timer == nil:
	case left > 0:
		use.timer.Reset(left)
	case use.stop(ErrExpired):
		over = append(over, use)
	}
	u.mu.Unlock()
	u.finish(over)
}

// stop reports whether the caller is to end the use, for that reason.
func (use *Use) stop(why error) bool {
	if use.left || use.why != nil || use.end == nil {
		return false
	}
	use.why = why
	return true
}

// finish ends uses that were stopped.
func (u *Uses) finish(over []*Use) {
	for _, use := range over {
		use.end(use.why)
		u.ended(use.why)
	}
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

func (u *Uses) add(use *Use, p *auth.Principal) {
	use.who = p
	u.bySubject.put(held{p.Subject, use.kind}, use)
	if p.Credential != "" {
		u.byCredential.put(held{p.Credential, use.kind}, use)
	}
	if !p.Expires.IsZero() && use.end != nil {
		use.timer = time.AfterFunc(time.Until(p.Expires), use.expire)
	}
}

func (u *Uses) remove(use *Use) {
	u.bySubject.drop(held{use.who.Subject, use.kind}, use)
	u.byCredential.drop(held{use.who.Credential, use.kind}, use)
	if use.timer != nil {
		use.timer.Stop()
		use.timer = nil
	}
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

// Serve has a route's handler answer, as a use. When the credentials end, an answer ends with its request's context. An upload
// goes on until its handler hears of it by Ended, since its client is to be told what has arrived.
func (u *Uses) Serve(w http.ResponseWriter, r *http.Request, p *auth.Principal, route Route) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	l := &lease{ResponseWriter: w, cancel: cancel}
	defer l.answered()
	ctx = context.WithValue(ctx, leaseKey{}, l)
	end := func(error) { l.end() }
	if route.Kind == Upload {
		ended := make(chan error, 1)
		ctx = context.WithValue(ctx, endedKey{}, ended)
		end = func(why error) { ended <- why }
	}
	use, err := u.Enter(p, cmp.Or(route.Kind, Request), 0, end)
	if err != nil {
		return err
	}
	defer use.Leave()
	return route.Handler(l, r.WithContext(ctx), p)
}
