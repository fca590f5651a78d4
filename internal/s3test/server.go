package s3test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const (
	// Bucket is the name of a server's one bucket.
	Bucket = "tidemark"
	// Region is the one that a server's requests are signed for.
	Region = "us-east-1"
	// AccessKey names the credentials of a server's owner.
	AccessKey = "tidemark-tests"
	// SecretKey is their secret.
	SecretKey = "a-secret-that-no-log-may-show"

	// startTimeout bounds the start of a server on a busy machine, buildTimeout its build.
	startTimeout = time.Minute
	buildTimeout = 14 * time.Minute
	// clippedBytes is the most of a server's output that a failed test shows.
	clippedBytes = 64 << 10
)

// A Server is an S3 server that belongs to one test. Its methods may be called concurrently.
type Server struct {
	// Endpoint is the proxy's address, "http://127.0.0.1:…". All requests go through it.
	Endpoint string
	// Dir is the bucket's folder, with a file for each object.
	Dir string

	*proxy
	credentials string
}

// Start starts a server with an empty bucket, and ends it with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	program := build(t)
	// The path of a socket is short, and that of t.TempDir is not.
	root, err := os.MkdirTemp("", "s3test") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	s := &Server{Dir: filepath.Join(root, "data", Bucket), credentials: filepath.Join(root, "credentials")}
	for _, dir := range []string{s.Dir, filepath.Join(root, "metadata")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.WriteCredentials(t, AccessKey, SecretKey)
	socket := filepath.Join(root, "s3.sock")
	run(t, program, socket, root)
	s.proxy, s.Endpoint = newProxy(t, socket)
	return s
}

// URL is the bucket's as the setting storage.url takes it.
func (s *Server) URL() string {
	return "s3://" + Bucket + "?region=" + Region + "&endpoint=" + s.Endpoint
}

// CredentialsFile is the path of a file with the owner's credentials, as the setting
// storage.credentials_file takes it.
func (s *Server) CredentialsFile() string { return s.credentials }

// WriteCredentials changes the content of CredentialsFile.
func (s *Server) WriteCredentials(t testing.TB, access, secret string) {
	t.Helper()
	text := "[default]\naws_access_key_id = " + access + "\naws_secret_access_key = " + secret + "\n"
	if err := os.WriteFile(s.credentials, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Env is the environment, as "NAME=value", by which a process finds the bucket and the credentials.
func (s *Server) Env() []string {
	return []string{
		"TIDEMARK_STORAGE_URL=" + s.URL(), "AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey,
		"AWS_EC2_METADATA_DISABLED=true",
	}
}

// build returns the path of versitygw, which the go command keeps in its build cache.
func build(t testing.TB) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	module := filepath.Join(filepath.Dir(here), "versitygw")
	ctx, cancel := context.WithTimeout(t.Context(), buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "tool", "-n", "versitygw")
	// The flags of the tests' own build are not for this one.
	cmd.Dir, cmd.Env = module, append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		t.Fatalf("build the S3 server of the tests: %v\nIt needs the Go module proxy once: run sh internal/setup/setup.sh.", err)
	}
	return strings.TrimSpace(string(out))
}

// run starts the program on root and waits until it takes connections.
func run(t testing.TB, program, socket, root string) {
	t.Helper()
	log, err := os.Create(filepath.Join(root, "log"))
	if err != nil {
		t.Fatal(err)
	}
	said := func() string {
		text, err := os.ReadFile(log.Name())
		if err != nil {
			return err.Error()
		}
		return string(text[:min(len(text), clippedBytes)])
	}
	cmd := exec.CommandContext(context.Background(), program, "--quiet", "--port", socket, "--access", AccessKey, "--secret", SecretKey, "--region", Region,
		"--keep-alive", "posix", "--sidecar", filepath.Join(root, "metadata"), filepath.Join(root, "data"))
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = []string{"HOME=" + root}, log, log, dieWithParent()
	started := make(chan error, 1)
	ended := make(chan error, 1)
	go func() {
		// The kernel ends the child with the thread that started it.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		if err := <-ended; err != nil && t.Failed() {
			t.Logf("the S3 server ended with %v", err)
		}
		if t.Failed() {
			t.Logf("the S3 server said:\n%s", said())
		}
		_ = log.Close()
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(startTimeout)
	for {
		conn, err := new(net.Dialer).DialContext(t.Context(), "unix", socket)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the S3 server ended at its start: %v\n%s", err, said())
		case <-deadline:
			t.Fatalf("the S3 server takes no connections: %v\n%s", err, said())
		case <-tick.C:
		}
	}
}
