package cli_test

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An up in mode jwt listens anywhere, says where clients reach it, and takes the tokens that the command signs.
func TestUpWithTokens(t *testing.T) {
	dir := t.TempDir()
	settings := `auth:
  mode: jwt
  public_url: https://jobs.example.com
  hosts: [jobs.example.com, 127.0.0.1]
  jwt: {issuer: https://login.example.com, audience: tidemark, keys: [{id: a, algorithm: HS256, secret: hunter2-hunter2-hunter2-hunter2-}]}
gateway: {enqueue: {types: [{type: report, queue: reports}]}}
`
	if err := os.WriteFile(filepath.Join(dir, "tidemark.yaml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir, "up", "--addr", "0.0.0.0:0")
	if s.Page != "https://jobs.example.com/" || s.Websocket != "wss://jobs.example.com/v1/ws" || s.Auth != "jwt" || s.Announcement != "" {
		t.Errorf("it says %+v", s)
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = "127.0.0.1:" + port

	// run gives what a command prints, with a token or none.
	run := func(token string, args ...string) (out, problem string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "tidemark", args...)
		var stdout, stderr bytes.Buffer
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
		for _, entry := range os.Environ() {
			if !strings.HasPrefix(entry, "TIDEMARK_") { // the test run's own
				cmd.Env = append(cmd.Env, entry)
			}
		}
		cmd.Env = append(cmd.Env, "TIDEMARK_TOKEN="+token, "TIDEMARK_SERVER=http://"+s.Addr, "GORACE=atexit_sleep_ms=0")
		_ = cmd.Run() // what it prints says how it went
		return strings.TrimSpace(stdout.String()), stderr.String()
	}
	token, _ := run("", "token", "--subject", "ada", "--ttl", "1h")
	if job, problem := run(token, "enqueue", "report", "--topic", "user:ada"); len(job) != 28 {
		t.Errorf("her job: %q, %s", job, problem)
	}
	if jobs, problem := run(token, "jobs", "--topic", "user:ada", "--json"); !strings.Contains(jobs, `"queue":"reports"`) {
		t.Errorf("her jobs: %s, %s", jobs, problem)
	}
	if out, problem := run(token, "enqueue", "purge", "--topic", "user:ada"); out != "" || !strings.Contains(problem, "you may not enqueue jobs of type") {
		t.Errorf("a type that is not hers: %q, %s", out, problem)
	}
	if out, problem := run(token, "jobs", "--topic", "user:bob"); out != "" || problem == "" {
		t.Errorf("bob's jobs: %q, %s", out, problem)
	}
	if out, problem := run("", "jobs", "--topic", "user:ada"); out != "" || problem == "" {
		t.Errorf("without a token: %q, %s", out, problem)
	}
	// An admin takes it back, and the gateway takes it no longer.
	admin, _ := run("", "token", "--subject", "ops", "--role", "admin", "--ttl", "1h")
	if out, problem := run(token, "kick", "ada"); out != "" || problem == "" {
		t.Errorf("she kicks herself: %q, %s", out, problem)
	}
	if out, problem := run(admin, "kick", "ada"); !strings.HasPrefix(out, "ada is out: ") {
		t.Errorf("kicked: %q, %s", out, problem)
	}
	if out, problem := run(token, "jobs", "--topic", "user:ada"); out != "" || problem == "" {
		t.Errorf("with what was taken back: %q, %s", out, problem)
	}
	if status, _ := s.get("/v1/jobs?topic=user:ada"); status != http.StatusUnauthorized {
		t.Errorf("without a token it answers %d", status)
	}
	s.drain()
	if log := s.stderr.String(); strings.Contains(log, "hunter2") || strings.Contains(log, token) {
		t.Errorf("the log has a secret: %s", log)
	}
}
