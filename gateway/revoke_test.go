package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// issued is a user's token that was issued at a moment.
func issued(t testing.TB, subject, id string, at time.Time) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": subject, "jti": id, "iat": at.Unix(), "exp": at.Add(time.Hour).Unix()})
	token.Header["kid"] = tokenKey.ID
	text, err := token.SignedString(tokenKey.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// guests is a gateway for users with tokens, and with files.
func guests(t testing.TB, e *engine.Engine, d *depot, change func(*gateway.Options)) *server {
	t.Helper()
	return d.serve(t, e, func(o *gateway.Options) {
		signed(t, o)
		o.StallTimeout, o.EnqueueTypes = 5*time.Minute, everyType
		if change != nil {
			change(o)
		}
	})
}

// A living is all that a user has under way at a gateway.
type living struct {
	t        *testing.T
	s        *server
	token    string
	socket   *client
	stream   *eventSource
	poll     unread
	uploads  engine.JobID
	download *taking
	original *taking // of an uploaded file
	upload   *sending
}

// lives begins one of each. file is an artifact, and original a job whose uploaded file is large, too.
func lives(t *testing.T, e *engine.Engine, s *server, token, file, original string) *living {
	t.Helper()
	l := &living{t: t, s: s, token: token}
	l.socket = newClient(t, s.dial(t, dialer(0), bearer(token)))
	l.socket.subscribe("a", "user:alice", "", "")
	l.socket.untilLive("a")
	l.stream = &eventSource{t: t, subs: map[string]*held{}}
	a := s.get(t, "/v1/events?topic=user:alice", token, "")
	l.stream.body, l.stream.lines = a.body, bufio.NewReader(a.body)
	for f, ok := l.stream.next(); !ok || f.Type != "live"; f, ok = l.stream.next() {
		if !ok {
			t.Fatalf("the stream ends: %v", l.stream.end)
		}
	}
	// It waits for what never comes.
	l.poll = s.get(t, "/v1/topics/user:alice/records?wait=1m&type=none&after="+string(l.socket.subs["a"].cursor), token, "")
	l.download = s.taking(t, "/v1/artifacts/"+file, "Authorization: Bearer "+token+"\r\n")
	l.original = s.taking(t, "/v1/jobs/"+original+"/upload", "Authorization: Bearer "+token+"\r\n")
	up := s.tus(t, http.MethodPost, "/v1/uploads", nil, "Authorization", "Bearer "+token, "Upload-Length", "10",
		"Upload-Metadata", metadata("topic", "user:alice", "type", "analysis", "filename", "orders.csv"))
	job, ok := strings.CutPrefix(up.header.Get("Location"), "/v1/uploads/")
	if !ok {
		t.Fatalf("announce: %+v", up)
	}
	l.uploads = engine.JobID(job)
	l.upload = s.dialed(t, engine.JobID(job), 0, "Authorization: Bearer "+token+"\r\nContent-Length: 10")
	l.upload.send([]byte("01234"))
	eventually(t, "the bytes to have arrived", func() bool { return view(t, e, engine.JobID(job)).Progress.Done == 5 })
	return l
}

// uploaded makes a job of alice's that works on a large uploaded file.
func uploaded(t *testing.T, e *engine.Engine, s *server, token string) string {
	t.Helper()
	who := []string{"Authorization", "Bearer " + token}
	a := s.tus(t, http.MethodPost, "/v1/uploads", nil, append(who, "Upload-Length", strconv.Itoa(large),
		"Upload-Metadata", metadata("topic", "user:alice", "type", "analysis", "filename", "orders.csv"))...)
	job := engine.JobID(strings.TrimPrefix(a.header.Get("Location"), "/v1/uploads/"))
	if a := s.patch(t, job, 0, make([]byte, large), who...); a.status != http.StatusNoContent {
		t.Fatalf("upload: %+v", a)
	}
	inState(t, e, job, engine.Queued)
	p := &pen{t: t, e: e, job: job, fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken()}}
	p.write(runtime.Report{Type: engine.JobStarted})
	return string(job)
}

// end wants all of it to have ended.
func (l *living) end() {
	l.t.Helper()
	if code := l.socket.closed(); code != 4401 {
		l.t.Errorf("the socket is closed with %d", code)
	}
	said := ""
	for f, ok := l.stream.next(); ok; f, ok = l.stream.next() {
		said = f.text
	}
	if !strings.Contains(said, `"goodbye"`) || !strings.Contains(said, `"expired"`) {
		l.t.Errorf("the last event of the stream is %s", said)
	}
	if text, err := io.ReadAll(l.poll.body); err != nil || !strings.Contains(string(text), `"goodbye"`) {
		l.t.Errorf("the poll ends with %s, %v", text, err)
	}
	for what, file := range map[string]*taking{"an artifact": l.download, "an uploaded file": l.original} {
		if n, err := io.Copy(io.Discard, file.body); err == nil {
			l.t.Errorf("the download of %s went on to its end, by %d bytes", what, n)
		}
	}
	if a := l.upload.answer(); !strings.HasPrefix(a, "HTTP/1.1 401") {
		l.t.Errorf("the upload is answered %q", a)
	}
	l.refused()
}

// refused wants the token to be no longer taken.
func (l *living) refused() {
	l.t.Helper()
	wantProblem(l.t, l.s.ask(l.t, http.MethodGet, "/v1/jobs?topic=user:alice", "", l.bears()), http.StatusUnauthorized, "unauthenticated")
	if a := l.s.ask(l.t, http.MethodHead, "/v1/events?topic=user:alice", "", l.bears()); a.status != http.StatusUnauthorized {
		l.t.Errorf("the head of a stream: %+v", a)
	}
	c := &client{t: l.t, conn: l.s.dial(l.t, dialer(0), bearer(l.token)), subs: map[string]*held{}}
	if code := c.closed(); code != 4401 {
		l.t.Errorf("a new socket is closed with %d", code)
	}
}

func (l *living) bears() func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+l.token) }
}

// Who is kicked, or logs out, has nothing left on any gateway, and cannot come back with the same credentials: neither
// through a gateway that starts later, nor when Redis has lost the revocation. Nobody else notices.
func TestRevokedCredentials(t *testing.T) {
	r := redistest.Server(t)
	d := newDepot(t)
	e := open(t, r.URL(), nil)
	namespace := lastNamespace()
	again := func() *engine.Engine {
		return open(t, r.URL(), func(o *engine.Options) { o.Namespace = namespace })
	}
	a, b := guests(t, e, d, nil), guests(t, again(), d, nil)

	p := start(t, e, "user:alice")
	file := p.artifact(d, "user:alice", "large.csv", make([]byte, large)).ID
	p.succeed()
	now := time.Now()
	original := uploaded(t, e, a, issued(t, "alice", "0", now))
	mine, twin := issued(t, "alice", "1", now.Add(-time.Second)), issued(t, "alice", "2", now.Add(-time.Second))
	bob := newClient(t, a.dial(t, dialer(0), bearer(issued(t, "bob", "1", now.Add(-time.Second)))))
	here, there := lives(t, e, a, mine, file, original), lives(t, e, b, mine, file, original)
	spared := lives(t, e, b, twin, file, original)

	// A logout is of one token alone.
	if got := a.ask(t, http.MethodDelete, "/v1/session", "", here.bears()); got.status != http.StatusNoContent {
		t.Fatalf("log out: %+v", got)
	}
	here.end()
	there.end()
	spared.socket.send(`{"type":"ping"}`)
	for f := spared.socket.read(); f.Type != "pong"; f = spared.socket.read() {
	}
	spared.download.read(10 << 20)

	// A kick is of all that were issued before.
	wantProblem(t, a.ask(t, http.MethodPost, "/v1/kick", `{"subject":"alice"}`, spared.bears()), http.StatusForbidden, "forbidden")
	later := issued(t, "alice", "3", time.Now().Add(20*time.Second))
	renews := newClient(t, a.dial(t, dialer(0), bearer(later)))
	kick := a.ask(t, http.MethodPost, "/v1/kick", `{"subject":"alice"}`, as(t, "ops", auth.RoleAdmin))
	if kick.status != http.StatusOK || !strings.Contains(kick.body, `"subject":"alice","issued_before":"20`) {
		t.Fatalf("kick: %+v", kick)
	}
	spared.end()
	renews.send(`{"type":"ping"}`)
	if f := renews.read(); f.Type != "pong" {
		t.Errorf("what was issued later: %s", f.text)
	}
	renews.send(fmt.Sprintf(`{"type":"auth","token":%q}`, twin))
	if code := renews.closed(); code != 4401 {
		t.Errorf("what renews with what is revoked is closed with %d", code)
	}
	for _, s := range []*server{a, b} {
		if got := s.ask(t, http.MethodGet, "/v1/jobs?topic=user:alice", "", func(r *http.Request) { r.Header = bearer(later) }); got.status != http.StatusOK {
			t.Errorf("a login after the kick: %+v", got)
		}
	}
	bob.send(`{"type":"ping"}`)
	if f := bob.read(); f.Type != "pong" {
		t.Errorf("bob: %s", f.text)
	}

	for _, l := range []*living{here, there, spared} {
		up := a.tus(t, http.MethodHead, "/v1/uploads/"+string(l.uploads), nil, "Authorization", "Bearer "+later)
		if up.header.Get("Upload-Offset") != "5" {
			t.Errorf("of the upload there is %+v", up)
		}
		if up := a.patch(t, l.uploads, 5, []byte("56789"), "Authorization", "Bearer "+later); up.status != http.StatusNoContent {
			t.Errorf("the upload goes on: %+v", up)
		}
	}

	// Redis loses it, as in a failover. The gateways hold it still, and have Redis hold it again.
	log, set := "{control}:log", "{control}:revoked"
	name := func(key string) string { return namespace + ":" + key }
	if n, err := r.Client(t).Del(t.Context(), name(log), name(set)).Result(); err != nil || n != 2 {
		t.Fatalf("%d keys deleted, %v", n, err)
	}
	eventually(t, "Redis to hold both again", func() bool { return r.Client(t).ZCard(t.Context(), name(set)).Val() == 2 })
	third := guests(t, again(), d, nil)
	for _, token := range []string{mine, twin} {
		(&living{t: t, s: third, token: token}).refused()
	}
}

// Who kicks itself gets the answer, and no other one.
func TestAdminKicksItself(t *testing.T) {
	s := guests(t, real(t), newDepot(t), nil)
	ops := as(t, "ops", auth.RoleAdmin)
	if a := s.ask(t, http.MethodPost, "/v1/kick", `{"subject":"ops"}`, ops); a.status != http.StatusOK {
		t.Errorf("kick: %+v", a)
	}
	wantProblem(t, s.ask(t, http.MethodGet, "/metrics", "", ops), http.StatusUnauthorized, "unauthenticated")
}

// A client that takes nothing is cut off when its credentials end.
func TestStuckClientIsCutOff(t *testing.T) {
	e := real(t)
	s := guests(t, e, newDepot(t), func(o *gateway.Options) { o.PongTimeout = 5 * time.Minute })
	p := start(t, e, "user:alice")
	token := issued(t, "alice", "1", time.Now())
	stuck := newClient(t, s.dial(t, dialer(4<<10), bearer(token)))
	stuck.subscribe("a", "user:alice", "", "")
	stuck.untilLive("a")
	s.jam(p)
	if a := s.ask(t, http.MethodPost, "/v1/kick", `{"subject":"alice"}`, as(t, "ops", auth.RoleAdmin)); a.status != http.StatusOK {
		t.Fatalf("kick: %+v", a)
	}
	eventually(t, "the session to be gone", func() bool { return s.Sessions() == 0 })
}

// A gateway that cannot read what is revoked lets nobody in, and keeps nobody. When it can again, all come back.
func TestBlindGateway(t *testing.T) {
	proxy := redistest.NewProxy(t, redistest.Server(t).Addr())
	e := open(t, proxy.URL(), nil)
	s := guests(t, e, newDepot(t), func(o *gateway.Options) { o.ControlTimeout = 5 * time.Second })
	token := issued(t, "alice", "1", time.Now())
	c := newClient(t, s.dial(t, dialer(0), bearer(token)))
	proxy.Stall()
	f := c.read()
	if f.Type != "goodbye" || f.Reason != "unavailable" || f.Reconnect == 0 {
		t.Errorf("it is told %s", f.text)
	}
	if code := c.closed(); code != 1012 {
		t.Errorf("it is closed with %d", code)
	}
	ask := func() answer {
		return s.ask(t, http.MethodGet, "/v1/jobs?topic=user:alice", "", func(r *http.Request) { r.Header = bearer(token) })
	}
	wantProblem(t, ask(), http.StatusServiceUnavailable, "unavailable")
	proxy.Unstall()
	eventually(t, "the gateway to see again", func() bool { return ask().status == http.StatusOK })
	newClient(t, s.dial(t, dialer(0), bearer(token)))
}

// What has no credentials has none to revoke.
func TestNothingToRevoke(t *testing.T) {
	s := serve(t, real(t), nil)
	wantProblem(t, s.ask(t, http.MethodDelete, "/v1/session", "", nil), http.StatusConflict, "state")
	wantProblem(t, s.ask(t, http.MethodPost, "/v1/kick", `{"subject":"demo"}`, nil), http.StatusConflict, "state")
	with := guests(t, real(t), newDepot(t), nil)
	for _, body := range []string{`{}`, `{"subject":""}`, `{"subject":"` + strings.Repeat("x", 257) + `"}`, `{"user":"a"}`} {
		wantProblem(t, with.ask(t, http.MethodPost, "/v1/kick", body, as(t, "ops", auth.RoleAdmin)), http.StatusBadRequest, "invalid")
	}
}
