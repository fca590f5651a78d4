package problem_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

// logged parses lines of JSON.
func logged(t *testing.T, b *bytes.Buffer) (lines []map[string]any) {
	t.Helper()
	for d := json.NewDecoder(b); d.More(); {
		var line map[string]any
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestRefusalsAreSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		r := problem.NewRefusals(slog.New(slog.NewJSONHandler(&b, nil)))
		one, two := problem.Client{Origin: "https://one.example"}, problem.Client{Origin: "https://two.example"}
		for range 100 {
			r.Log(one, 403, "origin", "")
			r.Log(one, 401, "unauthenticated", "")
			r.Log(two, 403, "origin", "")
		}
		if lines := logged(t, &b); len(lines) != 3 {
			t.Errorf("300 refusals of three kinds have %d lines: %v", len(lines), lines)
		}
		<-time.After(time.Minute)
		r.Log(one, 403, "origin", "")
		if lines := logged(t, &b); len(lines) != 1 || lines[0]["suppressed"] != float64(99) {
			t.Errorf("a minute later: %v", lines)
		}
		for i := range 10_000 {
			r.Log(problem.Client{Origin: fmt.Sprint("https://", i)}, 403, "origin", "")
		}
		if lines := logged(t, &b); len(lines) > 300 {
			t.Errorf("origins that a client makes up have %d lines", len(lines))
		}
	})
}

func TestRefusalsAreAnswersThatAClientDoesNotExpect(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{
		200: false, 400: true, 401: true, 403: true, 404: false, 409: false, 413: true, 429: true, 500: false, 503: false, 507: true,
	} {
		var b bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&b, nil))
		w := problem.NewWriter(log, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "problems"}, []string{"code"}), func(error) {})
		h := problem.NewRefusals(log).Logged(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			if status != 200 {
				w.Write(wrapped{rw}, status, "code", "detail")
			}
		}))
		r := httptest.NewRequest(http.MethodGet, "/v1/jobs?access_token=secret", nil)
		r.Header.Set("Authorization", "Bearer secret")
		r.Header.Set("Origin", "https://one.example")
		h.ServeHTTP(httptest.NewRecorder(), r)
		if bytes.Contains(b.Bytes(), []byte("secret")) {
			t.Errorf("%d: the log has credentials: %s", status, b.String())
		}
		lines := logged(t, &b)
		if (len(lines) == 1) != want {
			t.Errorf("%d: %d lines: %v", status, len(lines), lines)
		}
		if want && (lines[0]["origin"] != "https://one.example" || lines[0]["reason"] != "code" || lines[0]["path"] != "/v1/jobs") {
			t.Errorf("%d: %v", status, lines[0])
		}
	}
}

// wrapped is what middleware puts around a ResponseWriter.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }
