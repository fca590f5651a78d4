package access_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
)

func TestUsesAreIndexed(t *testing.T) {
	t.Parallel()
	uses := access.NewUses()
	first := &auth.Principal{Subject: "alice", Credential: "t1"}
	second := &auth.Principal{Subject: "alice", Credential: "t2"}
	check := func(when string, subject, t1, t2 int) {
		t.Helper()
		got := []int{uses.OfSubject("alice", access.Socket), uses.OfCredential("t1", access.Socket), uses.OfCredential("t2", access.Socket)}
		if want := []int{subject, t1, t2}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: alice, t1 and t2 have %v sockets, want %v", when, got, want)
		}
	}
	a, b := uses.Enter(first, access.Socket, 2), uses.Enter(first, access.Socket, 2)
	check("two under one credential", 2, 2, 0)
	if uses.Enter(second, access.Socket, 2) != nil {
		t.Error("a third of two is let in")
	}
	upload := uses.Enter(second, access.Upload, 2)
	nameless := uses.Enter(&auth.Principal{Subject: "bob"}, access.Socket, 0)
	if upload == nil || uses.OfCredential("t2", access.Upload) != 1 || nameless == nil || uses.OfCredential("", access.Socket) != 0 {
		t.Error("a kind counts against another, or a credential without a name is one")
	}
	b.Renew(second)
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
	uses := access.NewUses()
	const most = 3
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				p := &auth.Principal{Subject: "alice", Credential: fmt.Sprint(i)}
				use := uses.Enter(p, access.Socket, most)
				if n := uses.OfSubject("alice", access.Socket); n > most {
					t.Errorf("%d at a time, at most %d are let in", n, most)
				}
				if use != nil {
					use.Renew(&auth.Principal{Subject: "alice", Credential: "next"})
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
