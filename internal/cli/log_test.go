package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/internal/logtest"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// read asks a path of a server; status is 0 while nothing listens there.
func read(t *testing.T, addr, path, host string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

// become waits until a path has a status.
func become(t *testing.T, addr, path string, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, body := read(t, addr, path, "")
		if status == want {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s answers %d %q, want %d", path, status, body, want)
		case <-tick.C:
		}
	}
}

// parsed reads the lines of a program's log, each of which must be JSON without a key twice.
func parsed(t *testing.T, log string) (lines []map[string]any) {
	t.Helper()
	for line := range bytes.Lines([]byte(log)) {
		if keys, err := logtest.Repeated(line); err != nil || len(keys) > 0 {
			t.Errorf("%q are twice in %s: %v", keys, line, err)
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fields)
	}
	return lines
}

// saying returns the lines whose message has a text.
func saying(lines []map[string]any, text string) (found []map[string]any) {
	for _, line := range lines {
		if message, _ := line["msg"].(string); strings.Contains(message, text) {
			found = append(found, line)
		}
	}
	return found
}

// A worker has an address for probes and metrics. Its log, and the gateway's beside it, are JSON
// from the first to the last line, over an outage of Redis, and say what an operator looks for.
func TestWhatAnOperatorSees(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeTable(t, filepath.Join(dir, "table.csv"), 1<<16)
	proxy := redistest.NewProxy(t, redistest.Server(t).Addr())
	options := []string{"--redis", proxy.URL(), "--set", "log.format=json", "--log-level", "debug"}
	gateway := serve(t, dir, "gateway", options...)
	health := lasting(t)
	worker := spawn(t, dir, append(append([]string{"worker", "--health-addr", health}, options...), brisk...)...)
	become(t, health, "/readyz", http.StatusOK)
	become(t, health, "/healthz", http.StatusOK)
	if status, body := read(t, health, "/healthz", "evil.example"); status != http.StatusForbidden {
		t.Errorf("a request to another host is answered %d %q", status, body)
	}
	analyze := spawn(t, dir, "analyze", "--json", "table.csv", "--server", "http://"+gateway.Addr)
	if code := analyze.wait(); code != 0 {
		t.Fatalf("analyze exits with %d: %s", code, analyze.stderr.String())
	}
	_, metrics := read(t, health, "/metrics", "")
	if !strings.Contains(metrics, `tidemark_worker_attempts_total{outcome="succeeded",type="analysis"} 1`) || !strings.Contains(metrics, "process_open_fds") {
		t.Errorf("the metrics are\n%s", metrics)
	}

	proxy.Refuse()
	proxy.CutAll()
	become(t, health, "/readyz", http.StatusServiceUnavailable)
	become(t, gateway.Addr, "/readyz", http.StatusServiceUnavailable)
	become(t, health, "/healthz", http.StatusOK)
	proxy.Accept()
	become(t, health, "/readyz", http.StatusOK)
	become(t, gateway.Addr, "/readyz", http.StatusOK)
	gateway.drain()
	worker.signal(syscall.SIGTERM)
	if code := worker.wait(); code != 0 {
		t.Errorf("the worker exits with %d: %s", code, worker.stderr.String())
	}

	ofWorker, ofGateway := parsed(t, worker.stderr.String()), parsed(t, gateway.stderr.String())
	ended := saying(ofWorker, "attempt ended")
	if started := saying(ofWorker, "attempt started"); len(started) != 1 || len(ended) != 1 {
		t.Fatalf("%d starts and %d ends are logged, want 1 of each", len(started), len(ended))
	}
	if took, err := time.ParseDuration(ended[0]["duration"].(string)); err != nil || took < 0 || ended[0]["outcome"] != "succeeded" || ended[0]["type"] != "analysis" || ended[0]["job"] == nil || ended[0]["attempt"] != float64(1) {
		t.Errorf("the end is %v", ended[0])
	}
	if n := len(saying(ofGateway, "Redis does not answer")); n != 1 {
		t.Errorf("the gateway says %d times that Redis does not answer", n)
	}
	for what, lines := range map[string][]map[string]any{"worker": ofWorker, "gateway": ofGateway} {
		if len(saying(lines, "go-redis")) == 0 {
			t.Errorf("the log of the %s has no line of go-redis", what)
		}
		if n := len(saying(lines, "All queues are empty")); n > 0 {
			t.Errorf("the %s says %d times that the queues are empty", what, n)
		}
	}
}

// up shows its worker's metrics with the gateway's.
func TestUpShowsTheMetricsOfItsWorker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeTable(t, filepath.Join(dir, "table.csv"), 1<<16)
	s := serve(t, dir, "up", "--set", "redis.embedded=always")
	analyze := spawn(t, dir, "analyze", "--json", "table.csv", "--server", "http://"+s.Addr)
	if code := analyze.wait(); code != 0 {
		t.Fatalf("analyze exits with %d: %s", code, analyze.stderr.String())
	}
	if _, metrics := s.get("/metrics"); !strings.Contains(metrics, `tidemark_worker_attempts_total{outcome="succeeded",type="analysis"} 1`) || !strings.Contains(metrics, "tidemark_gateway_connections") {
		t.Errorf("the metrics are\n%s", metrics)
	}
	s.drain()
}
