package gateway_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

func TestAsynqUIHasAPolicyOfItsOwn(t *testing.T) {
	s := serve(t, real(t), nil)
	for _, path := range []string{"/admin/asynq/", "/admin/asynq/queues/default", "/admin/asynq/queues/default/tasks/0701.1"} {
		page := s.ask(t, http.MethodGet, path, "", nil)
		if page.status != http.StatusOK || !strings.Contains(page.body, `<div id="root">`) {
			t.Fatalf("%s: %d %.200q", path, page.status, page.body)
		}
		policy := page.header.Get("Content-Security-Policy")
		inline := regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindAllStringSubmatch(page.body, -1)
		if len(inline) < 2 {
			t.Fatalf("%s: %d inline scripts: this test knows two", path, len(inline))
		}
		for _, script := range inline {
			sum := sha256.Sum256([]byte(script[1]))
			if hash := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, hash) {
				t.Errorf("%s: the policy %q lacks the hash of %.60q", path, policy, script[1])
			}
		}
		if strings.Contains(policy, "script-src 'self' 'unsafe-inline'") || strings.Contains(policy, "unsafe-eval") {
			t.Errorf("%s: the policy lets any script run: %q", path, policy)
		}
		if m := regexp.MustCompile(`(src|href)="(https?:)?//[^"]*"`).FindString(page.body); m != "" {
			t.Errorf("%s: the page asks another site: %s", path, m)
		}
	}
	root := s.ask(t, http.MethodGet, "/admin/asynq/", "", nil).body
	files := regexp.MustCompile(`(?:src|href)="(/admin/asynq/[^"]+)"`).FindAllStringSubmatch(root, -1)
	if len(files) < 5 {
		t.Fatalf("the page names %d files of its own", len(files))
	}
	for _, f := range files {
		kinds := map[string]string{".js": "javascript", ".png": "image/png", ".ico": "image/", ".json": "application/json"}
		got := s.ask(t, http.MethodGet, f[1], "", nil)
		want := kinds[f[1][strings.LastIndex(f[1], "."):]]
		if got.status != http.StatusOK || want == "" || !strings.Contains(got.header.Get("Content-Type"), want) {
			t.Errorf("%s: %d %q", f[1], got.status, got.header.Values("Content-Type"))
		}
	}
}

func TestAsynqUIIsForAdmins(t *testing.T) {
	s := serve(t, real(t), func(o *gateway.Options) {
		o.Auth = tokens{"alice": {Subject: "alice", Grants: []auth.Grant{{Topics: "*", Rights: auth.Read | auth.Enqueue | auth.Control}}}}
	})
	as := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	for _, path := range []string{"/admin/asynq/", "/admin/asynq/api/queues", "/admin/asynq/static/js/x.js"} {
		if got := s.ask(t, http.MethodGet, path, "", as("alice")); got.status != http.StatusForbidden {
			t.Errorf("%s as a user: %d %.100q", path, got.status, got.body)
		}
	}
}

func TestAsynqUIShowsAndDeletesTasks(t *testing.T) {
	e := open(t, redisURL(t), func(o *engine.Options) { o.Namespace = "tm" })
	s := serve(t, e, nil)
	job := enqueue(t, e, topic)
	foreign := asynq.NewTask("mail", []byte(`{"to":"bob@example.com"}`))
	if _, err := asynq.NewClientFromRedisClient(e.Redis()).EnqueueContext(soon(t), foreign, asynq.Queue(engine.DefaultQueue), asynq.TaskID("mail-1")); err != nil {
		t.Fatal(err)
	}
	listed := s.ask(t, http.MethodGet, "/admin/asynq/api/queues/"+engine.DefaultQueue+"/pending_tasks", "", nil)
	var got struct {
		Tasks []struct{ ID, Payload string }
	}
	listed.into(t, &got)
	shown := map[string]string{}
	for _, task := range got.Tasks {
		shown[task.ID] = task.Payload
	}
	var own runtime.TaskPayload
	if err := json.Unmarshal([]byte(shown[runtime.TaskID(job, 1)]), &own); err != nil || own.Job != job {
		t.Errorf("the job's task shows %q", shown[runtime.TaskID(job, 1)])
	}
	if strings.Contains(listed.body, "bob@") || shown["mail-1"] == "" {
		t.Errorf("another program's task shows %q", shown["mail-1"])
	}

	const target = "/admin/asynq/api/queues/" + engine.DefaultQueue + "/pending_tasks/"
	cross := s.ask(t, http.MethodDelete, target+"mail-1", "", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	if cross.status != http.StatusForbidden {
		t.Errorf("a page of another site deletes: %d", cross.status)
	}
	if got := s.ask(t, http.MethodDelete, target+"mail-1", "", nil); got.status/100 != 2 {
		t.Errorf("delete: %+v", got)
	}
	if _, err := asynq.NewInspectorFromRedisClient(e.Redis()).GetTaskInfo("default", "mail-1"); err == nil {
		t.Error("the deleted task is still there")
	}
}
