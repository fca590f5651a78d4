package cli_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
	"github.com/tidemark-dev/tidemark/internal/s3test"
	"github.com/tidemark-dev/tidemark/worker/upload"
)

// A file goes by turns to two gateways whose files are in a bucket. One of them is killed while it
// receives, and later a worker while it makes the dataset. The dataset has the file's SHA-256.
func TestUploadBetweenGatewaysOfABucketOutlivesKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	table := filepath.Join(dir, "table.csv")
	writeTable(t, table, 20<<20)
	file, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	redis, bucket := redistest.Server(t), s3test.Start(t)
	where := []string{"--redis", redis.URL(), "--set", "storage.url=" + bucket.URL(), "--set", "storage.credentials_file=" + bucket.CredentialsFile()}
	gateways := []*server{serve(t, dir, "gateway", where...), serve(t, dir, "gateway", where...)}
	work := func() *process { return spawn(t, dir, append(append([]string{"worker"}, where...), brisk...)...) }
	e, err := engine.Open(t.Context(), engine.Options{URL: redis.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	job := announce(ctx, t, gateways[0], len(file))
	at := 0
	for i, n := range []int{3 << 20, 6 << 20, 100} {
		at = patch(ctx, t, gateways[i%2], job, at, file[at:at+n])
	}
	// It has more than a part of this request when it is killed, and has answered nothing.
	body, send := io.Pipe()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		r := request(ctx, t, http.MethodPatch, gateways[1], "/v1/uploads/"+string(job), body)
		r.Header.Set("Upload-Offset", strconv.Itoa(at))
		r.Header.Set("Content-Type", "application/offset+octet-stream")
		if answer, err := (&http.Transport{}).RoundTrip(r); err == nil {
			_ = answer.Body.Close()
		}
	}()
	if _, err := send.Write(file[at : at+9<<20]); err != nil {
		t.Fatal(err)
	}
	await(ctx, t, func() bool {
		var state struct{ Offset int }
		text, err := os.ReadFile(filepath.Join(bucket.Dir, "incoming", ".uploads", "open", string(job)+".json"))
		return err == nil && json.Unmarshal(text, &state) == nil && state.Offset > at
	})
	gateways[1].signal(syscall.SIGKILL)
	gateways[1].wait()
	_ = send.CloseWithError(io.ErrUnexpectedEOF)
	<-sent
	gateways[1] = serve(t, dir, "gateway", where...)
	kept := offset(ctx, t, gateways[0], job)
	if kept <= at || kept < 16<<20 {
		t.Errorf("after the kill the offset is %d: more than a part is gone", kept)
	}
	at = patch(ctx, t, gateways[1], job, kept, file[kept:kept+100])
	at = patch(ctx, t, gateways[0], job, at, file[at:])
	if at != len(file) {
		t.Fatalf("the offset is %d at the end", at)
	}

	first := work()
	(&disturbed{t: t, ctx: ctx, engine: e}).reach(job, 55)
	second := work()
	first.signal(syscall.SIGKILL)
	first.wait()
	done, err := e.Wait(ctx, job)
	if err != nil || done.State != engine.Succeeded {
		t.Fatalf("the job is %s: %+v, %v", done.State, done.Error, err)
	}
	var manifest struct {
		SHA256 string
		Size   int
	}
	text, err := os.ReadFile(filepath.Join(bucket.Dir, "datasets", "user:42", string(job), "manifest.json"))
	if err != nil || json.Unmarshal(text, &manifest) != nil {
		t.Fatalf("the dataset's manifest is %.200s, %v", text, err)
	}
	if sum := sha256.Sum256(file); manifest.SHA256 != hex.EncodeToString(sum[:]) || manifest.Size != len(file) {
		t.Errorf("the dataset has %d bytes with the SHA-256 %s, want %d with %x", manifest.Size, manifest.SHA256, len(file), sum)
	}
	second.signal(syscall.SIGTERM)
	if code := second.wait(); code != 0 {
		t.Errorf("the worker exits with %d: %s", code, second.stderr.String())
	}
	for _, g := range gateways {
		g.drain()
		if log := g.stderr.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, s3test.SecretKey) {
			t.Errorf("the log of a gateway is\n%s", log)
		}
	}
}

func request(ctx context.Context, t *testing.T, method string, s *server, path string, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.Addr+path, body)
	if err != nil {
		t.Error(err)
		return nil
	}
	r.Header.Set("Tus-Resumable", "1.0.0")
	return r
}

// do sends a request, and wants an answer with the status.
func do(t *testing.T, r *http.Request, want int) http.Header {
	t.Helper()
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != want {
		t.Fatalf("%s answers %d %s, %v; want %d", r.Method, answer.StatusCode, text, err, want)
	}
	return answer.Header
}

func announce(ctx context.Context, t *testing.T, s *server, size int) engine.JobID {
	t.Helper()
	r := request(ctx, t, http.MethodPost, s, "/v1/uploads", nil)
	encoded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	r.Header.Set("Upload-Length", strconv.Itoa(size))
	r.Header.Set("Upload-Metadata", "topic "+encoded("user:42")+",type "+encoded(upload.JobType)+",queue "+encoded(upload.Queue)+",filename "+encoded("table.csv"))
	return engine.JobID(strings.TrimPrefix(do(t, r, http.StatusCreated).Get("Location"), "/v1/uploads/"))
}

// patch sends bytes from an offset on, and returns the new one.
func patch(ctx context.Context, t *testing.T, s *server, job engine.JobID, at int, b []byte) int {
	t.Helper()
	r := request(ctx, t, http.MethodPatch, s, "/v1/uploads/"+string(job), bytes.NewReader(b))
	r.Header.Set("Upload-Offset", strconv.Itoa(at))
	r.Header.Set("Content-Type", "application/offset+octet-stream")
	n, err := strconv.Atoi(do(t, r, http.StatusNoContent).Get("Upload-Offset"))
	if err != nil || n != at+len(b) {
		t.Fatalf("the offset is %d, want %d: %v", n, at+len(b), err)
	}
	return n
}

func offset(ctx context.Context, t *testing.T, s *server, job engine.JobID) int {
	t.Helper()
	n, err := strconv.Atoi(do(t, request(ctx, t, http.MethodHead, s, "/v1/uploads/"+string(job), nil), http.StatusOK).Get("Upload-Offset"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// await looks until it holds.
func await(ctx context.Context, t *testing.T, holds func() bool) {
	t.Helper()
	for !holds() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("it never holds")
		}
	}
}
