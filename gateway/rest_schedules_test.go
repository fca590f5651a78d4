package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

const scheduleBody = `{"cron":"30 2 * * *","time_zone":"Europe/Berlin","type":"export","title":"Nightly","payload":{"secret":2025},` +
	`"labels":{"region":"eu"},"max_attempts":1}`

func TestSchedulesOverHTTP(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	const path = "/v1/topics/user:42/schedules/nightly"
	empty := s.ask(t, http.MethodGet, "/v1/topics/user:42/schedules", "", nil)
	if empty.status != http.StatusOK || empty.body != `{"topic":"user:42","schedules":[]}`+"\n" {
		t.Errorf("none: %+v", empty)
	}
	put := s.ask(t, http.MethodPut, path, scheduleBody, nil)
	var answered struct {
		Topic    engine.Topic
		Schedule map[string]any
	}
	put.into(t, &answered)
	got := answered.Schedule
	if put.status != http.StatusCreated || answered.Topic != topic || got["name"] != "nightly" || got["missed"] != "latest" || got["queue"] != engine.DefaultQueue ||
		got["max_attempts"] != 1.0 || got["last_at"] != nil {
		t.Errorf("put: %+v", put)
	}
	next, err := time.Parse(time.RFC3339, got["next_at"].(string))
	if err != nil || next.Minute() != 30 || !next.After(time.Now()) {
		t.Errorf("the next tick is %v, %v", got["next_at"], err)
	}
	if again := s.ask(t, http.MethodPut, path, scheduleBody, nil); again.status != http.StatusOK || again.body != put.body {
		t.Errorf("put again: %+v, want as before: %s", again, put.body)
	}
	stored, err := e.Schedules(soon(t), topic)
	if err != nil || len(stored) != 1 || fmt.Sprintf("%s", stored[0].Payload) != `{"secret":2025}` || stored[0].MaxAttempts != 1 || stored[0].Labels["region"] != "eu" {
		t.Errorf("stored are %+v, %v", stored, err)
	}

	tick := next.Add(-24 * time.Hour)
	if err := e.Redis().HSet(soon(t), lastNamespace()+":{schedules}:ticks", "user:42|nightly", tick.UnixMilli()).Err(); err != nil {
		t.Fatal(err)
	}
	list := s.ask(t, http.MethodGet, "/v1/topics/user:42/schedules", "", nil)
	var listed struct{ Schedules []engine.Scheduled }
	list.into(t, &listed)
	if list.status != http.StatusOK || len(listed.Schedules) != 1 || listed.Schedules[0].Title != "Nightly" || !listed.Schedules[0].LastAt.Equal(tick) {
		t.Errorf("listed: %+v", list)
	}
	for what, a := range map[string]answer{"put": put, "list": list} {
		if strings.Contains(a.body, "2025}") || strings.Contains(a.body, "secret") {
			t.Errorf("%s shows the payload: %s", what, a.body)
		}
	}

	if a := s.ask(t, http.MethodDelete, path, "", nil); a.status != http.StatusNoContent || a.body != "" {
		t.Errorf("delete: %+v", a)
	}
	gone := s.ask(t, http.MethodDelete, path, "", nil)
	wantProblem(t, gone, 404, "not_found")
	if !strings.Contains(gone.body, "no such schedule") {
		t.Errorf("deleted again: %s", gone.body)
	}
}

func TestScheduleRequestsThatAreRefused(t *testing.T) {
	e := real(t)
	grants := func(r auth.Rights) *auth.Principal {
		return &auth.Principal{Subject: "s", Grants: []auth.Grant{{Topics: string(topic), Rights: r}}}
	}
	s := serve(t, e, func(o *gateway.Options) {
		o.Auth = tokens{"reader": grants(auth.Read), "producer": grants(auth.Enqueue), "operator": grants(auth.Control)}
	})
	as := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	with := func(change map[string]any) string {
		body := map[string]any{"cron": "@daily", "type": "export"}
		for k, v := range change {
			body[k] = v
		}
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const all, one = "/v1/topics/user:42/schedules", "/v1/topics/user:42/schedules/nightly"
	for _, c := range []struct {
		name, method, path, body, token string
		status                          int
		code, says                      string
	}{
		{"list as nobody", "GET", all, "", "", 401, "unauthenticated", ""},
		{"list a foreign topic", "GET", "/v1/topics/user:43/schedules", "", "reader", 403, "forbidden", ""},
		{"list without the right", "GET", all, "", "producer", 403, "forbidden", ""},
		{"list no topic", "GET", "/v1/topics/me/schedules", "", "reader", 400, "invalid", "invalid topic"},
		{"put without the right", "PUT", one, with(nil), "reader", 403, "forbidden", ""},
		{"put as who may only stop", "PUT", one, with(nil), "operator", 403, "forbidden", ""},
		{"put into a foreign topic", "PUT", "/v1/topics/user:43/schedules/a", with(nil), "producer", 403, "forbidden", ""},
		{"put by a name that is none", "PUT", all + "/A", with(nil), "producer", 400, "invalid", "schedule Name"},
		{"put an unknown field", "PUT", one, with(map[string]any{"corn": "x"}), "producer", 400, "invalid", "corn"},
		{"put the name in the body", "PUT", one, with(map[string]any{"name": "x"}), "producer", 400, "invalid", "name"},
		{"put no expression", "PUT", one, with(map[string]any{"cron": ""}), "producer", 400, "invalid", "Cron"},
		{"put no zone", "PUT", one, with(map[string]any{"time_zone": "x"}), "producer", 400, "invalid", "TimeZone"},
		{"put no policy", "PUT", one, with(map[string]any{"missed": "x"}), "producer", 400, "invalid", "Missed"},
		{"put no type", "PUT", one, with(map[string]any{"type": ""}), "producer", 400, "invalid", "Type"},
		{"put fewer attempts than one", "PUT", one, with(map[string]any{"max_attempts": -1}), "producer", 400, "invalid", "MaxAttempts"},
		{"put more attempts than there may be", "PUT", one, with(map[string]any{"max_attempts": 1001}), "producer", 400, "invalid", "MaxAttempts 1001: want 1 to 1000"},
		{"put a large payload", "PUT", one, with(map[string]any{"payload": strings.Repeat("x", 20<<10)}), "producer", 400, "invalid", "Payload"},
		{"put a body beyond all bounds", "PUT", one, with(map[string]any{"payload": strings.Repeat("x", 400<<10)}), "producer", 413, "too_large", ""},
		{"delete without the right", "DELETE", one, "", "reader", 403, "forbidden", ""},
		{"delete of a foreign topic", "DELETE", "/v1/topics/user:43/schedules/a", "", "operator", 403, "forbidden", ""},
		{"delete what there is not", "DELETE", one, "", "operator", 404, "not_found", ""},
		{"delete by a name that is none", "DELETE", all + "/A", "", "operator", 400, "invalid", "schedule Name"},
		{"no such method", "POST", one, with(nil), "producer", 405, "method", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := s.ask(t, c.method, c.path, c.body, func(r *http.Request) {
				if c.token != "" {
					as(c.token)(r)
				}
			})
			wantProblem(t, a, c.status, c.code)
			if !strings.Contains(a.body, c.says) {
				t.Errorf("%s does not say %s", a.body, c.says)
			}
		})
	}
	// Either of the two rights deletes.
	for _, token := range []string{"producer", "operator"} {
		if a := s.ask(t, "PUT", one, with(nil), as("producer")); a.status != http.StatusCreated {
			t.Errorf("put: %+v", a)
		}
		if a := s.ask(t, "DELETE", one, "", as(token)); a.status != http.StatusNoContent {
			t.Errorf("delete as %s: %+v", token, a)
		}
	}
}
