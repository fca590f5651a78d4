package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/gateway/client"
	"github.com/tidemark-dev/tidemark/internal/redisproc"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A server is an up or gateway that serves.
type server struct {
	*process
	Addr, Page, Jobs, Websocket, Asynq, Redis, Data, Auth, Announcement string
	RedisKind                                                           string `json:"redis_kind"`
	RedisURL                                                            string `json:"redis_url"`
	Worker                                                              bool
}

// serve starts one in a folder, on a free port unless the arguments say otherwise, and
// returns when it serves.
func serve(t testing.TB, dir, command string, args ...string) *server {
	t.Helper()
	args = append([]string{command, "--json"}, args...)
	if !slices.Contains(args, "--addr") {
		args = append(args, "--addr", "127.0.0.1:0")
	}
	s := &server{process: spawn(t, dir, append(args, brisk...)...)}
	if err := json.Unmarshal(s.await("up"), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// lasting is an address to serve at again: on a port that no outgoing connection takes,
// and no client that dials it is connected to itself, while nobody serves there.
func lasting(t testing.TB) string {
	t.Helper()
	port, err := redisproc.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// drain tells it to stop, and wants it to end well.
func (s *server) drain() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	if code := s.wait(); code != 0 {
		s.t.Errorf("told to stop, it exits with %d, want 0: %s", code, s.stderr.String())
	}
}

func (s *server) get(path string) (status int, body string) {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + s.Addr + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

func TestUpSaysWhereEverythingIs(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, "up")
	for what, ok := range map[string]bool{
		"the page":  s.Page == "http://"+s.Addr+"/",
		"producers": s.Jobs == "http://"+s.Addr+"/v1/jobs",
		"WebSocket": s.Websocket == "ws://"+s.Addr+"/v1/ws",
		"asynqmon":  s.Asynq == "http://"+s.Addr+"/admin/asynq",
		"Redis":     s.RedisKind == "server" && strings.Contains(s.Redis, "survives this process"),
		"dev mode":  s.Auth == "dev" && strings.Contains(s.Announcement, "admin role"),
		"a port":    !strings.HasSuffix(s.Addr, ":0"),
		"a worker":  s.Worker,
	} {
		if !ok {
			t.Errorf("it does not say %s: %+v", what, s)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/": 200, "/v1/jobs?topic=user:demo": 200, "/v1/jobs/x": 404} {
		if got, body := s.get(path); got != want {
			t.Errorf("%s answers %d, want %d: %.200s", path, got, want, body)
		}
	}
	again := spawn(t, dir, "up", "--addr", s.Addr, "--data", "other")
	if code := again.wait(); code != 1 || !strings.Contains(again.stderr.String(), "listen on "+s.Addr+": another program has this port") || !strings.Contains(again.stderr.String(), "--addr 127.0.0.1:") {
		t.Errorf("a second one on the port exits with %d: %s", code, again.stderr.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "other")); err == nil {
		t.Error("it has made a data folder before it had the port")
	}
	s.drain()
	if log := s.stderr.String(); !strings.Contains(log, "drained") || strings.Contains(log, "level=ERROR") {
		t.Errorf("its log is\n%s", log)
	}
}

func TestUpWithTheEmbeddedRedis(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeTable(t, filepath.Join(dir, "table.csv"), 1<<16)
	s := serve(t, dir, "up", "--set", "redis.embedded=always")
	if s.RedisKind != "embedded" || !strings.Contains(s.Redis, "nothing will survive") {
		t.Errorf("it says %q of its Redis, which is %s", s.Redis, s.RedisKind)
	}
	analyze := spawn(t, dir, "analyze", "--json", "table.csv", "--server", "http://"+s.Addr)
	if code := analyze.wait(); code != 0 {
		t.Errorf("analyze exits with %d: %s", code, analyze.stderr.String())
	}
	s.drain()
}

func TestGatewayBesideAWorker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeTable(t, filepath.Join(dir, "table.csv"), 1<<16)
	redis := redistest.Server(t).URL()
	gateway := serve(t, dir, "gateway", "--redis", redis)
	if gateway.Worker {
		t.Error("it says that it has a worker")
	}
	worker := spawn(t, dir, append([]string{"worker", "--redis", redis}, brisk...)...)
	analyze := spawn(t, dir, "analyze", "--json", "table.csv", "--server", "http://"+gateway.Addr)
	if code := analyze.wait(); code != 0 {
		t.Fatalf("analyze exits with %d: %s", code, analyze.stderr.String())
	}
	if !slices.IsSorted(analyze.painted) || analyze.painted[len(analyze.painted)-1] != 100 {
		t.Errorf("painted were %v", analyze.painted)
	}
	gateway.drain()
	worker.signal(syscall.SIGTERM)
	if code := worker.wait(); code != 0 {
		t.Errorf("the worker exits with %d: %s", code, worker.stderr.String())
	}
	if code := spawn(t, dir, "gateway", "--set", "redis.embedded=always").wait(); code != 5 {
		t.Errorf("a gateway on a Redis of its own exits with %d, want 5", code)
	}
}

// When up gets SIGTERM, it hands back the job that runs, and its watchers still see that. The next
// up on the same data continues the job; the client that follows it comes back by itself.
func TestUpHandsItsJobsToTheNext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeTable(t, filepath.Join(dir, "table.csv"), tableBytes)
	first := serve(t, dir, "up", "--addr", lasting(t))
	watch := spawn(t, dir, "watch", "--json", "--server", "http://"+first.Addr)
	watch.await("live")
	analyze := spawn(t, dir, "analyze", "--json", "table.csv", "--server", "http://"+first.Addr)
	if !analyze.read(func(percent float64, s engine.State) bool { return s == engine.Running && percent >= 60 }) {
		code := analyze.wait()
		t.Fatalf("analyze ended with %d before there was a cut: %s", code, analyze.stderr.String())
	}
	before := slices.Clone(analyze.painted)
	first.drain()
	var back struct{ Job engine.Job }
	for back.Job.State != engine.Queued || back.Job.Attempt == 0 {
		line := watch.line()
		if bytes.HasPrefix(line, []byte(`{"type":"interrupted"`)) {
			// On a busy machine the job may go back later than clients wait for that.
			if !strings.Contains(first.stderr.String(), "clients are sent away before") {
				t.Fatal("who watches gets the goodbye before the record that the job is handed back")
			}
			break
		}
		back.Job = engine.Job{}
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatal(err)
		}
	}

	second := serve(t, dir, "up", "--addr", first.Addr)
	if code := analyze.wait(); code != 0 {
		t.Fatalf("analyze ends with %d: %s", code, analyze.stderr.String())
	}
	if err := checkPercents(before, analyze.painted[len(before):]); err != nil {
		t.Errorf("%v: %v", err, analyze.painted)
	}
	if analyze.profile != "http://"+first.Addr+"/v1/artifacts/"+string(back.Job.ID)+".profile.json" {
		t.Errorf("the profile is at %s", analyze.profile)
	}
	watch.await("job.succeeded")
	watch.signal(syscall.SIGINT)
	watch.wait()
	second.drain()
}

// Whoever watches over a gateway that is killed and comes back has every record once,
// those that were written meanwhile included.
func TestWatchGoesOnOverAKilledGateway(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t).URL()
	e := openEngine(t, redis)
	dir := t.TempDir()
	gateway := serve(t, dir, "gateway", "--redis", redis, "--addr", lasting(t))
	watch := spawn(t, dir, "watch", "--json", "--after", "0-0", "--server", "http://"+gateway.Addr)
	watch.await("live")
	var printed [][]byte
	take := func(kind string, n int) {
		for range n {
			printed = append(printed, bytes.Clone(watch.await(kind)))
		}
	}
	var jobs []engine.JobID
	for range 3 {
		jobs = append(jobs, enqueue(t, e))
	}
	take("job.queued", 3)
	gateway.signal(syscall.SIGKILL)
	gateway.wait()
	watch.await("interrupted")
	for _, id := range jobs {
		if err := e.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	again := serve(t, dir, "gateway", "--redis", redis, "--addr", gateway.Addr)
	take("job.canceled", 3)
	enqueue(t, e)
	take("job.queued", 1)

	page, err := stream.Of(e).Replay(t.Context(), "user:demo", engine.Beginning)
	if err != nil || len(page.Entries) != len(printed) {
		t.Fatalf("the stream holds %d records, printed were %d: %v", len(page.Entries), len(printed), err)
	}
	for i, entry := range page.Entries {
		if !bytes.Equal(entry.JSON, printed[i]) {
			t.Errorf("printed %s\nthe stream holds %s", printed[i], entry.JSON)
		}
	}
	watch.signal(syscall.SIGINT)
	if code := watch.wait(); code != 130 {
		t.Errorf("interrupted, watch exits with %d, want 130", code)
	}
	again.drain()
}

// writeLong writes a table of few and long records: large to send, and quick to analyze.
func writeLong(t *testing.T, path string, records int) {
	t.Helper()
	record := bytes.Repeat([]byte("x"), 900_000)
	record[len(record)-1] = '\n'
	if err := os.WriteFile(path, append([]byte("text\n"), bytes.Repeat(record, records)...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestInterruptedUploadIsGoneOnWith(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const records = 120
	writeLong(t, filepath.Join(dir, "long.csv"), records)
	s := serve(t, dir, "up")
	proxy := redistest.NewProxy(t, s.Addr)
	proxy.Delay(5 * time.Millisecond) // so that it is cut in the middle
	args := []string{"analyze", "--json", "long.csv", "--server", "http://" + proxy.Addr()}
	var id engine.JobID
	first := spawn(t, dir, args...)
	receiving := func(line []byte) (j engine.Job) {
		var l struct{ Job engine.Job }
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		return l.Job
	}
	for {
		if j := receiving(first.await("job")); j.Percent > 0 {
			id = j.ID
			if j.State != engine.Receiving {
				t.Fatalf("the upload was over (%s) before it could be cut", j.State)
			}
			break
		}
	}
	proxy.Stall()
	first.signal(os.Interrupt)
	proxy.CutAll()
	proxy.Unstall()
	proxy.Delay(0)
	said := ""
	for first.lines.Scan() {
		said += first.lines.Text() + "\n"
	}
	if code := first.wait(); code != 130 || !strings.Contains(said, "job "+string(id)+" stands at") || !strings.Contains(said, "what has arrived is kept: run the same command again") {
		t.Fatalf("interrupted, it exits with %d and says\n%s%s", code, said, first.stderr.String())
	}

	second := spawn(t, dir, args...)
	if note := second.await("note"); !bytes.Contains(note, []byte("going on with the upload of job "+string(id))) {
		t.Errorf("the second run says %s", note)
	}
	j := receiving(second.await("job"))
	if j.ID != id || j.Percent == 0 {
		t.Errorf("it begins with job %s at %v%%, want %s above 0", j.ID, j.Percent, id)
	}
	proxy.CutAll() // this one is gone on with by itself
	var profile struct{ Profile struct{ Rows int } }
	if err := json.Unmarshal(second.await("profile"), &profile); err != nil || profile.Profile.Rows != records {
		t.Errorf("the profile has %d rows, want %d (%v)", profile.Profile.Rows, records, err)
	}
	if code := second.wait(); code != 0 {
		t.Errorf("it exits with %d: %s", code, second.stderr.String())
	}
	s.drain()
}

// A file that stops in the middle until the test lets it go on.
type halting struct {
	io.ReaderAt
	at      int64
	reached chan struct{}
	goOn    chan struct{}
	once    sync.Once
}

func (h *halting) ReadAt(p []byte, off int64) (int, error) {
	if off >= h.at {
		h.once.Do(func() { close(h.reached) })
		<-h.goOn
	}
	return h.ReaderAt.ReadAt(p, off)
}

// An upload that is under way does not keep up from stopping, nor make its end a bad
// one, and goes on with the next.
func TestUpStopsWithAnUploadUnderWay(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, "up", "--set", "gateway.drain_timeout=300ms", "--addr", lasting(t))
	remote, err := client.New(client.Options{URL: "http://" + s.Addr, BackoffMin: 10 * time.Millisecond, BackoffMax: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = remote.Close() }() // closes what is idle, and cannot fail
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	id, err := remote.Announce(t.Context(), client.Upload{Topic: "user:demo", Type: "analysis", Name: "x.csv", SizeBytes: int64(len(content))})
	if err != nil {
		t.Fatal(err)
	}
	file := &halting{ReaderAt: bytes.NewReader(content), at: int64(len(content) / 2), reached: make(chan struct{}), goOn: make(chan struct{})}
	sent := make(chan error, 1)
	go func() {
		sent <- remote.Send(t.Context(), id, file, int64(len(content)), func(error) {})
	}()
	<-file.reached
	s.drain()
	close(file.goOn)
	next := serve(t, dir, "up", "--addr", s.Addr)
	select {
	case err := <-sent:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the upload has not gone on")
	}
	if got, err := remote.Received(t.Context(), id); err != nil || got != int64(len(content)) {
		t.Errorf("%d bytes of %d arrived, %v", got, len(content), err)
	}
	next.drain()
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, "up", "--set", "gateway.drain_timeout=10m")
	// A request that does not end keeps the drain waiting.
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("the request is not being read: %s, %v", line, err)
	}
	s.signal(syscall.SIGTERM)
	for spawn(t, dir, "jobs", "--json", "--server", "http://"+s.Addr).wait() == 0 {
	} // until it takes no more
	s.signal(syscall.SIGTERM)
	if code := s.wait(); code != 130 {
		t.Errorf("told twice, it exits with %d, want 130", code)
	}
	// What it left behind, a Redis among it, is taken over by the next.
	next := serve(t, dir, "up")
	next.drain()
}
