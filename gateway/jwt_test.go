package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

var tokenKey = auth.JWTKey{ID: "k", Algorithm: auth.HS256, Secret: []byte(strings.Repeat("secret", 6))}

// tokenOf is a user's token.
func tokenOf(t testing.TB, subject string, roles ...string) string {
	t.Helper()
	token, err := tokenKey.Sign(auth.JWTClaims{Subject: subject, Roles: roles, Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// signed runs a gateway that takes tokens of the key.
func signed(t testing.TB, o *gateway.Options) {
	t.Helper()
	a, err := auth.JWT{Keys: []auth.JWTKey{tokenKey}}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.Auth, o.Site = a, auth.Site{Public: true, Hosts: []string{"127.0.0.1"}}
}

// as bears a user's token.
func as(t testing.TB, subject string, roles ...string) func(*http.Request) {
	token := tokenOf(t, subject, roles...)
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// A user reads and writes its own topic. Another's answers it as one that never was.
func TestUsersOfTokens(t *testing.T) {
	e := real(t)
	s := serve(t, e, func(o *gateway.Options) { signed(t, o) })
	alice, bob := enqueue(t, e, "user:alice"), enqueue(t, e, "user:bob")
	unknown, err := runtime.Of(e).NewJobID("user:nobody")
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string, who func(*http.Request)) answer {
		a := s.ask(t, http.MethodGet, path, "", who)
		a.header.Del("Date")
		return a
	}
	if a := get("/v1/jobs?topic=user:alice", as(t, "alice")); a.status != http.StatusOK || !strings.Contains(a.body, string(alice)) {
		t.Errorf("her own topic: %+v", a)
	}
	if a := get("/v1/jobs/"+string(alice), as(t, "alice")); a.status != http.StatusOK {
		t.Errorf("her own job: %+v", a)
	}
	for what, paths := range map[string][2]string{
		"a job":      {"/v1/jobs/" + string(bob), "/v1/jobs/" + string(unknown)},
		"a list":     {"/v1/jobs?topic=user:bob", "/v1/jobs?topic=user:nobody"},
		"a snapshot": {"/v1/topics/user:bob/snapshot", "/v1/topics/user:nobody/snapshot"},
	} {
		foreign, never := get(paths[0], as(t, "alice")), get(paths[1], as(t, "alice"))
		if foreign.status < 400 || fmt.Sprint(foreign) != fmt.Sprint(never) {
			t.Errorf("%s of bob's: %+v\nof nobody's: %+v", what, foreign, never)
		}
		if a := get(paths[0], as(t, "bob")); a.status != http.StatusOK {
			t.Errorf("%s of bob's, for bob: %+v", what, a)
		}
		if a := get(paths[0], as(t, "carol", auth.RoleViewer)); a.status != http.StatusOK {
			t.Errorf("%s of bob's, for a viewer: %+v", what, a)
		}
		wantProblem(t, get(paths[0], nil), http.StatusUnauthorized, "unauthenticated")
		wantProblem(t, get(paths[0], func(r *http.Request) { r.Header = bearer(tokenOf(t, "bob") + "x") }), http.StatusUnauthorized, "unauthenticated")
	}
	wantProblem(t, get("/metrics", as(t, "carol", auth.RoleViewer)), http.StatusForbidden, "forbidden")
	if a := get("/metrics", as(t, "ops", auth.RoleAdmin)); a.status != http.StatusOK {
		t.Errorf("an admin's metrics: %d", a.status)
	}

	// The same over a WebSocket, by a header and by a message.
	for where, header := range map[string]http.Header{"in the header": bearer(tokenOf(t, "alice")), "in a message": nil} {
		conn := s.dial(t, dialer(0), header)
		c := &client{t: t, conn: conn, subs: map[string]*held{}}
		if header == nil {
			c.send(fmt.Sprintf(`{"type":"auth","token":%q}`, tokenOf(t, "alice")))
		}
		if f := c.read(); f.Type != "welcome" || f.Expires == "" {
			t.Fatalf("%s: got %s", where, f.text)
		}
		c.subscribe("own", "user:alice", "", "")
		c.untilLive("own")
		var told []string
		for _, topic := range []string{"user:bob", "user:nobody"} {
			c.send(fmt.Sprintf(`{"type":"subscribe","sid":"other","topic":%q}`, topic))
			told = append(told, c.read().text)
		}
		if told[0] != told[1] || !strings.Contains(told[0], `"forbidden"`) {
			t.Errorf("%s: of bob's topic it gets %s, of nobody's %s", where, told[0], told[1])
		}
	}
}

// Users enqueue the types that the gateway names, each with its queue, its attempts and its payload; admins any.
func TestTypesThatUsersEnqueue(t *testing.T) {
	e := real(t)
	s := newDepot(t).serve(t, e, func(o *gateway.Options) {
		signed(t, o)
		o.EnqueueTypes = []gateway.EnqueueType{
			{Type: "export", Queue: "exports", MaxAttempts: 2, MaxPayloadBytes: 12}, {Type: "count"}, {Type: "many", MaxAttempts: 9},
		}
	})
	// Each way to make a job of a type, with a queue, attempts and a payload.
	ways := map[string]func(who func(*http.Request), jobType, queue string, attempts int, payload string) answer{
		"a request": func(who func(*http.Request), jobType, queue string, attempts int, payload string) answer {
			return s.ask(t, http.MethodPost, "/v1/jobs", fmt.Sprintf(`{"topic":"user:alice","type":%q,"queue":%q,"max_attempts":%d,"payload":%s}`, jobType, queue, attempts, payload), who)
		},
		"a schedule": func(who func(*http.Request), jobType, queue string, attempts int, payload string) answer {
			return s.ask(t, http.MethodPut, "/v1/topics/user:alice/schedules/s", fmt.Sprintf(`{"cron":"@yearly","type":%q,"queue":%q,"max_attempts":%d,"payload":%s}`, jobType, queue, attempts, payload), who)
		},
		"an upload": func(who func(*http.Request), jobType, queue string, attempts int, payload string) answer {
			if attempts > 0 {
				return answer{} // it cannot ask
			}
			return s.ask(t, http.MethodPost, "/v1/uploads", "", func(r *http.Request) {
				who(r)
				for name, value := range map[string]string{
					"Tus-Resumable": "1.0.0", "Upload-Length": "9",
					"Upload-Metadata": metadata("topic", "user:alice", "type", jobType, "queue", queue, "payload", payload),
				} {
					r.Header.Set(name, value)
				}
			})
		},
	}
	alice, admin := as(t, "alice"), as(t, "ops", auth.RoleAdmin)
	for way, make := range ways {
		for _, c := range []struct {
			what, jobType, queue string
			attempts             int
			payload              string
			status               int
			says                 string
		}{
			{"what is allowed", "export", "", 0, `{"a":12345}`, 0, ""},
			{"all that is allowed", "export", "exports", 2, `{"a":12345}`, 0, ""},
			{"another type", "purge", "", 0, `{}`, 403, `you may not enqueue jobs of type \"purge\"`},
			{"another queue", "export", "tidemark", 0, `{}`, 400, `queue \"tidemark\": jobs of type export go to the queue exports`},
			{"more attempts", "export", "", 3, `{}`, 400, "max_attempts 3: jobs of type export have at most 2"},
			{"a longer payload", "export", "", 0, `{"a":1234567}`, 400, "payload of 13 bytes: jobs of type export have at most 12"},
			{"another queue than the default", "count", "exports", 0, `{}`, 400, "go to the queue tidemark"},
			{"more attempts than the default", "count", "", 5, `{}`, 400, "max_attempts 5: jobs of type count have at most 4"},
		} {
			a := make(alice, c.jobType, c.queue, c.attempts, c.payload)
			switch {
			case a.status == 0:
			case c.status == 0 && a.status != http.StatusCreated && a.status != http.StatusOK:
				t.Errorf("%s, %s: %+v", way, c.what, a)
			case c.status != 0 && (a.status != c.status || !strings.Contains(a.body, c.says)):
				t.Errorf("%s, %s: %+v, want %d, %s", way, c.what, a, c.status, c.says)
			}
			if a := make(admin, c.jobType, c.queue, c.attempts, c.payload); a.status != 0 && a.status != http.StatusCreated && a.status != http.StatusOK {
				t.Errorf("%s, %s, as an admin: %+v", way, c.what, a)
			}
		}
	}
	// What a job has that asks for nothing.
	for jobType, want := range map[string]struct {
		queue    string
		attempts int
	}{"export": {"exports", 2}, "count": {"tidemark", 4}, "many": {"tidemark", 4}} {
		ways["a schedule"](alice, jobType, "", 0, `{}`)
		all, err := e.Schedules(soon(t), "user:alice")
		if err != nil || len(all) != 1 || all[0].Queue != want.queue || all[0].MaxAttempts != want.attempts {
			t.Errorf("a schedule of type %s: %+v, %v, want %+v", jobType, all, err, want)
		}
	}
}

// What a user's payload names is the topic's own. Other programs' blobs are for admins.
func TestBlobsThatUsersName(t *testing.T) {
	s := newDepot(t).serve(t, real(t), func(o *gateway.Options) { signed(t, o) })
	const own = "incoming/user:alice/0701JD8V3QZ4T9M2K6W0X5Y7B1CA"
	for _, c := range []struct {
		payload string
		who     func(*http.Request)
		status  int
	}{
		{`{"blob":"` + own + `"}`, as(t, "alice"), http.StatusCreated},
		{`{"blob":"orders.csv"}`, as(t, "alice"), http.StatusForbidden},
		{`{"Blob":"orders.csv"}`, as(t, "alice"), http.StatusForbidden},
		{`{"blob":"` + own + `","BLOB":"incoming/user:bob/0701JD8V3QZ4T9M2K6W0X5Y7B1CA"}`, as(t, "alice"), http.StatusForbidden},
		{`{"blob":"orders.csv"}`, as(t, "ops", auth.RoleAdmin), http.StatusCreated},
	} {
		if a := s.ask(t, http.MethodPost, "/v1/jobs", `{"topic":"user:alice","type":"analysis","payload":`+c.payload+`}`, c.who); a.status != c.status {
			t.Errorf("a job of %s: %+v, want %d", c.payload, a, c.status)
		}
		a := s.ask(t, http.MethodPut, "/v1/topics/user:alice/schedules/s", `{"cron":"@yearly","type":"analysis","payload":`+c.payload+`}`, c.who)
		if (a.status == http.StatusForbidden) != (c.status == http.StatusForbidden) {
			t.Errorf("a schedule of %s: %+v", c.payload, a)
		}
	}
}

// Trying again is enqueueing too.
func TestRetriesOfTypes(t *testing.T) {
	e := real(t)
	s := serve(t, e, func(o *gateway.Options) {
		signed(t, o)
		o.EnqueueTypes = []gateway.EnqueueType{{Type: "count"}}
	})
	job := enqueue(t, e, "user:alice") // of type export, by a service
	if err := e.Cancel(soon(t), job); err != nil {
		t.Fatal(err)
	}
	retry := func(who func(*http.Request)) answer {
		return s.ask(t, http.MethodPost, "/v1/jobs/"+string(job)+"/retry", "", who)
	}
	wantProblem(t, retry(as(t, "alice")), http.StatusForbidden, "forbidden")
	wantProblem(t, retry(as(t, "bob")), http.StatusNotFound, "not_found")
	elsewhere, err := e.Enqueue(soon(t), engine.Spec{Topic: "user:alice", Type: "count", Queue: "urgent"})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Cancel(soon(t), elsewhere.ID); err != nil {
		t.Fatal(err)
	}
	if a := s.ask(t, http.MethodPost, "/v1/jobs/"+string(elsewhere.ID)+"/retry", "", as(t, "alice")); a.status != http.StatusForbidden || !strings.Contains(a.body, `queue \"urgent\"`) {
		t.Errorf("a retry in a queue that users' jobs do not go to: %+v", a)
	}
	plain, err := e.Enqueue(soon(t), engine.Spec{Topic: "user:alice", Type: "count"})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Cancel(soon(t), plain.ID); err != nil {
		t.Fatal(err)
	}
	if a := s.ask(t, http.MethodPost, "/v1/jobs/"+string(plain.ID)+"/retry", "", as(t, "alice")); a.status != http.StatusCreated {
		t.Errorf("a retry in the type's queue: %+v", a)
	}
	if a := retry(as(t, "ops", auth.RoleAdmin)); a.status != http.StatusCreated {
		t.Errorf("as an admin: %+v", a)
	}
}

func TestEnqueueTypesThatAreRefused(t *testing.T) {
	many := make([]gateway.EnqueueType, 1001)
	for i := range many {
		many[i].Type = fmt.Sprint("t", i)
	}
	for what, c := range map[string]struct {
		types []gateway.EnqueueType
		want  string
	}{
		"no type":                        {[]gateway.EnqueueType{{}}, `invalid EnqueueTypes "": want a job type`},
		"a queue":                        {[]gateway.EnqueueType{{Type: "a", Queue: "B"}}, `invalid EnqueueTypes "a": its queue: want`},
		"attempts":                       {[]gateway.EnqueueType{{Type: "a", MaxAttempts: 1001}}, `invalid EnqueueTypes "a": its max_attempts: want 1 to 1000`},
		"fewer attempts":                 {[]gateway.EnqueueType{{Type: "a", MaxAttempts: -1}}, `invalid EnqueueTypes "a": its max_attempts: want`},
		"a payload of less than nothing": {[]gateway.EnqueueType{{Type: "a", MaxPayloadBytes: -1}}, `invalid EnqueueTypes "a": its max_payload_bytes: want`},
		"a payload":                      {[]gateway.EnqueueType{{Type: "a", MaxPayloadBytes: 262145}}, `invalid EnqueueTypes "a": its max_payload_bytes: want 1 to 262144`},
		"twice":                          {[]gateway.EnqueueType{{Type: "a"}, {Type: "a"}}, `invalid EnqueueTypes "a": it is named twice`},
		"too many":                       {many, "invalid EnqueueTypes: 1001 of them; at most 1000"},
	} {
		err := gateway.Options{EnqueueTypes: c.types}.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", what, err, c.want)
		}
	}
}
