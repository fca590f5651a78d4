package cli_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/worker/analysis"
)

// Payloads that are wrong in every way, as large as they may be. Their text is in their
// jobs' payloads and nowhere else: in no record, answer or log line, and not in what asynq
// keeps. Nor does one cost more than a short one would.
func TestPayloadsStayPrivate(t *testing.T) {
	t.Parallel()
	canary := "canary" + rand.Text()
	big := strings.Repeat(canary, 250<<10/len(canary))
	digits := strings.Repeat("7040917", 250<<10/7)
	url := redistest.Server(t).URL()
	s := serve(t, t.TempDir(), "up", "--redis", url, "--set", "log.level=debug")
	e, err := engine.Open(t.Context(), engine.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, e)

	var seen strings.Builder // all that came back
	request := func(method, path string, header map[string]string, body string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		for name, value := range header {
			r.Header.Set(name, value)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&seen, "%s %s: %s\n", method, path, b)
		return answer.StatusCode
	}
	jobs := 0
	for name, payload := range map[string]string{
		"a blob":              `{"blob":"` + big + `"}`,
		"a blob of segments":  `{"blob":"` + strings.Repeat(canary+"/", 30) + `x"}`,
		"a blob of another":   `{"blob":"incoming/user:` + canary + `/x"}`,
		"an artifact":         `{"blob":"artifacts/` + canary + `/profile.json"}`,
		"a blob outside":      `{"blob":"../` + canary + `"}`,
		"the store's own":     `{"blob":"` + canary + `.attrs"}`,
		"one that is missing": `{"blob":"` + canary + `","name":"` + big + `"}`,
		"a format":            `{"blob":"x","format":"` + big + `"}`,
		"a delimiter":         `{"blob":"x","delimiter":"` + big + `"}`,
		"a number":            `{"blob":"x","size":` + digits + `}`,
		"a text for a number": `{"blob":"x","size":"` + big + `"}`,
		"an object":           `{"blob":{"` + big + `":1}}`,
		"an unknown field":    `{"` + big + `":1}`,
		"no object":           `"` + big + `"`,
		"a list":              `["` + big + `"]`,
	} {
		if status := request("POST", "/v1/jobs", nil, `{"topic":"user:demo","type":"`+analysis.JobType+`","queue":"analysis","title":"`+name+`","max_attempts":6,"payload":`+payload+`}`); status != 201 {
			t.Fatalf("%s is answered with %d", name, status)
		}
		jobs++
	}
	for name, c := range map[string]struct {
		method, path, body string
		header             map[string]string
	}{
		"no JSON":              {"POST", "/v1/jobs", `{"topic":"user:demo","type":"x","payload":{"a":` + big, nil},
		"too long":             {"POST", "/v1/jobs", `{"topic":"user:demo","type":"x","payload":"` + big + big + `"}`, nil},
		"of a schedule":        {"PUT", "/v1/topics/user:demo/schedules/s", `{"cron":"@daily","type":"x","payload":"` + big + `"}`, nil},
		"of an upload, a list": {"POST", "/v1/uploads", "", map[string]string{"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Upload-Metadata": "topic dXNlcjpkZW1v,type eA==,payload " + base64.StdEncoding.EncodeToString([]byte(`["`+canary+`"]`))}},
	} {
		if status := request(c.method, c.path, c.header, c.body); status/100 != 4 {
			t.Errorf("a payload, %s, is answered with %d", name, status)
		}
	}

	ended := 0
	for u, err := range e.Follow(t.Context(), engine.FollowQuery{Topic: "user:demo", After: "0-0"}) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Kind != engine.UpdateRecord {
			continue
		}
		fmt.Fprintf(&seen, "record: %s\n", u.Entry.JSON)
		r, err := u.Entry.Record()
		if err != nil {
			t.Fatal(err)
		}
		if j := r.Job; j.State.Ended() {
			if j.State != engine.Failed || j.Error.Code != "permanent" || j.Attempt != 1 {
				t.Errorf("%s: %s after %d attempts, %+v; want it to fail for good at once", j.Title, j.State, j.Attempt, j.Error)
			}
			if ended++; ended == jobs {
				break
			}
		}
	}
	request("GET", "/v1/jobs?topic=user:demo", nil, "")
	request("GET", "/v1/topics/user:demo/snapshot", nil, "")
	request("GET", "/admin/asynq/api/queues/analysis/archived_tasks?size=100", nil, "")
	for _, args := range [][]string{{"jobs"}, {"watch", "--after", "0-0", "--json"}, {"enqueue", "x", "--payload", `{"a":` + canary}} {
		p := spawn(t, t.TempDir(), append(args, "--server", "http://"+s.Addr)...)
		lines := 0
		for p.lines.Scan() {
			fmt.Fprintf(&seen, "%s: %s\n", args[0], p.lines.Bytes())
			if lines++; args[0] == "watch" && lines == jobs {
				p.signal(os.Interrupt)
				break
			}
		}
		p.wait()
		seen.WriteString(p.stderr.String())
	}
	redisHas := dump(t, url)
	s.drain()

	for what, text := range map[string]string{"what came back": seen.String(), "the log": s.stderr.String(), "Redis, but for payloads,": redisHas} {
		for _, secret := range []string{canary, "7040917"} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s has a payload's text: %.300q", what, text[max(0, i-200):])
			}
		}
		if most := jobs * 32 << 10; len(text) > most {
			t.Errorf("%s is %d bytes for %d jobs, want %d at most", what, len(text), jobs, most)
		}
	}
}

// dump is everything that a Redis holds but jobs' payloads.
func dump(t *testing.T, url string) string {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	defer closed(t, client)
	ctx := t.Context()
	var b strings.Builder
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		var value any
		var err error
		switch kind := client.Type(ctx, key).Val(); kind {
		case "string":
			value, err = client.Get(ctx, key).Result()
		case "list":
			value, err = client.LRange(ctx, key, 0, -1).Result()
		case "set":
			value, err = client.SMembers(ctx, key).Result()
		case "zset":
			value, err = client.ZRangeWithScores(ctx, key, 0, -1).Result()
		case "stream":
			value, err = client.XRange(ctx, key, "-", "+").Result()
		case "hash":
			var fields map[string]string
			fields, err = client.HGetAll(ctx, key).Result()
			delete(fields, "pl")
			value = fields
		default:
			continue // it has expired
		}
		if err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s: %v\n", key, value)
	}
	return b.String()
}

func closed(t *testing.T, c io.Closer) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
