package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway/client"
)

// idleNginx is the nginx of docs/protocol.md with another idle time-out.
func idleNginx(t *testing.T, s *site, timeout string) (*process, string) {
	t.Helper()
	text := nginxByTheDocs(t)
	if n := strings.Count(text, "_timeout 75s;"); n != 2 {
		t.Fatalf("docs/protocol.md gives nginx %d idle time-outs of 75 s, want 2", n)
	}
	return startNginx(t, strings.ReplaceAll(text, "_timeout 75s;", "_timeout "+timeout+";"), s.addr)
}

// A proxy that ends idle connections before the gateway's next ping costs no record: the client
// comes back each time, and continues from its cursor.
func TestNothingIsLostBehindAProxyThatEndsIdleConnections(t *testing.T) {
	t.Parallel()
	s := prepareSite(t)
	s.startGateway()
	nginx, addr := idleNginx(t, s, "1s")
	c, err := client.New(client.Options{URL: "http://" + addr})
	if err != nil {
		t.Fatal(err)
	}
	h := newHand(t, s)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	seen := make(chan engine.JobID, 100) // of each record, in the order in which they came
	failed := make(chan error, 1)
	go func() {
		defer close(seen)
		for u, err := range c.Follow(ctx, engine.FollowQuery{Topic: topic, After: engine.Beginning}) {
			if err != nil {
				failed <- err
				return
			}
			if r, err := u.Entry.Record(); u.Kind == engine.UpdateRecord && err == nil && r.Job != nil {
				seen <- r.Job.ID
			}
		}
	}()
	var want, got []engine.JobID
	take := func() {
		t.Helper()
		select {
		case id, ok := <-seen:
			if !ok {
				t.Fatalf("the follower has ended: %v", <-failed)
			}
			got = append(got, id)
		case <-t.Context().Done():
			t.Fatal("the test is over")
		}
	}
	want = append(want, h.enqueue("the first"))
	take() // it is connected
	for cut := range 3 {
		nginx.awaitLogs("upstream timed out", cut+1)
		for range 3 {
			want = append(want, h.enqueue("while it is away"))
		}
		for range 3 {
			take()
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the follower has records of %v, want %v", got, want)
	}
	stop()
	for id := range seen {
		t.Errorf("another record, of %s", id)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	h.close()
	s.gateway.stop()
}

// A proxy whose idle time-out is longer than the gateway's pings are apart keeps an idle connection:
// the pings that reach the client take longer, all together, than the time-out.
func TestPingsKeepAConnectionBehindAProxy(t *testing.T) {
	t.Parallel()
	s := prepareSite(t)
	s.args = []string{"--set", "gateway.ping_interval=500ms"}
	s.startGateway()
	nginx, addr := idleNginx(t, s, "10s")
	h := newHand(t, s)
	dialer := websocket.Dialer{Subprotocols: []string{"tidemark.v1"}}
	conn, answer, err := dialer.DialContext(t.Context(), "ws://"+addr+"/v1/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = answer.Body.Close()
	pings := make(chan struct{}, 100)
	pong := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		select {
		case pings <- struct{}{}:
		default:
		}
		return pong(data)
	})
	type frame struct {
		Type    string
		Records []struct{ Job engine.Job }
	}
	frames, ended := make(chan frame, 10), make(chan error, 1)
	go func() {
		for {
			var f frame
			if err := conn.ReadJSON(&f); err != nil {
				ended <- err
				return
			}
			frames <- f
		}
	}()
	await := func(kind string) frame {
		t.Helper()
		for {
			select {
			case f := <-frames:
				if f.Type == kind {
					return f
				}
			case err := <-ended:
				t.Fatalf("the connection has ended: %v", err)
			case <-t.Context().Done():
				t.Fatal("the test is over")
			}
		}
	}
	await("welcome")
	if err := conn.WriteJSON(line{"type": "subscribe", "sid": "a", "topic": topic}); err != nil {
		t.Fatal(err)
	}
	await("live")
	for range 25 {
		select {
		case <-pings:
		case err := <-ended:
			t.Fatalf("the connection has ended: %v", err)
		}
	}
	job := h.enqueue("after the silence")
	if f := await("records"); len(f.Records) != 1 || f.Records[0].Job.ID != job {
		t.Errorf("the records are %+v, want one of %s", f.Records, job)
	}
	if nginx.logged("timed out") != 0 {
		t.Error("nginx has ended a connection")
	}
	h.attempt(job, 1, runtime.Report{Type: engine.JobSucceeded})
	await("records")
	h.close()
	s.gateway.stop()
}
