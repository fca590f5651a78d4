package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/internal/cli"
)

// hostile steers a terminal in every way there is, and forges a line.
const hostile = "a\x1b[2Jb\x1b]0;owned\x07c\u009b31md\u0085e\x7ff\b\b\rg\nFORGED\u2028FORGED\u202eh\u2066i\u061cj\tk"

// checkPlain wants nothing that steers a terminal, and no line that begins with what was forged.
func checkPlain(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s is not UTF-8: %q", what, text)
	}
	for _, r := range text {
		if (r < ' ' && r != '\n' && r != '\t') || (r >= 0x7f && r < 0xa0) || r == 0x61c || (r >= 0x2028 && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			t.Errorf("%s has %U: %q", what, r, text)
			break
		}
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "FORGED") {
			t.Errorf("%s has a forged line: %q", what, text)
		}
	}
}

// hostileServer is a gateway whose every field is hostile.
func hostileServer(t *testing.T, refuses bool) *httptest.Server {
	t.Helper()
	quoted := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	h := quoted(hostile)
	job := strings.ReplaceAll(`{"id":H,"rev":1,"topic":H,"type":H,"title":H,"state":H,"percent":10,"message":H,"labels":{"a":H,"b":H},
		"stage":{"name":H,"index":0},"progress":{"done":1,"unit":H},"parent":H,"retry_of":H,"error":{"code":H,"message":H},"result":{"x":H},
		"created_at":"2026-01-01T00:00:00Z"}`, "H", h)
	schedule := strings.ReplaceAll(`{"name":H,"topic":H,"type":H,"cron":H,"time_zone":H,"next_at":"2026-01-01T00:00:00Z","error":H}`, "H", h)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case refuses:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"code":%s,"title":%s,"detail":%s}`, h, h, h)
		case strings.HasSuffix(r.URL.Path, "/schedules"):
			fmt.Fprintf(w, `{"schedules":[%s]}`, schedule)
		case strings.Contains(r.URL.Path, "/schedules/"):
			fmt.Fprintf(w, `{"schedule":%s}`, schedule)
		case r.URL.Path == "/v1/jobs" && r.Method == http.MethodPost:
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"id":%s,"topic":%s}`, h, h)
		case r.URL.Path == "/v1/jobs":
			fmt.Fprintf(w, `{"jobs":[%s]}`, job)
		default:
			fmt.Fprintf(w, `{"topic":%s,"id":%s,"job":%s}`, h, h, job)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// What a server says steers no terminal, in whatever field it says it.
func TestHostileServerSteersNoTerminal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a\x1b[2J\u202e.csv")
	if err := os.WriteFile(file, []byte("v\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const id = "0701JDG5CW2QK3V9Y7H4N8R6ZTXB"
	for name, s := range map[string]*httptest.Server{"fields": hostileServer(t, false), "refusals": hostileServer(t, true)} {
		for _, args := range [][]string{
			{"jobs", "--children"},
			{"job", id},
			{"cancel", id},
			{"pause", id},
			{"resume", id},
			{"retry", id},
			{"enqueue", "export"},
			{"schedules"},
			{"schedule", "put", "n", "--cron", "@daily", "--type", "export"},
			{"schedule", "delete", "n"},
			{"watch", id},
			{"analyze", file},
			{"analyze", file + hostile},
			{"no" + hostile},
			{"jobs", "--topic", hostile},
			{"job", hostile},
			{"jobs", "--no" + hostile},
			{"jobs", "--server", "http://127.0.0.1:1/" + hostile},
		} {
			t.Run(name+" "+fmt.Sprintf("%.40q", strings.Join(args, " ")), func(t *testing.T) {
				if len(args) == 1 || args[len(args)-2] != "--server" {
					args = append(args, "--server", s.URL)
				}
				var out, err bytes.Buffer
				cli.Main(args, nil, &out, &err)
				if out.Len()+err.Len() == 0 {
					t.Error("it says nothing")
				}
				checkPlain(t, "what it prints", out.String())
				checkPlain(t, "what it says", err.String())
			})
		}
	}
}

// JSON is what the server sent, byte for byte.
func TestJSONIsExact(t *testing.T) {
	s := hostileServer(t, false)
	var out, err bytes.Buffer
	if code := cli.Main([]string{"jobs", "--children", "--json", "--server", s.URL}, nil, &out, &err); code != 0 {
		t.Fatalf("exit code %d: %s", code, err.String())
	}
	var j struct{ Title string }
	if err := json.Unmarshal(out.Bytes(), &j); err != nil || j.Title != hostile {
		t.Errorf("the title is %q, want %q (%v)", j.Title, hostile, err)
	}
}
