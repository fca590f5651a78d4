package gateway_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/datasets"
)

const everything = auth.Read | auth.Enqueue | auth.Control

// callers ask for what the owner has in the topic. Those of other topics are strangers.
var callers = tokens{
	"owner":   {Subject: "owner", Grants: []auth.Grant{{Topics: string(topic), Rights: everything}}},
	"reader":  {Subject: "reader", Grants: []auth.Grant{{Topics: string(topic), Rights: auth.Read}}},
	"service": {Subject: "service", Grants: []auth.Grant{{Topics: "*", Rights: everything}}},
	"near":    {Subject: "near", Grants: []auth.Grant{{Topics: string(topic) + "0", Rights: everything}}},
	"short":   {Subject: "short", Grants: []auth.Grant{{Topics: "user:4", Rights: everything}}},
	"kind":    {Subject: "kind", Grants: []auth.Grant{{Topics: "team:*", Rights: everything}, {Topics: "user:4", Rights: everything}}},
}

// ownTopic is where a caller may do everything, as far as anywhere.
func ownTopic(caller string) string {
	switch caller {
	case "near":
		return string(topic) + "0"
	case "short", "kind":
		return "user:4"
	}
	return string(topic)
}

// A right is a request, and how callers are answered. {name} stands for what a place gives.
type right struct {
	request string // method and path
	body    string // JSON, or bytes of an upload
	header  []string
	// The status that each gets. Nobody without credentials gets any further than 401.
	owner, reader, service, stranger int
}

func asJSON(method, path, body string, owner, reader, service, stranger int) right {
	return right{method + " " + path, body, []string{"Content-Type", "application/json"}, owner, reader, service, stranger}
}

func get(path string, owner, reader, service, stranger int) right {
	return right{"GET " + path, "", nil, owner, reader, service, stranger}
}

// part is a request of the upload protocol for one upload, which has an owner in its topic.
func part(method, path, body string, owner, others int, header ...string) right {
	header = append(header, "Tus-Resumable", "1.0.0", "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream")
	return right{method + " " + path, body, header, owner, others, others, others}
}

// rights has every route that reaches an upload, a dataset, an artifact or a job, with the requests by which others could try.
var rights = map[string][]right{
	"POST /v1/jobs": {
		asJSON("POST", "/v1/jobs", `{"topic":"{topic}","type":"export"}`, 201, 403, 201, 403),
		asJSON("POST", "/v1/jobs", `{"topic":"{topic}","type":"export","payload":{"dataset":"{dataset}"}}`, 201, 403, 201, 403),
		asJSON("POST", "/v1/jobs", `{"topic":"{own}","type":"export","payload":{"dataset":"{dataset}"}}`, 201, 403, 201, 404),
		asJSON("POST", "/v1/jobs", `{"topic":"{own}","type":"analysis","payload":{"blob":"datasets/{own}/{dataset}/data"}}`, 201, 403, 201, 404),
	},
	"GET /v1/jobs":              {get("/v1/jobs?topic={topic}", 200, 200, 200, 403)},
	"GET /v1/jobs/{id}":         {get("/v1/jobs/{job}", 200, 200, 200, 404), get("/v1/jobs/{job}%2F", 404, 404, 404, 404)},
	"DELETE /v1/jobs/{id}":      {asJSON("DELETE", "/v1/jobs/{ended}", "", 204, 403, 204, 404)},
	"POST /v1/jobs/{id}/cancel": {asJSON("POST", "/v1/jobs/{job}/cancel", "", 202, 403, 202, 404)},
	"POST /v1/jobs/{id}/pause":  {asJSON("POST", "/v1/jobs/{job}/pause", "", 202, 403, 202, 404)},
	"POST /v1/jobs/{id}/resume": {asJSON("POST", "/v1/jobs/{job}/resume", "", 202, 403, 202, 404)},
	"POST /v1/jobs/{id}/retry":  {asJSON("POST", "/v1/jobs/{ended}/retry", "", 201, 403, 201, 404)},
	"GET /v1/jobs/{id}/upload":  {get("/v1/jobs/{worked}/upload", 200, 200, 200, 404), get("/v1/jobs/{upload}/upload", 404, 404, 404, 404)},
	"GET /v1/queues":            {get("/v1/queues?job={job}", 200, 200, 200, 200)},
	"GET /v1/events": {
		{"HEAD /v1/events?topic={topic}", "", nil, 200, 200, 200, 403}, // a GET does not end: TestEventsRefuse
	},
	"GET /v1/topics/{topic}/records":   {get("/v1/topics/{topic}/records?wait=0s", 200, 200, 200, 403)},
	"GET /v1/topics/{topic}/snapshot":  {get("/v1/topics/{topic}/snapshot", 200, 200, 200, 403)},
	"GET /v1/topics/{topic}/schedules": {get("/v1/topics/{topic}/schedules", 200, 200, 200, 403)},
	"PUT /v1/topics/{topic}/schedules/{name}": {
		asJSON("PUT", "/v1/topics/{topic}/schedules/s-{who}", `{"cron":"@yearly","type":"export"}`, 201, 403, 201, 403),
		asJSON("PUT", "/v1/topics/{own}/schedules/d-{who}", `{"cron":"@yearly","type":"export","payload":{"dataset":"{dataset}"}}`, 201, 403, 201, 404),
	},
	"DELETE /v1/topics/{topic}/schedules/{name}": {asJSON("DELETE", "/v1/topics/{topic}/schedules/{schedule}", "", 204, 403, 204, 403)},
	"GET /v1/datasets":                           {get("/v1/datasets?topic={topic}", 200, 200, 200, 403)},
	"GET /v1/datasets/{id}": {
		get("/v1/datasets/{dataset}?topic={topic}", 200, 200, 200, 404),
		get("/v1/datasets/{dataset}?topic={own}", 200, 200, 200, 404),
		get("/v1/datasets/..%2F{topic}%2F{dataset}?topic={own}", 404, 404, 404, 404),
		get("/v1/datasets/{dataset}%2Fdata?topic={topic}", 404, 404, 404, 404),
		get("/v1/datasets/{dataset small}?topic={topic}", 404, 404, 404, 404),
		get("/v1/datasets/{dataset}?topic={own}&topic={topic}", 400, 400, 400, 400),
		get("/v1/datasets/{dataset}?topic={own}%2F..%2Fuser:42", 400, 400, 400, 400),
	},
	"DELETE /v1/datasets/{id}": {
		asJSON("DELETE", "/v1/datasets/{dataset}?topic={topic}", "", 204, 403, 204, 404),
		asJSON("DELETE", "/v1/datasets/{dataset}?topic={own}", "", 204, 403, 204, 404),
	},
	"GET /v1/artifacts/{id}": {
		get("/v1/artifacts/{artifact}", 200, 200, 200, 404),
		get("/v1/artifacts/{artifact}?download={download}", 200, 404, 404, 404),
		{"HEAD /v1/artifacts/{artifact}", "", nil, 200, 200, 200, 404},
		{"GET /v1/artifacts/{artifact}", "", []string{"Range", "bytes=1-2"}, 206, 206, 206, 404},
		{"GET /v1/artifacts/{artifact}", "", []string{"If-None-Match", "*"}, 304, 304, 304, 404},
		get("/v1/artifacts/{artifact}%2F..%2F{artifact}", 404, 404, 404, 404),
		get("/v1/artifacts/..%2Fincoming%2F{topic}%2F{worked}", 404, 404, 404, 404),
		get("/v1/artifacts/{dataset}.data", 404, 404, 404, 404),
		get("/v1/artifacts/{artifact small}", 404, 404, 404, 404),
	},
	"POST /v1/artifacts/{id}/downloads": {asJSON("POST", "/v1/artifacts/{artifact}/downloads", "", 201, 201, 201, 404)},
	"GET /v1/downloads":                 {get("/v1/downloads", 200, 200, 200, 200)},
	"GET /v1/downloads/{id}":            {get("/v1/downloads/{download}", 200, 404, 404, 404)},
	"DELETE /v1/downloads/{id}":         {asJSON("DELETE", "/v1/downloads/{download}", "", 204, 404, 404, 404)},
	"POST /v1/uploads": {
		{"POST /v1/uploads", "", announcing("topic", string(topic), "type", "analysis"), 201, 403, 201, 403},
	},
	"HEAD /v1/uploads/{id}":   {part("HEAD", "/v1/uploads/{upload}", "", 200, 404), part("HEAD", "/v1/uploads/{upload small}", "", 404, 404)},
	"PATCH /v1/uploads/{id}":  {part("PATCH", "/v1/uploads/{upload}", "intruding", 204, 404), part("PATCH", "/v1/uploads/{upload}%2F..%2F{upload}", "intruding", 404, 404)},
	"DELETE /v1/uploads/{id}": {part("DELETE", "/v1/uploads/{upload}", "", 204, 404)},
	"POST /v1/uploads/{id}": {
		part("POST", "/v1/uploads/{upload}", "intruding", 204, 404, "X-HTTP-Method-Override", "PATCH"),
		part("POST", "/v1/uploads/{upload}", "", 204, 404, "X-HTTP-Method-Override", "DELETE"),
		part("POST", "/v1/uploads/{upload}", "", 200, 404, "X-HTTP-Method-Override", "HEAD"),
	},
}

// elsewhere are the routes that reach none of these, and what else tells who may use them.
var elsewhere = []string{
	"OPTIONS /v1/uploads", "OPTIONS /v1/uploads/{id}", // what the protocol has, for anyone
	"GET /v1/ws",                          // TestFramesThatAreAnsweredWithAnError
	"GET /metrics",                        // admins
	"DELETE /v1/session", "POST /v1/kick", // TestRevokedCredentials
	"GET /healthz", "GET /readyz", "GET /{$}",
}

func announcing(pairs ...string) []string {
	return []string{"Tus-Resumable", "1.0.0", "Upload-Length", "9", "Upload-Metadata", metadata(pairs...)}
}

// A place has what requests name, made when the first one does.
type place struct {
	t    *testing.T
	s    *server
	e    *engine.Engine
	d    *depot
	made map[string]string
}

const content = "a,b\n1,2\n\n"

func (p *place) of(name string) string {
	p.t.Helper()
	if p.made[name] == "" {
		p.made[name] = p.make(name)
	}
	return p.made[name]
}

func (p *place) make(name string) string {
	p.t.Helper()
	t, owner := p.t, []string{"Authorization", "Bearer owner"}
	switch name {
	case "topic":
		return string(topic)
	case "upload":
		return string(p.s.announce(t, len(content), owner...))
	case "worked":
		job := p.s.announce(t, len(content), owner...)
		p.s.patch(t, job, 0, []byte(content), owner...).is(t, "patch", http.StatusNoContent, "")
		pen := &pen{t: t, e: p.e, job: job, fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken()}}
		pen.write(runtime.Report{Type: engine.JobStarted})
		return string(job)
	case "job":
		return string(enqueue(t, p.e, topic))
	case "ended":
		job := enqueue(t, p.e, topic)
		if err := p.e.Cancel(soon(t), job); err != nil {
			t.Fatal(err)
		}
		return string(job)
	case "schedule":
		_, _, err := p.e.PutSchedule(soon(t), engine.Schedule{Topic: topic, Name: "yearly", Cron: "@yearly", Type: "export"})
		if err != nil {
			t.Fatal(err)
		}
		return "yearly"
	case "artifact":
		return start(t, p.e, topic).artifact(p.d, topic, "report.csv", []byte(content)).ID
	case "download":
		var d struct{ ID string }
		asJSON("POST", "/v1/artifacts/{artifact}/downloads", "", 201, 201, 201, 404).ask(t, p.s, "owner", p.of).into(t, &d)
		return d.ID
	case "dataset":
		id, err := runtime.Of(p.e).NewJobID(topic)
		if err == nil {
			err = p.d.blobs.WriteAll(soon(t), blobs.Dataset(topic, id, blobs.DatasetBytes), []byte(content), nil)
		}
		if err == nil {
			err = datasets.Write(soon(t), p.d.blobs, &datasets.Manifest{ID: id, Topic: topic, Name: "orders.csv", CreatedAt: time.Now()})
		}
		if err != nil {
			t.Fatal(err)
		}
		return string(id)
	}
	t.Fatalf("a place has no %q", name)
	return ""
}

// nowhere gives names of things that never were.
func nowhere(t *testing.T, e *engine.Engine) func(string) string {
	return func(name string) string {
		id, err := runtime.Of(e).NewJobID(topic)
		if err != nil {
			t.Fatal(err)
		}
		switch name {
		case "topic":
			return "user:99"
		case "schedule":
			return "none"
		case "download":
			return "Q5T7AJ2XZK4MHW6NBUYD3REV7C"
		case "artifact":
			return string(id) + ".report.csv"
		}
		return string(id)
	}
}

var placeholder = regexp.MustCompile(`\{(\w+)( small)?\}`)

// ask sends the request of a caller; "" has no credentials.
func (r right) ask(t *testing.T, s *server, caller string, of func(string) string) answer {
	t.Helper()
	fill := func(text string) string {
		return placeholder.ReplaceAllStringFunc(text, func(m string) string {
			name := placeholder.FindStringSubmatch(m)
			switch {
			case name[1] == "own":
				return ownTopic(caller)
			case name[1] == "who":
				return caller
			case name[2] != "":
				return strings.ToLower(of(name[1]))
			}
			return of(name[1])
		})
	}
	method, path, _ := strings.Cut(r.request, " ")
	req, err := http.NewRequestWithContext(soon(t), method, s.url(fill(path)), strings.NewReader(fill(r.body)))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(r.header); i += 2 {
		req.Header.Set(r.header[i], r.header[i+1])
	}
	if caller != "" {
		req.Header.Set("Authorization", "Bearer "+caller)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Header.Del("Date")
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// leaks says how answers to a stranger differ from those that the table has, or from those about what never was.
func (r right) leaks(t *testing.T, s *server, caller string, of, never func(string) string) (found []string) {
	t.Helper()
	a := r.ask(t, s, caller, of)
	if a.status != r.stranger {
		found = append(found, fmt.Sprintf("%s: %s is answered with %d, want %d: %s", caller, r.request, a.status, r.stranger, a.body))
	}
	if a.status == http.StatusCreated {
		return found
	}
	if b := r.ask(t, s, caller, never); a.status != b.status || a.body != b.body || !reflect.DeepEqual(a.header, b.header) {
		found = append(found, fmt.Sprintf("%s: %s tells that it is there: %+v, and %+v of what is not", caller, r.request, a, b))
	}
	return found
}

// To a stranger another's upload, dataset, artifact and job are as unknown as ones that never were, on every
// route and under every name; and every route is in the table.
func TestNoOneReachesAnothersFiles(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.Auth = callers })
	if missing, gone := unlisted(s.Patterns()); len(missing) > 0 || len(gone) > 0 {
		t.Errorf("the table has no row for %q; it has rows for %q, which the gateway does not serve", missing, gone)
	}
	shared, never := &place{t, s, e, d, map[string]string{}}, nowhere(t, e)
	for _, route := range slices.Sorted(maps.Keys(rights)) {
		for _, r := range rights[route] {
			for _, caller := range []string{"near", "short", "kind"} {
				for _, leak := range r.leaks(t, s, caller, shared.of, never) {
					t.Error(leak)
				}
			}
			for _, caller := range []string{"", "unknown"} {
				if a := r.ask(t, s, caller, shared.of); a.status != http.StatusUnauthorized {
					t.Errorf("with the credentials %q %s is answered with %d", caller, r.request, a.status)
				}
			}
			for caller, want := range map[string]int{"owner": r.owner, "reader": r.reader, "service": r.service} {
				// What is allowed may change the place.
				own := &place{t, s, e, d, map[string]string{}}
				if want >= http.StatusBadRequest {
					own = shared
				}
				if a := r.ask(t, s, caller, own.of); a.status != want {
					t.Errorf("%s: %s is answered with %d, want %d: %s", caller, r.request, a.status, want, a.body)
				}
			}
		}
	}
	shared.untouched()
}

// untouched checks that what was asked for in vain is as it was.
func (p *place) untouched() {
	p.t.Helper()
	t, dataset := p.t, engine.JobID(p.of("dataset"))
	for name, want := range map[string]engine.State{"upload": engine.Receiving, "worked": engine.Running, "job": engine.Queued, "ended": engine.Canceled} {
		if j := view(t, p.e, engine.JobID(p.of(name))); j.State != want {
			t.Errorf("the job that is %s is %s, want %s", name, j.State, want)
		}
	}
	if _, err := datasets.Get(soon(t), p.d.blobs, topic, dataset); err != nil {
		t.Error(err)
	}
	if pinned, err := runtime.Of(p.e).DatasetPinned(soon(t), topic, dataset); pinned || err != nil {
		t.Errorf("a stranger's job pins the dataset: %t, %v", pinned, err)
	}
	head := part("HEAD", "/v1/uploads/{upload}", "", 200, 404).ask(t, p.s, "owner", p.of)
	if head.header.Get("Upload-Offset") != "0" {
		t.Errorf("a stranger wrote to the upload: %+v", head)
	}
	if a := get("/v1/artifacts/{artifact}", 200, 200, 200, 404).ask(t, p.s, "owner", p.of); a.body != content {
		t.Errorf("the artifact is %q", a.body)
	}
}

// unlisted are the routes that the table lacks, and its routes that the gateway lacks.
func unlisted(patterns []string) (missing, gone []string) {
	listed := slices.Concat(slices.Collect(maps.Keys(rights)), elsewhere)
	for _, p := range patterns {
		_, path, _ := strings.Cut(p, " ")
		// The page's own files, and asynq's pages, which are for admins.
		if !slices.Contains(listed, p) && (strings.HasPrefix(path, "/v1/") || strings.Contains(path, "{")) {
			missing = append(missing, p)
		}
	}
	for _, p := range listed {
		if !slices.Contains(patterns, p) {
			gone = append(gone, p)
		}
	}
	slices.Sort(gone)
	return missing, gone
}

// A gateway that takes every caller for the owner, with all rights: the table finds it at each row where a stranger is
// refused and the owner is not. And it finds a route that it does not have.
func TestTheTableFindsAMissingCheck(t *testing.T) {
	e, d := real(t), newDepot(t)
	planted := tokens{}
	for caller := range callers {
		planted[caller] = &auth.Principal{Subject: "owner", Grants: []auth.Grant{{Topics: "*", Rights: everything}}}
	}
	s := d.serve(t, e, func(o *gateway.Options) { o.Auth = planted })
	never := nowhere(t, e)
	for _, route := range slices.Sorted(maps.Keys(rights)) {
		for _, r := range rights[route] {
			if r.stranger < http.StatusBadRequest || r.owner >= http.StatusBadRequest || strings.Contains(r.request+r.body, "{own}") {
				continue
			}
			own := &place{t, s, e, d, map[string]string{}}
			if found := r.leaks(t, s, "near", own.of, never); len(found) == 0 {
				t.Errorf("%s: the table does not find that a stranger reaches it", r.request)
			}
		}
	}
	if missing, gone := unlisted(append(s.Patterns(), "GET /v1/datasets/{id}/rows")); len(missing) != 1 || len(gone) > 0 {
		t.Errorf("of a new route it finds %q, %q", missing, gone)
	}
}
