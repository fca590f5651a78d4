package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A gateway whose Redis answers reads and refuses writes says so, to clients and to probes.
func TestRefusedWrites(t *testing.T) {
	r := redistest.Server(t)
	proxy := redistest.NewProxy(t, r.Addr())
	s := serve(t, open(t, proxy.URL(), func(o *engine.Options) { o.CommitTimeout = 500 * time.Millisecond }), nil)
	become := func(status int, text string) {
		t.Helper()
		ctx := soon(t)
		for {
			a := s.ask(t, http.MethodGet, "/readyz", "", nil)
			if a.status == status && a.body == text {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("readyz stays %d %q, want %d %q", a.status, a.body, status, text)
			}
		}
	}
	post := func() answer {
		return s.ask(t, http.MethodPost, "/v1/jobs", `{"topic":"user:42","type":"export"}`, nil)
	}
	become(http.StatusOK, "ready\n")
	try := func(name string, status int, code string, ready int, text string) {
		t.Helper()
		wantProblem(t, post(), status, code)
		if a := s.ask(t, http.MethodGet, "/v1/jobs?topic=user:42", "", nil); a.status != http.StatusOK {
			t.Errorf("%s: a list was answered %d %s", name, a.status, a.body)
		}
		become(ready, text)
	}
	for why, want := range map[redistest.Refusal]int{
		redistest.OutOfMemory: http.StatusInsufficientStorage, redistest.FewReplicas: http.StatusServiceUnavailable, redistest.CannotSave: http.StatusServiceUnavailable,
	} {
		r.RefuseWrites(why)
		code := "unavailable"
		if want == http.StatusInsufficientStorage {
			code = "out_of_memory"
		}
		try(why.String(), want, code, http.StatusOK, "ready\nwrites: refused\n")
		r.TakeWrites()
		become(http.StatusOK, "ready\n")
	}
	const isReplica = "Redis does not answer, or is a replica\n"
	for _, spelling := range []string{"-READONLY ", "-ERR READONLY "} {
		proxy.RewriteReplies("-READONLY ", spelling)
		r.RefuseWrites(redistest.Demoted)
		try(spelling, http.StatusServiceUnavailable, "unavailable", http.StatusServiceUnavailable, isReplica)
		r.TakeWrites()
		become(http.StatusOK, "ready\n")
	}
	if a := post(); a.status != http.StatusCreated && a.status != http.StatusAccepted && a.status != http.StatusOK {
		t.Errorf("with writes again: %d %s", a.status, strings.TrimSpace(a.body))
	}
}
