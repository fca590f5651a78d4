package access_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
)

func TestUsesAreIndexed(t *testing.T) {
	t.Parallel()
	uses := access.NewUses(nil)
	first := &auth.Principal{Subject: "alice", Credential: "t1"}
	second := &auth.Principal{Subject: "alice", Credential: "t2"}
	check := func(when string, subject, t1, t2 int) {
		t.Helper()
		got := []int{uses.OfSubject("alice", access.Socket), uses.OfCredential("t1", access.Socket), uses.OfCredential("t2", access.Socket)}
		if want := []int{subject, t1, t2}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: alice, t1 and t2 have %v sockets, want %v", when, got, want)
		}
	}
	enter := func(p *auth.Principal, kind access.Kind, most int) *access.Use {
		t.Helper()
		use, err := uses.Enter(p, kind, most, nil)
		if err != nil {
			t.Fatal(err)
		}
		return use
	}
	a, b := enter(first, access.Socket, 2), enter(first, access.Socket, 2)
	check("two under one credential", 2, 2, 0)
	if _, err := uses.Enter(second, access.Socket, 2, nil); !errors.Is(err, access.ErrCrowded) {
		t.Errorf("a third of two: %v", err)
	}
	upload := enter(second, access.Upload, 2)
	nameless := enter(&auth.Principal{Subject: "bob"}, access.Socket, 0)
	if upload == nil || uses.OfCredential("t2", access.Upload) != 1 || nameless == nil || uses.OfCredential("", access.Socket) != 0 {
		t.Error("a kind counts against another, or a credential without a name is one")
	}
	if err := b.Renew(second); err != nil {
		t.Error(err)
	}
	check("one renewed", 2, 1, 1)
	a.Leave()
	check("one left", 1, 0, 1)
	b.Leave()
	upload.Leave()
	nameless.Leave()
	check("all left", 0, 0, 0)
}

func TestUsesConcurrently(t *testing.T) {
	t.Parallel()
	uses := access.NewUses(nil)
	const most = 3
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				p := &auth.Principal{Subject: "alice", Credential: fmt.Sprint(i)}
				use, _ := uses.Enter(p, access.Socket, most, nil) // nil where there are as many
				if n := uses.OfSubject("alice", access.Socket); n > most {
					t.Errorf("%d at a time, at most %d are let in", n, most)
				}
				if use != nil {
					if err := use.Renew(&auth.Principal{Subject: "alice", Credential: "next"}); err != nil {
						t.Error(err)
					}
					use.Leave()
				}
			}
		})
	}
	all.Wait()
	if n := uses.OfSubject("alice", access.Socket) + uses.OfCredential("next", access.Socket); n > 0 {
		t.Errorf("%d are left", n)
	}
}

// kicked is a revocation of all that alice's credentials were before a moment.
func kicked(before time.Time) wire.Revocation {
	return wire.Revocation{Subject: "alice", Until: before.Add(wire.RevocationHold)}
}

// Credentials are checked, then let in, then perhaps renewed. Whenever a revocation comes, what it revokes has ended
// after the last of these, once, and what it does not revoke goes on.
func TestEveryOrderOfRevocation(t *testing.T) {
	t.Parallel()
	now := time.Now()
	old := &auth.Principal{Subject: "alice", Credential: "old", Issued: now.Add(-time.Minute)}
	twin := &auth.Principal{Subject: "alice", Credential: "twin", Issued: now.Add(-time.Minute)}
	later := &auth.Principal{Subject: "alice", Credential: "later", Issued: now.Add(time.Second)}
	unknown := &auth.Principal{Subject: "alice", Credential: "unknown"}
	bob := &auth.Principal{Subject: "bob", Credential: "old of bob's", Issued: now.Add(-time.Minute)}
	for _, c := range []struct {
		name        string
		what        wire.Revocation
		first, then *auth.Principal // then: renewed as; nil: not
		old1, new1  bool            // whether it revokes them
	}{
		{"her kick", kicked(now), old, nil, true, false},
		{"her kick, of what was issued later", kicked(now), later, nil, false, false},
		{"her kick, of what was issued nobody knows when", kicked(now), unknown, nil, true, false},
		{"her kick, while she renews", kicked(now), old, later, true, false},
		{"her kick, while she renews with what is old", kicked(now), later, twin, false, true},
		{"her kick, of bob", kicked(now), bob, nil, false, false},
		{"her logout", wire.Revocation{Credential: "old", Until: now.Add(time.Hour)}, old, nil, true, false},
		{"her logout, of another", wire.Revocation{Credential: "old", Until: now.Add(time.Hour)}, twin, nil, false, false},
		{"her logout, while she renews", wire.Revocation{Credential: "old", Until: now.Add(time.Hour)}, old, twin, true, false},
		{"her logout, of what she renews with", wire.Revocation{Credential: "twin", Until: now.Add(time.Hour)}, old, twin, false, true},
	} {
		for at := range 4 { // before the check, before she is let in, before she renews, at last
			uses := access.NewUses(nil)
			ended := make(chan error, 2)
			var refused error
			revoke := func(step int) {
				if step == at {
					uses.Revoke([]wire.Revocation{c.what})
				}
			}
			revoke(0)
			refused = uses.Admits(c.first)
			revoke(1)
			var use *access.Use
			if refused == nil {
				use, refused = uses.Enter(c.first, access.Socket, 0, func(why error) { ended <- why })
			}
			revoke(2)
			if refused == nil && c.then != nil && len(ended) == 0 {
				refused = use.Renew(c.then)
			}
			revoke(3)
			over := refused != nil || len(ended) > 0
			want := c.old1
			if c.then != nil && at == 3 {
				want = c.new1 // the first is no longer there
			} else if c.then != nil {
				want = c.old1 || c.new1
			}
			if over != want || len(ended) > 1 || refused != nil && !errors.Is(refused, access.ErrRevoked) {
				t.Errorf("%s, at step %d: over %v, want %v; ended %d times, refused by %v", c.name, at, over, want, len(ended), refused)
			}
			if !errors.Is(access.ErrRevoked, auth.ErrRejected) {
				t.Error("what is revoked is not rejected")
			}
		}
	}
}

// A use ends when its credentials expire, unless it was renewed; and when nobody knows what is revoked.
func TestUsesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		var mu sync.Mutex
		note := func(who string) func(error) {
			return func(why error) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, who+": "+why.Error())
			}
		}
		uses := access.NewUses(nil)
		lasting := func(d time.Duration) *auth.Principal {
			return &auth.Principal{Subject: "alice", Issued: time.Now(), Expires: time.Now().Add(d)}
		}
		enter := func(who string, p *auth.Principal) *access.Use {
			t.Helper()
			use, err := uses.Enter(p, access.Download, 0, note(who))
			if err != nil {
				t.Fatal(err)
			}
			return use
		}
		enter("short", lasting(time.Minute))
		renewed := enter("renewed", lasting(time.Minute))
		left := enter("left", lasting(time.Minute))
		enter("lasting", &auth.Principal{Subject: "alice", Issued: time.Now()})
		upload, err := uses.Enter(lasting(time.Hour), access.Upload, 0, note("upload")) // which gives its client nothing
		if err != nil {
			t.Fatal(err)
		}
		left.Leave()
		if err := renewed.Renew(lasting(time.Hour)); err != nil {
			t.Error(err)
		}
		<-time.After(2 * time.Minute)
		synctest.Wait()
		check := func(when string, want ...string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(told)
			if fmt.Sprint(told) != fmt.Sprint(want) {
				t.Errorf("%s: %q, want %q", when, told, want)
			}
			told = nil
		}
		check("a minute later", "short: "+access.ErrExpired.Error())
		if _, err := uses.Enter(lasting(0), access.Upload, 0, nil); !errors.Is(err, access.ErrExpired) {
			t.Errorf("what has expired: %v", err)
		}
		uses.Blind(true)
		check("blind", "lasting: "+access.ErrBlind.Error(), "renewed: "+access.ErrBlind.Error())
		if _, err := uses.Enter(lasting(time.Hour), access.Upload, 0, nil); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("while blind: %v", err)
		}
		uses.Blind(false)
		if err := uses.Admits(lasting(time.Hour)); err != nil {
			t.Errorf("when it sees again: %v", err)
		}
		upload.Leave()
		<-time.After(2 * time.Hour)
		check("at last")
	})
}

// What has ended is not renewed, and says why.
func TestEndedUseIsNotRenewed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	old := &auth.Principal{Subject: "alice", Credential: "old", Issued: now.Add(-time.Minute)}
	later := &auth.Principal{Subject: "alice", Credential: "later", Issued: now.Add(time.Minute)}
	for want, end := range map[error]func(*access.Uses){
		access.ErrRevoked: func(u *access.Uses) { u.Revoke([]wire.Revocation{kicked(now)}) },
		access.ErrBlind:   func(u *access.Uses) { u.Blind(true); u.Blind(false) },
	} {
		uses := access.NewUses(nil)
		use, err := uses.Enter(old, access.Socket, 0, func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		end(uses)
		if err := use.Renew(later); !errors.Is(err, want) || uses.OfCredential("later", access.Socket) != 0 {
			t.Errorf("renewed: %v, want %v", err, want)
		}
	}
}

// A registry says what it knows beyond what Redis has, and forgets what is over.
func TestRevocationsAreKeptAsLongAsTheyHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		uses := access.NewUses(nil)
		kick := kicked(now)
		long := wire.Revocation{Credential: "a", Until: now.Add(2 * time.Hour)}
		short := wire.Revocation{Credential: "b", Until: now.Add(time.Hour)}
		uses.Revoke([]wire.Revocation{kick, long, short})
		shorter := long
		shorter.Until = now.Add(time.Minute)
		uses.Revoke([]wire.Revocation{shorter})
		for _, c := range []struct {
			redis, want []wire.Revocation
		}{
			{nil, []wire.Revocation{kick, long, short}},
			{[]wire.Revocation{kick, long, short}, nil},
			{[]wire.Revocation{kick, shorter}, []wire.Revocation{long, short}},
		} {
			if got := uses.Beyond(c.redis); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("beyond %v: %v, want %v", c.redis, got, c.want)
			}
		}
		<-time.After(time.Hour + 2*time.Minute)
		if n := uses.Forget(); n != 2 {
			t.Errorf("an hour later %d hold, want 2", n)
		}
		<-time.After(24 * time.Hour)
		if n := uses.Forget(); n != 0 {
			t.Errorf("a day later %d hold", n)
		}
	})
}
