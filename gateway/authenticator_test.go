package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// A directory is a mode beside dev: tokens are looked up where they may not be found, and
// where no server may answer.
type directory struct {
	mu     sync.Mutex
	people map[string]*auth.Principal // by token
	away   bool                       // it does not answer
	hangs  bool                       // nor does it refuse
	opened int
}

var errAway = errors.New("the directory does not answer")

// Open implements auth.Mode.
func (d *directory) Open(ctx context.Context) (auth.Authenticator, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := ctx.Err(); err != nil || d.away {
		return nil, errors.Join(errAway, err)
	}
	d.opened++
	return &reading{d}, nil
}

func (d *directory) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// A reading is an open directory.
type reading struct{ d *directory }

func (r *reading) Authenticate(req *http.Request) (*auth.Principal, error) {
	token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, auth.ErrNoCredentials
	}
	return r.Token(req.Context(), token)
}

func (r *reading) Token(ctx context.Context, token string) (*auth.Principal, error) {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	if r.d.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if r.d.away || r.d.opened == 0 {
		return nil, fmt.Errorf("look up a token: %w", errAway)
	}
	p := r.d.people[token]
	if p == nil {
		return nil, fmt.Errorf("%w: unknown token", auth.ErrRejected)
	}
	return p, nil
}

func (r *reading) Announcement() string { return "" }

func (r *reading) Close() error {
	r.d.set(func() { r.d.opened-- })
	return nil
}

// opened is the directory's authenticator, which the test closes last.
func (d *directory) openedFor(t *testing.T) auth.Authenticator {
	t.Helper()
	a, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// The answers to rejected credentials and to ones that cannot be checked differ, over HTTP and by
// close codes, and the same ones are good again once they can be.
func TestAuthenticatorThatFails(t *testing.T) {
	d := &directory{people: map[string]*auth.Principal{"alice's": {Subject: "alice", Grants: []auth.Grant{{Topics: "*", Rights: auth.Read}}}}}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Open(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("opened with a context that had ended: %v", err)
	}
	e := real(t)
	s := serve(t, e, func(o *gateway.Options) { o.Auth, o.AuthTimeout = d.openedFor(t), time.Minute })
	ask := func(s *server, token string) answer {
		return s.ask(t, http.MethodGet, "/v1/jobs?topic=user:42", "", func(r *http.Request) { r.Header = bearer(token) })
	}
	for _, c := range []struct {
		what  string
		state func()
		token string
		want  int
		code  string
		close int // over a WebSocket; 0: it is welcome
	}{
		{"a good token", func() {}, "alice's", http.StatusOK, "", 0},
		{"an unknown one", func() {}, "mallory's", http.StatusUnauthorized, "unauthenticated", 4401},
		{"no answer", func() { d.away = true }, "alice's", http.StatusServiceUnavailable, "unavailable", 1012},
		{"a good token again", func() { d.away = false }, "alice's", http.StatusOK, "", 0},
	} {
		d.set(c.state)
		a := ask(s, c.token)
		if a.status != c.want || !strings.Contains(a.body, c.code) || (a.header.Get("Retry-After") != "") != (c.want == http.StatusServiceUnavailable) {
			t.Errorf("%s: answered %+v, want %d %s", c.what, a, c.want, c.code)
		}
		for where, header := range map[string]http.Header{"in the header": bearer(c.token), "in a message": nil} {
			k := &client{t: t, conn: s.dial(t, dialer(0), header)}
			if header == nil {
				k.send(fmt.Sprintf(`{"type":"auth","token":%q}`, c.token))
			}
			f, err := k.next(time.Minute)
			switch {
			case c.close == 0 && (err != nil || f.Type != "welcome"):
				t.Errorf("%s, %s: got %s, %v, want welcome", c.what, where, f.text, err)
			case c.close == 1012 && (f.Type != "goodbye" || !strings.Contains(f.text, `"unavailable"`) || f.Reconnect <= 0 || k.closed() != 1012):
				t.Errorf("%s, %s: got %s, want goodbye and 1012", c.what, where, f.text)
			case c.close == 4401 && (err == nil || !strings.Contains(err.Error(), "4401")):
				t.Errorf("%s, %s: got %s, %v, want 4401", c.what, where, f.text, err)
			}
		}
	}
	// An answer that does not come is bounded.
	hasty := serve(t, e, func(o *gateway.Options) { o.Auth, o.AuthTimeout = d.openedFor(t), 50*time.Millisecond })
	d.set(func() { d.hangs = true })
	if a := ask(hasty, "alice's"); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "unavailable") {
		t.Errorf("no answer in time: answered %+v", a)
	}
	if code := (&client{t: t, conn: hasty.dial(t, dialer(0), bearer("alice's"))}).closed(); code != 1012 {
		t.Errorf("no answer in time: closed with %d, want 1012", code)
	}
	d.set(func() { d.hangs = false })
}

// A socket ends when its credential expires, unless it was renewed, and is indexed by the
// one that it has.
func TestCredentialsExpireAndAreRenewed(t *testing.T) {
	in := func(d time.Duration, credential string) *auth.Principal {
		return &auth.Principal{Subject: "alice", Credential: credential, Expires: time.Now().Add(d)}
	}
	d := &directory{people: map[string]*auth.Principal{
		"first": in(time.Hour, "c1"), "second": in(time.Hour, "c2"), "short": in(500*time.Millisecond, "c3"),
	}}
	s := serve(t, real(t), func(o *gateway.Options) { o.Auth = d.openedFor(t) })
	stays, renewed := newClient(t, s.dial(t, dialer(0), bearer("first"))), newClient(t, s.dial(t, dialer(0), bearer("first")))
	if n := s.UsesOf("c1", "socket"); n != 2 {
		t.Errorf("%d sockets of the first credential, want 2", n)
	}
	renewed.send(`{"type":"auth","token":"second"}`)
	if f := renewed.read(); f.Type != "welcome" {
		t.Fatalf("got %s, want welcome", f.text)
	}
	if one, other := s.UsesOf("c1", "socket"), s.UsesOf("c2", "socket"); one != 1 || other != 1 {
		t.Errorf("%d sockets of the first credential and %d of the second, want one each", one, other)
	}
	renewed.send(`{"type":"auth","token":"short"}`)
	if code := renewed.closed(); code != 4401 {
		t.Errorf("closed with %d, want 4401", code)
	}
	// On a busy machine the credentials have expired before they come.
	eventually(t, "the socket that expired to be gone", func() bool { return s.UsesOf("c2", "socket")+s.UsesOf("c3", "socket") == 0 })
	stays.send(`{"type":"ping"}`)
	if f := stays.read(); f.Type != "pong" || s.UsesOf("c2", "socket") != 0 || s.UsesOf("c1", "socket") != 1 {
		t.Errorf("got %s, want pong, and one socket of the first credential alone", f.text)
	}
}

// Uploads and downloads are found by their credential for as long as they take.
func TestTransfersAreIndexed(t *testing.T) {
	d := &directory{people: map[string]*auth.Principal{"alice's": {
		Subject: "alice", Credential: "c1", Grants: []auth.Grant{{Topics: "*", Rights: auth.Read | auth.Enqueue}},
	}}}
	e, store := real(t), newDepot(t)
	s := store.serve(t, e, func(o *gateway.Options) { o.Auth = d.openedFor(t) })
	who := []string{"Authorization", "Bearer alice's"}

	job := s.announce(t, 10, who...)
	sending := s.dialed(t, job, 0, "Authorization: Bearer alice's\r\nContent-Length: 10")
	sending.send([]byte("01234"))
	eventually(t, "the upload to be indexed", func() bool { return s.UsesOf("c1", "upload") == 1 })
	sending.send([]byte("56789"))
	if a := sending.answer(); !strings.HasPrefix(a, "HTTP/1.1 204") {
		t.Fatalf("answered %q", a)
	}
	eventually(t, "the upload to be gone", func() bool { return s.UsesOf("c1", "upload") == 0 })

	// So much that no kernel takes it from the gateway while the client does not read.
	inState(t, e, job, engine.Queued)
	p := &pen{t: t, e: e, job: job, fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken()}}
	p.write(runtime.Report{Type: engine.JobStarted})
	p.artifact(store, topic, "big", make([]byte, 32<<20))
	conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET /v1/artifacts/%s.big HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer alice's\r\n\r\n", job, s.addr); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the download to be indexed", func() bool { return s.UsesOf("c1", "download") == 1 })
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the download to be gone", func() bool { return s.UsesOf("c1", "download") == 0 })
}

// An authenticator belongs to who opened it: a gateway that stops leaves it open.
func TestAuthenticatorIsItsOpeners(t *testing.T) {
	d := &directory{}
	a, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(gateway.Options{Engine: real(t), Logger: quiet(), Auth: a})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Start(nil), g.Stop(t.Context())); err != nil {
		t.Fatal(err)
	}
	if d.opened != 1 {
		t.Errorf("opened %d times after Stop, want once", d.opened)
	}
	if err := a.Close(); err != nil || d.opened != 0 {
		t.Errorf("closed: %v, %d are open", err, d.opened)
	}
}

// Dev mode asks for no credentials, so a gateway that serves other machines does not take it.
func TestDevModeIsNotPublic(t *testing.T) {
	_, err := gateway.New(gateway.Options{Engine: real(t), Site: auth.Site{Public: true}})
	if !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), "Site") {
		t.Errorf("%v, want that Site is refused", err)
	}
}
