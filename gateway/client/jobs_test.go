package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/client"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func TestJobsAreThoseOfTheEngine(t *testing.T) {
	ctx := soon(t)
	e := open(t, redistest.Server(t).URL())
	c := dial(t, serve(t, gateway.Options{Engine: e}))

	spec := engine.Spec{
		Topic: topic, Type: "export", Title: "<Orders> & “2025”", Payload: map[string]int{"year": 2025}, Labels: map[string]string{"region": "eu"},
		Key: "november", KeyLife: engine.KeyUntilFailed, Queue: "nobody", Delay: time.Hour, Deadline: time.Now().Add(24 * time.Hour), MaxAttempts: 1,
	}
	made, err := c.Enqueue(ctx, spec)
	if err != nil || made.Existing || made.Topic != topic {
		t.Fatalf("enqueue: %+v, %v", made, err)
	}
	if again, err := c.Enqueue(ctx, spec); err != nil || !again.Existing || again.ID != made.ID {
		t.Errorf("the same key gives %+v, %v, want job %s", again, err, made.ID)
	}
	for i := range 4 {
		if _, err := c.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export", Title: fmt.Sprint(i), Payload: []byte(`{"raw":true}`), Queue: "nobody"}); err != nil {
			t.Fatal(err)
		}
	}

	want, err := e.Job(ctx, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Job(ctx, made.ID)
	if err != nil || got.ID != want.ID || got.Topic != want.Topic || !sameJSON(t, got.JSON, want.JSON) {
		t.Errorf("the job is\n%s %s, %v\nwant\n%s %s", got.Topic, got.JSON, err, want.Topic, want.JSON)
	}
	all, err := e.Jobs(ctx, topic, engine.JobsQuery{})
	if err != nil || len(all.Jobs) != 5 {
		t.Fatalf("%d jobs, %v", len(all.Jobs), err)
	}
	var listed []engine.View
	for q := (engine.JobsQuery{Limit: 2}); ; {
		page, err := c.Jobs(ctx, topic, q)
		if err != nil || len(page.Jobs) > 2 {
			t.Fatalf("a page of %d jobs, %v", len(page.Jobs), err)
		}
		listed = append(listed, page.Jobs...)
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	for i, v := range all.Jobs {
		if i >= len(listed) || listed[i].ID != v.ID || listed[i].Topic != topic || !sameJSON(t, listed[i].JSON, v.JSON) {
			t.Fatalf("listed are %d jobs, and number %d is not the engine's", len(listed), i)
		}
	}
}

func TestControlIsThatOfTheEngine(t *testing.T) {
	ctx := soon(t)
	e := open(t, redistest.Server(t).URL())
	c := dial(t, serve(t, gateway.Options{Engine: e}))
	made, err := c.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export", Queue: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		ask  func(context.Context, engine.JobID) error
		want engine.State
	}{{c.Pause, engine.Paused}, {c.Resume, engine.Queued}, {c.Cancel, engine.Canceled}} {
		if err := step.ask(ctx, made.ID); err != nil {
			t.Error(err)
		}
		if v, err := e.Job(ctx, made.ID); err != nil || !bytes.Contains(v.JSON, []byte(`"state":"`+step.want+`"`)) {
			t.Errorf("it is %s, %v, want it %s", v.JSON, err, step.want)
		}
	}
	again, err := c.Retry(ctx, made.ID, engine.RetryQuery{})
	if err != nil || again.Existing || again.Topic != topic {
		t.Fatalf("retry: %+v, %v", again, err)
	}
	if twice, err := c.Retry(ctx, made.ID, engine.RetryQuery{}); err != nil || !twice.Existing || twice.ID != again.ID {
		t.Errorf("retry twice: %+v, %v, want job %s", twice, err, again.ID)
	}
	anew, err := c.Retry(ctx, made.ID, engine.RetryQuery{FromStart: true, Key: "anew"})
	if err != nil || anew.Existing || anew.ID == again.ID {
		t.Errorf("retry with a key: %+v, %v", anew, err)
	}
	if v, err := e.Job(ctx, anew.ID); err != nil || !bytes.Contains(v.JSON, []byte(`"retry_of":"`+made.ID+`"`)) {
		t.Errorf("tried again it is %s, %v", v.JSON, err)
	}
	if err := c.Remove(ctx, anew.ID); !errors.Is(err, engine.ErrState) || errors.Is(err, engine.ErrEnded) {
		t.Errorf("remove a job that waits: %v", err)
	}
	for _, want := range []error{nil, engine.ErrNotFound} {
		if err := c.Remove(ctx, made.ID); !errors.Is(err, want) {
			t.Errorf("remove: %v, want %v", err, want)
		}
	}
	if err := c.Remove(ctx, "nonsense"); !errors.Is(err, engine.ErrInvalidJobID) {
		t.Errorf("remove an ID that is none: %v", err)
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func TestRefusalsAreTheEnginesErrors(t *testing.T) {
	ctx := soon(t)
	e := open(t, redistest.Server(t).URL())
	c := dial(t, serve(t, gateway.Options{Engine: e}))
	made, err := c.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export", Queue: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Cancel(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	live, err := c.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export", Queue: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	retry := func(id engine.JobID, q engine.RetryQuery) func() error {
		return func() error { _, err := c.Retry(ctx, id, q); return err }
	}
	const unknown = engine.JobID("0701JDG5CW2QK3V9Y7H4N8R6ZTXB")
	for name, tc := range map[string]struct {
		call func() error
		want error
	}{
		"a job that there is not":      {func() error { _, err := c.Job(ctx, unknown); return err }, engine.ErrNotFound},
		"canceling one":                {func() error { return c.Cancel(ctx, unknown) }, engine.ErrNotFound},
		"canceling one that has ended": {func() error { return c.Cancel(ctx, made.ID) }, engine.ErrEnded},
		"pausing one":                  {func() error { return c.Pause(ctx, unknown) }, engine.ErrNotFound},
		"pausing one that has ended":   {func() error { return c.Pause(ctx, made.ID) }, engine.ErrEnded},
		"resuming one that has ended":  {func() error { return c.Resume(ctx, made.ID) }, engine.ErrEnded},
		"resuming a malformed ID":      {func() error { return c.Resume(ctx, "x/cancel?") }, engine.ErrInvalidJobID},
		"retrying one":                 {retry(unknown, engine.RetryQuery{}), engine.ErrNotFound},
		"retrying one that lives":      {retry(live.ID, engine.RetryQuery{}), engine.ErrState},
		"retrying a malformed ID":      {retry("x", engine.RetryQuery{}), engine.ErrInvalidJobID},
		"retrying with a long key":     {retry(made.ID, engine.RetryQuery{Key: strings.Repeat("k", 257)}), engine.ErrInvalid},
		"a malformed job ID":           {func() error { _, err := c.Job(ctx, "../healthz"); return err }, engine.ErrInvalidJobID},
		"a malformed topic":            {func() error { _, err := c.Jobs(ctx, "me", engine.JobsQuery{}); return err }, engine.ErrInvalidTopic},
		"a limit out of bounds":        {func() error { _, err := c.Jobs(ctx, topic, engine.JobsQuery{Limit: 501}); return err }, engine.ErrInvalid},
		"a malformed type":             {func() error { _, err := c.Enqueue(ctx, engine.Spec{Topic: topic, Type: "X"}); return err }, engine.ErrInvalid},
		"an artifact there is not":     {func() error { _, err := c.Artifact(ctx, string(unknown)+".profile.json", 100); return err }, engine.ErrNotFound},
	} {
		if err := tc.call(); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if _, err := c.Job(ctx, unknown); err.Error() != "job "+string(unknown)+": no such job" {
		t.Errorf("the engine words it otherwise than %q", err)
	}
	_, direct := e.Retry(ctx, live.ID, engine.RetryQuery{})
	lives := [2]error{retry(live.ID, engine.RetryQuery{})(), direct}
	begun := runtime.Report{Job: live.ID, Fence: runtime.Fence{Attempt: 1, Token: runtime.NewToken(), Seq: 1}, Type: engine.JobStarted}
	if _, err := runtime.Of(e).Commit(ctx, begun); err != nil {
		t.Fatal(err)
	}
	if err := c.Cancel(ctx, live.ID); err != nil {
		t.Fatal(err)
	}
	for _, both := range [][2]error{
		lives,
		{c.Pause(ctx, live.ID), e.Pause(ctx, live.ID)},
	} {
		if got, want := both[0], both[1]; !errors.Is(got, engine.ErrState) || got.Error() != want.Error() {
			t.Errorf("the gateway refuses with %q, and the engine with %q", got, want)
		}
	}
}

func TestAnswersOfAGatewayAndOfOthers(t *testing.T) {
	problem := func(status int, code string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"status":%d,"code":%q,"detail":"why"}`, status, code)
		}
	}
	page := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			fmt.Fprint(w, "<h1>Welcome</h1>")
		}
	}
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   error
		not    error
	}{
		"no credentials":      {problem(401, "unauthenticated"), client.ErrRefused, nil},
		"no right":            {problem(403, "forbidden"), client.ErrRefused, nil},
		"Redis is away":       {problem(503, "unavailable"), engine.ErrUnreachable, client.ErrUnreachable},
		"Redis is full":       {problem(507, "out_of_memory"), engine.ErrOutOfMemory, nil},
		"a body too large":    {problem(413, "too_large"), engine.ErrInvalid, nil},
		"some other server":   {page(200), client.ErrProtocol, nil},
		"without such a page": {page(404), client.ErrProtocol, engine.ErrNotFound},
		"a proxy alone":       {page(502), client.ErrUnreachable, nil},
		"one that redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, client.ErrProtocol, nil},
		"one that takes long":  {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, client.ErrUnreachable, nil},
		"one that breaks off":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, client.ErrUnreachable, nil},
		"JSON that is another": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `["hello"]`) }, client.ErrProtocol, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(tc.answer)
			defer s.Close()
			c := dial(t, s.Listener.Addr().String(), func(o *client.Options) { o.RequestTimeout = time.Second })
			_, err := c.Jobs(soon(t), topic, engine.JobsQuery{})
			if !errors.Is(err, tc.want) || (tc.not != nil && errors.Is(err, tc.not)) {
				t.Errorf("%v, want %v and not %v", err, tc.want, tc.not)
			}
		})
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	if _, err := dial(t, addr).Jobs(soon(t), topic, engine.JobsQuery{}); !errors.Is(err, client.ErrUnreachable) || !errors.Is(err, engine.ErrUnreachable) || strings.Count(err.Error(), addr) > 2 {
		t.Errorf("nobody there: %v", err)
	}
}

func TestTokenGoesIntoTheHeaderAlone(t *testing.T) {
	asked := make(chan *http.Request, 2)
	addr := scripted(t, func(w http.ResponseWriter, r *http.Request) { asked <- r; fmt.Fprint(w, `{}`) },
		func(_ int, c *conversation) { c.end(4401) })
	c := dial(t, addr, func(o *client.Options) { o.Token = "hunter2" })
	if _, err := c.Jobs(soon(t), topic, engine.JobsQuery{}); err != nil {
		t.Fatal(err)
	}
	r := <-asked
	if got := r.Header.Get("Authorization"); got != "Bearer hunter2" || strings.Contains(r.URL.String(), "hunter2") {
		t.Errorf("%s with Authorization %q", r.URL, got)
	}
	for _, err := range c.Follow(soon(t), engine.FollowQuery{Topic: topic}) {
		if !errors.Is(err, client.ErrRefused) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("refused credentials give %v", err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, s := range []string{"http://127.0.0.1:8080", "https://jobs.example", "http://[::1]:80/", "https://jobs.example/tidemark/"} {
		u, err := client.ParseURL(s)
		if err != nil || strings.HasSuffix(u.String(), "/") {
			t.Errorf("%s gives %v, %v", s, u, err)
		}
	}
	for _, s := range []string{"", "jobs.example", "127.0.0.1:8080", "ws://h", "http://", "http://u@h", "http://u:hunter2@h", "http://h?token=hunter2", "http://h#hunter2", "http://h?", "http://:80"} {
		if _, err := client.ParseURL(s); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s gives %v", s, err)
		}
	}
	if _, err := client.New(client.Options{URL: "http://h", RequestTimeout: -1}); !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), "RequestTimeout") {
		t.Errorf("a negative time-out gives %v", err)
	}
}
