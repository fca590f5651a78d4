package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// An answer is a response with its body.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%q: %v", a.body, err)
	}
}

// ask sends a request; with a body it is JSON.
func (s *server) ask(t *testing.T, method, path, body string, change func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(soon(t), method, s.url(path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if change != nil {
		change(r)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func TestEnqueueShowCancel(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	const body = `{"topic":"user:42","type":"export","title":"Orders","payload":{"year":2025},"labels":{"team":"sales"},"key":"k1","max_attempts":1}`
	made := s.ask(t, http.MethodPost, "/v1/jobs", body, nil)
	var got struct {
		ID       engine.JobID
		Topic    engine.Topic
		Existing bool
	}
	made.into(t, &got)
	if made.status != http.StatusCreated || got.Existing || got.Topic != topic || made.header.Get("Location") != "/v1/jobs/"+string(got.ID) {
		t.Fatalf("enqueue: %+v", made)
	}
	first := got.ID
	again := s.ask(t, http.MethodPost, "/v1/jobs", body, nil)
	again.into(t, &got)
	if again.status != http.StatusOK || !got.Existing || got.ID != first {
		t.Errorf("enqueue again: %+v", again)
	}
	var shown struct {
		Topic engine.Topic
		Job   engine.Job
	}
	show := s.ask(t, http.MethodGet, "/v1/jobs/"+string(first), "", nil)
	show.into(t, &shown)
	if show.status != http.StatusOK || shown.Topic != topic || shown.Job.Title != "Orders" || shown.Job.State != engine.Queued || shown.Job.Labels["team"] != "sales" {
		t.Errorf("show: %+v", show)
	}
	if strings.Contains(show.body, "2025") {
		t.Errorf("the payload is shown: %s", show.body)
	}
	cancel := s.ask(t, http.MethodPost, "/v1/jobs/"+string(first)+"/cancel", "", nil)
	cancel.into(t, &shown)
	if cancel.status != http.StatusAccepted || shown.Job.State != engine.Canceled {
		t.Errorf("cancel: %+v", cancel)
	}
	if twice := s.ask(t, http.MethodPost, "/v1/jobs/"+string(first)+"/cancel", "", nil); twice.status != http.StatusConflict {
		t.Errorf("cancel what has ended: %+v", twice)
	}
}

// A key may be freed before its job is gone, over HTTP and for uploads too.
func TestKeysLastAsLongAsAsked(t *testing.T) {
	s := newDepot(t).serve(t, real(t), nil)
	ways := map[string]func(life string) answer{
		"job": func(life string) answer {
			return s.ask(t, http.MethodPost, "/v1/jobs", `{"topic":"user:42","type":"export","key":"`+life+`1","key_life":"`+life+`"}`, nil)
		},
		"upload": func(life string) answer {
			return s.tus(t, http.MethodPost, "/v1/uploads", nil, "Upload-Length", "10", "Upload-Metadata",
				metadata("topic", string(topic), "type", "analysis", "filename", "orders.csv", "key", life+"2", "key_life", life))
		},
	}
	for way, announce := range ways {
		made := func(life string) (job string, status int) {
			t.Helper()
			a := announce(life)
			at := a.header.Get("Location")
			if a.status != http.StatusCreated && a.status != http.StatusOK || at == "" {
				t.Fatalf("%s, key_life %q: %+v", way, life, a)
			}
			return at[strings.LastIndexByte(at, '/')+1:], a.status
		}
		for life, frees := range map[string]bool{"": false, "until_failed": true, "while_live": true} {
			first, _ := made(life)
			if again, _ := made(life); again != first {
				t.Errorf("%s, key_life %q: while it lives, the key makes %s, want %s", way, life, again, first)
			}
			s.control(t, engine.JobID(first), "cancel")
			if way == "upload" && !frees {
				wantProblem(t, announce(life), http.StatusGone, "upload_gone")
				continue
			}
			if again, _ := made(life); (again != first) != frees {
				t.Errorf("%s, key_life %q: canceled, the key makes %s, and made %s", way, life, again, first)
			}
		}
		wantProblem(t, announce("for_ever"), http.StatusBadRequest, "invalid")
	}
}

func TestListAndSnapshot(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	want := map[engine.JobID]bool{}
	for range 7 {
		want[enqueue(t, e, topic)] = true
	}
	ended := start(t, e, topic)
	at := ended.succeed()
	want[ended.job] = true
	type page struct {
		Topic  engine.Topic
		Cursor engine.Cursor
		Jobs   []engine.Job
		Next   string
	}
	pages, next := 0, ""
	for {
		var p page
		s.ask(t, http.MethodGet, "/v1/jobs?topic=user:42&limit=3&after="+next, "", nil).into(t, &p)
		for _, j := range p.Jobs {
			if !want[j.ID] {
				t.Errorf("job %s twice, or unknown", j.ID)
			}
			delete(want, j.ID)
		}
		pages++
		if next = p.Next; next == "" {
			break
		}
	}
	if pages != 3 || len(want) != 0 {
		t.Errorf("%d pages, missing %v", pages, want)
	}
	var p page
	s.ask(t, http.MethodGet, "/v1/topics/user:42/snapshot", "", nil).into(t, &p)
	if p.Topic != topic || p.Cursor != at || len(p.Jobs) != 8 {
		t.Errorf("snapshot %s at %s with %d jobs, want 8 at %s", p.Topic, p.Cursor, len(p.Jobs), at)
	}
	c := s.client(t)
	h := c.subscribe("a", topic, p.Cursor, "")
	c.untilLive("a")
	if len(h.records) != 0 || len(h.snapshots) != 0 {
		t.Errorf("following from the snapshot: %+v", h)
	}
}

// A snapshot over HTTP comes in parts, between which jobs begin and end; the last one's
// cursor is where to follow from.
func TestSnapshotInParts(t *testing.T) {
	e := open(t, redisURL(t), func(o *engine.Options) { o.TopicEntries = 20 })
	s := serve(t, e, nil)
	labels := map[string]string{}
	for i := range 16 {
		labels[fmt.Sprintf("l%d", i)] = strings.Repeat("x", 250)
	}
	var live []engine.JobID
	begin := func() {
		got, err := e.Enqueue(soon(t), engine.Spec{Topic: topic, Type: "export", Labels: labels})
		if err != nil {
			t.Fatal(err)
		}
		live = append(live, got.ID)
	}
	for range 60 {
		begin()
	}
	type part struct {
		Cursor     engine.Cursor
		More, Next string
		Jobs       []engine.Job
	}
	const path = "/v1/topics/user:42/snapshot"
	read := func(query string, between func()) (held map[engine.JobID]engine.Job, last part, parts int) {
		t.Helper()
		held = map[engine.JobID]engine.Job{}
		for {
			answer := s.ask(t, http.MethodGet, path+query, "", nil)
			last = part{}
			answer.into(t, &last)
			for _, j := range last.Jobs {
				held[j.ID] = j
			}
			if parts++; last.Next == "" || parts > 1000 {
				return held, last, parts
			}
			if last.Cursor != "" || len(answer.body) > 64<<10 {
				t.Errorf("a part of %d bytes that is not the last has the cursor %q", len(answer.body), last.Cursor)
			}
			query = "?page=" + url.QueryEscape(last.Next)
			between()
		}
	}
	turns := 0
	held, last, parts := read("", func() {
		if turns++; turns > 4 {
			return
		}
		for range 3 { // five times as many records as the stream holds
			for range 4 {
				begin()
			}
			if err := e.Cancel(soon(t), live[turns]); err != nil && !errors.Is(err, engine.ErrEnded) {
				t.Fatal(err)
			}
			if err := e.Cancel(soon(t), live[len(live)-20-turns]); err != nil && !errors.Is(err, engine.ErrEnded) {
				t.Fatal(err)
			}
		}
	})
	for _, id := range live {
		v, err := e.Job(soon(t), id)
		if err != nil {
			t.Fatal(err)
		}
		if truth, err := v.Job(); err != nil || held[id].Rev != truth.Rev {
			t.Errorf("job %s is held at %d as %s, it is %s at %d (%v)", id, held[id].Rev, held[id].State, truth.State, truth.Rev, err)
		}
	}
	page, err := stream.Of(e).Replay(soon(t), topic, last.Cursor)
	if err != nil || page.Verdict != engine.Resumed || parts < 8 {
		t.Errorf("%d parts lead to %q: %s, %v", parts, last.Cursor, page.Verdict, err)
	}

	held, last, _ = read("?limit=7", func() {})
	var rest part
	s.ask(t, http.MethodGet, "/v1/jobs?topic=user:42&limit=500&after="+last.More, "", nil).into(t, &rest)
	count := 0
	for _, j := range held {
		if !j.State.Ended() {
			count++
		}
	}
	if count != 7 || len(rest.Jobs) == 0 || held[rest.Jobs[0].ID].ID != "" || string(rest.Jobs[0].ID) >= strings.TrimPrefix(last.More, "live:") {
		t.Errorf("%d live jobs of 7, and more %q", count, last.More)
	}

	for _, query := range []string{
		"?limit=0", "?limit=x", "?limit=100001", "?limit=-1", "?after=x", "?page=x", "?page=,,,,,,,,", "?page=" + strings.Repeat(",", 3000),
		"?limit=1&page=1-1,,0,0,1,0,0,,live:" + string(live[0]) + ",", "?page=1-1,,0,0,1,0,0,,live:..%2f,", "?page=1-1,,0,0,1,0,0,,live:,q%3Dx",
		"?state=failed&page=1-1,,0,0,1,0,0,,live:" + string(live[0]) + ",", "?q=x", "?label=team",
	} {
		if a := s.ask(t, http.MethodGet, path+query, "", nil); a.status != http.StatusBadRequest || len(a.body) > 600 {
			t.Errorf("%.60s: %d with %d bytes", query, a.status, len(a.body))
		}
	}
	future := "9007199254740991-9007199254740991,,0,0,1,0,0,,live:" + string(live[0]) + ","
	if a := s.ask(t, http.MethodGet, path+"?page="+future, "", nil); a.status != http.StatusConflict || !strings.Contains(a.body, `"rewritten"`) {
		t.Errorf("a snapshot of another history: %+v", a)
	}
}

func TestProblems(t *testing.T) {
	e := real(t)
	mine, foreign := enqueue(t, e, topic), enqueue(t, e, "user:43")
	unknown := string(mine[:2]) + "01JD0000000000000000000000"
	s := serve(t, e, func(o *gateway.Options) {
		o.Auth = tokens{"reader": {Subject: "r", Grants: []auth.Grant{{Topics: string(topic), Rights: auth.Read}}}}
	})
	as := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	for _, c := range []struct {
		name, method, path, body string
		change                   func(*http.Request)
		status                   int
		code                     string
	}{
		{"nobody", "GET", "/v1/jobs?topic=user:42", "", nil, 401, "unauthenticated"},
		{"a wrong token", "GET", "/v1/jobs?topic=user:42", "", as("x"), 401, "unauthenticated"},
		{"a disabled user", "GET", "/v1/jobs?topic=user:42", "", as("disabled"), 403, "forbidden"},
		{"a token in the query", "GET", "/v1/jobs?topic=user:42&access_token=reader", "", as("reader"), 400, "invalid"},
		{"no topic", "GET", "/v1/jobs", "", as("reader"), 400, "invalid"},
		{"a foreign topic", "GET", "/v1/jobs?topic=user:43", "", as("reader"), 403, "forbidden"},
		{"a limit too high", "GET", "/v1/jobs?topic=user:42&limit=501", "", as("reader"), 400, "invalid"},
		{"a filter that there is not", "GET", "/v1/jobs?topic=user:42&stat=failed", "", as("reader"), 400, "invalid"},
		{"two topics", "GET", "/v1/jobs?topic=user:42&topic=user:43", "", as("reader"), 400, "invalid"},
		{"a malformed query", "GET", "/v1/jobs?topic=user:42&%zz", "", as("reader"), 400, "invalid"},
		{"a parameter of a job", "GET", "/v1/jobs/" + string(mine) + "?wait=1", "", as("reader"), 400, "invalid"},
		{"a parameter of a snapshot", "GET", "/v1/topics/user:42/snapshot?cursor=1-1", "", as("reader"), 400, "invalid"},
		{"a parameter of an artifact", "GET", "/v1/artifacts/x?inline=1", "", as("reader"), 400, "invalid"},
		{"a parameter without a token", "GET", "/v1/jobs?x=1", "", nil, 401, "unauthenticated"},
		{"no limit", "GET", "/v1/jobs?topic=user:42&limit=x", "", as("reader"), 400, "invalid"},
		{"a page of nothing", "GET", "/v1/jobs?topic=user:42&after=x", "", as("reader"), 400, "invalid"},
		{"an unknown job", "GET", "/v1/jobs/" + unknown, "", as("reader"), 404, "not_found"},
		{"a foreign job", "GET", "/v1/jobs/" + string(foreign), "", as("reader"), 404, "not_found"},
		{"no job", "GET", "/v1/jobs/x", "", as("reader"), 404, "not_found"},
		{"cancel an unknown job", "POST", "/v1/jobs/" + unknown + "/cancel", "", as("reader"), 404, "not_found"},
		{"cancel a foreign job", "POST", "/v1/jobs/" + string(foreign) + "/cancel", "", as("reader"), 404, "not_found"},
		{"cancel without the right", "POST", "/v1/jobs/" + string(mine) + "/cancel", "", as("reader"), 403, "forbidden"},
		{"a foreign snapshot", "GET", "/v1/topics/user:43/snapshot", "", as("reader"), 403, "forbidden"},
		{"a malformed topic", "GET", "/v1/topics/user/snapshot", "", as("reader"), 400, "invalid"},
		{"a malformed cursor", "GET", "/v1/topics/user:42/snapshot?after=x", "", as("reader"), 400, "invalid"},
		{"enqueue without the right", "POST", "/v1/jobs", `{"topic":"user:42","type":"export"}`, as("reader"), 403, "forbidden"},
		{"metrics for no admin", "GET", "/metrics", "", as("reader"), 403, "forbidden"},
		{"no such address", "GET", "/v1/nothing", "", as("reader"), 404, "not_found"},
		{"no such method", "DELETE", "/v1/jobs", "", as("reader"), 405, "method"},
	} {
		t.Run(c.name, func(t *testing.T) { wantProblem(t, s.ask(t, c.method, c.path, c.body, c.change), c.status, c.code) })
	}
	known, other := s.ask(t, "GET", "/v1/jobs/"+unknown, "", as("reader")), s.ask(t, "GET", "/v1/jobs/"+string(foreign), "", as("reader"))
	if known.body != other.body {
		t.Errorf("unknown %s, foreign %s: they can be told apart", known.body, other.body)
	}
}

func wantProblem(t *testing.T, a answer, status int, code string) {
	t.Helper()
	var p struct {
		Type, Title, Code string
		Status            int
	}
	a.into(t, &p)
	if a.status != status || p.Status != status || p.Code != code || p.Type != "/problems/"+code || p.Title == "" ||
		a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %s %s, want %d %s", a.status, a.header.Get("Content-Type"), a.body, status, code)
	}
}

func TestEnqueueBodies(t *testing.T) {
	s := serve(t, real(t), nil)
	for _, c := range []struct {
		name, body string
		change     func(*http.Request)
		status     int
		code       string
	}{
		{"no JSON", `{`, nil, 400, "invalid"},
		{"two values", `{"topic":"user:42","type":"export"}{}`, nil, 400, "invalid"},
		{"an unknown field", `{"topic":"user:42","type":"export","retries":3}`, nil, 400, "invalid"},
		{"no type", `{"topic":"user:42"}`, nil, 400, "invalid"},
		{"no topic", `{"type":"export"}`, nil, 400, "invalid"},
		{"a long title", `{"topic":"user:42","type":"export","title":"` + strings.Repeat("x", 201) + `"}`, nil, 400, "invalid"},
		{"a negative delay", `{"topic":"user:42","type":"export","delay_ms":-1}`, nil, 400, "invalid"},
		{"negative attempts", `{"topic":"user:42","type":"export","max_attempts":-1}`, nil, 400, "invalid"},
		{"a long payload", `{"topic":"user:42","type":"export","payload":"` + strings.Repeat("x", 256<<10) + `"}`, nil, 400, "invalid"},
		{"a long body", `{"topic":"user:42","type":"export","payload":"` + strings.Repeat("x", 400<<10) + `"}`, nil, 413, "too_large"},
		{"a form", `topic=user:42`, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 400, "invalid"},
		{"a foreign page", `{"topic":"user:42","type":"export"}`, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403, "origin"},
		{"a cross-site form", `{"topic":"user:42","type":"export"}`, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, "origin"},
		{"a foreign host", `{"topic":"user:42","type":"export"}`, func(r *http.Request) { r.Host = "evil.example" }, 403, "host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantProblem(t, s.ask(t, http.MethodPost, "/v1/jobs", c.body, c.change), c.status, c.code)
		})
	}
	if a := s.ask(t, http.MethodGet, "/v1/jobs?topic=user:42", "", nil); !strings.Contains(a.body, `"jobs":[]`) {
		t.Errorf("a refused body made a job: %s", a.body)
	}
}

func TestStorageAway(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, s.ask(t, http.MethodGet, "/v1/jobs?topic=user:42", "", nil), http.StatusServiceUnavailable, "unavailable")
}

func TestMetricsTellWhatHappened(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	c := s.client(t)
	p := start(t, e, topic)
	c.subscribe("a", topic, engine.Beginning, "")
	c.untilLive("a")
	c.untilCursor("a", p.tick(3))
	c.subscribe("b", topic, "", "")
	c.untilLive("b")
	c.send(`{"type":"subscribe","sid":"c","topic":"x"}`)
	c.read()
	a := s.ask(t, http.MethodGet, "/metrics", "", nil)
	for name, want := range map[string]int{
		"tidemark_gateway_connections": 1, "tidemark_gateway_subscriptions": 2, "tidemark_gateway_topics": 1,
		`tidemark_gateway_snapshots_total{reason="fresh"}`: 1, `tidemark_gateway_errors_total{code="invalid"}`: 1,
	} {
		if line := fmt.Sprintf("\n%s %d\n", name, want); !strings.Contains(a.body, line) {
			t.Errorf("metrics lack %q", line)
		}
	}
	// Which way a record came depends on how soon the tail had started.
	var ways [2]int
	for i, name := range []string{"replayed", "delivered"} {
		_, rest, _ := strings.Cut(a.body, "\ntidemark_gateway_records_"+name+"_total ")
		if _, err := fmt.Sscan(rest, &ways[i]); err != nil {
			t.Errorf("records %s: %v", name, err)
		}
	}
	if ways[0] < 2 || ways[0]+ways[1] != 5 {
		t.Errorf("%d records replayed and %d delivered, want 5 in all", ways[0], ways[1])
	}
}

// A refusal for want of room differs from one of a wrong request.
func TestLimitsOverHTTP(t *testing.T) {
	e := real(t)
	s := serve(t, e, nil)
	names := 0
	for a := (answer{status: http.StatusCreated}); a.status < 300; names++ {
		if a = s.ask(t, "POST", "/v1/jobs", fmt.Sprintf(`{"topic":"user:42","type":"export","queue":"q%d"}`, names), nil); a.status >= 300 {
			wantProblem(t, a, http.StatusTooManyRequests, "limit")
		}
	}
	if names != 101 {
		t.Errorf("the one of queue number %d is refused, want 101", names)
	}
}
