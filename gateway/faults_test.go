package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// An audience is one connection that listens to some topics, and producers that make jobs
// there. What follows mu is under it.
type audience struct {
	t    *testing.T
	s    *server
	end  context.CancelFunc
	keep bool // jobs that are there stay there

	mu       sync.Mutex
	bell     *sync.Cond
	topics   map[string]*listener // by sid
	over     int                  // jobs that were heard to end
	lost     int                  // jobs of which Redis lost all but a task
	struck   int
	enough   bool
	outages  int
	verdicts map[string]int
}

// fail ends the test's goroutines, without which one would wait for another.
func (a *audience) fail(format string, args ...any) {
	a.t.Errorf(format, args...)
	a.end()
}

func (a *audience) change(do func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	do()
	a.bell.Broadcast()
}

// await waits until something holds, and reports whether that was before ctx ended.
func (a *audience) await(ctx context.Context, holds func() bool) bool {
	defer context.AfterFunc(ctx, func() { a.change(func() {}) })()
	a.mu.Lock()
	defer a.mu.Unlock()
	for ctx.Err() == nil {
		if holds() {
			return true
		}
		a.bell.Wait()
	}
	return false
}

// listen reads the connection, which the gateway never closes, until the test does.
func (a *audience) listen(ctx context.Context, c *websocket.Conn) {
	for {
		_, text, err := c.ReadMessage()
		if err != nil {
			if ctx.Err() == nil {
				a.fail("the connection ended: %v", err)
			}
			return
		}
		f := frame{}
		if err := json.Unmarshal(text, &f); err != nil {
			a.fail("frame %q: %v", text, err)
			return
		}
		a.change(func() {
			switch l := a.topics[f.Sid]; {
			case f.Type == "error" && f.Code == "unavailable":
				a.outages++
			case f.Type == "error", f.Type == "goodbye":
				err = fmt.Errorf("%s", text)
			case l != nil:
				if f.Type == "subscribed" {
					a.verdicts[f.Reason]++
				}
				err = l.hear(f)
			}
		})
		if err != nil {
			a.fail("%s: %v", text, err)
			return
		}
	}
}

// produce makes a job when the one before was heard to end. What Redis may have lost it
// makes again.
func (a *audience) produce(ctx context.Context, lane string) {
	for n := 0; ctx.Err() == nil; n++ {
		var first engine.JobID
		for over := false; !over && ctx.Err() == nil; {
			a.mu.Lock()
			struck := a.struck
			a.mu.Unlock()
			job, again := a.post(ctx, lane, n), a.post(ctx, lane, n)
			if first == "" {
				first = job
			}
			if a.keep && ctx.Err() == nil && (job != first || again != first) {
				a.fail("one key made the jobs %s, %s and %s", first, job, again)
			}
			a.await(ctx, func() bool {
				over = a.topics[lane].ended[again]
				return over || a.struck > struck
			})
		}
		enough := false
		a.change(func() { a.over, enough = a.over+1, a.enough })
		if enough {
			return
		}
	}
}

// post makes a job, and asks again while the gateway says that it may.
func (a *audience) post(ctx context.Context, lane string, n int) engine.JobID {
	body := fmt.Sprintf(`{"topic":"user:%s","type":"count","payload":40,"title":"%d","key":"%d","max_attempts":1}`, lane, n, n)
	transport := &http.Transport{DisableKeepAlives: true}
	for ; ; sleep(ctx, 20*time.Millisecond) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.s.url("/v1/jobs"), strings.NewReader(body))
		if err != nil {
			a.fail("%v", err)
			return ""
		}
		r.Header.Set("Content-Type", "application/json")
		resp, err := transport.RoundTrip(r)
		if ctx.Err() != nil {
			return ""
		}
		if err != nil {
			a.fail("post: %v", err)
			return ""
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		var made struct{ ID engine.JobID }
		switch resp.StatusCode {
		case http.StatusServiceUnavailable, http.StatusInsufficientStorage:
			continue
		case http.StatusOK, http.StatusCreated:
			if err == nil {
				err = json.Unmarshal(text, &made)
			}
			if err == nil {
				return made.ID
			}
		}
		a.fail("post: %s %s %v", resp.Status, text, err)
		return ""
	}
}

// TestFollowersUnderFaults has a client follow topics over one connection, and others make
// jobs over HTTP, while the Redis of the gateway and of a worker is struck.
func TestFollowersUnderFaults(t *testing.T) {
	for _, f := range redistest.Faults {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			followUnder(t, f)
		})
	}
}

func followUnder(t *testing.T, f redistest.Fault) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	url, strike := f.Begin(t, rand.New(rand.NewPCG(seed, 0)).IntN)
	e := open(t, url, func(o *engine.Options) { o.CommitTimeout = time.Second })
	inside := count(t, e)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(scale(3, 30))*time.Minute)
	defer cancel()
	a := &audience{
		t: t, s: serve(t, e, nil), end: cancel, keep: !f.Loses,
		topics: map[string]*listener{}, verdicts: map[string]int{},
	}
	a.bell = sync.NewCond(&a.mu)
	c := a.s.client(t)
	if err := c.conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	for lane := range 8 {
		sid := fmt.Sprint(lane)
		a.topics[sid] = newListener()
		a.topics[sid].loses, a.topics[sid].inside = f.Loses, inside
		c.send(fmt.Sprintf(`{"type":"subscribe","sid":%q,"topic":"user:%s"}`, sid, sid))
		work.Go(func() { a.produce(ctx, sid) })
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		a.listen(ctx, c.conn)
	}()

	more := func(n int) { // than have ended
		want := 0
		a.change(func() { want = a.over + n })
		a.await(ctx, func() bool { return a.over >= want })
	}
	for round := range scale(f.Rounds, f.Full) {
		more(6)
		strike(round)
		a.change(func() { a.struck++ })
	}
	more(8)
	a.change(func() { a.enough = true })
	work.Wait()
	for sid, l := range a.topics {
		a.settle(ctx, e, engine.Topic("user:"+sid), l)
	}
	if ctx.Err() != nil {
		t.Error("time is up, or the test had failed")
	}
	t.Logf("%d jobs were heard to end, and %d to be lost; verdicts %v, unavailable %d times", a.over, a.lost, a.verdicts, a.outages)
	cancel()
	hangUp(c.conn)
	<-heard
}

// settle waits until the client knows of every job of a topic that it has ended, also of
// those whose end Redis had lost, and for each what owes checks.
func (a *audience) settle(ctx context.Context, e *engine.Engine, topic engine.Topic, l *listener) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var found []string
	var all []engine.Job
	settled := a.await(ctx, func() bool {
		all = nil
		for q := (engine.JobsQuery{}); ; {
			page, err := e.Jobs(ctx, topic, q)
			if err != nil {
				a.t.Errorf("jobs of %s: %v", topic, err)
				return true
			}
			for _, v := range page.Jobs {
				j, err := v.Job()
				if err != nil {
					a.t.Error(err)
				}
				all = append(all, j)
			}
			if q.After = page.Next; q.After == "" {
				break
			}
		}
		found = l.owes(all)
		return len(found) == 0
	})
	if !settled {
		a.t.Errorf("%s: %q", topic, found)
	}
	for _, j := range all {
		if l.lost(j) {
			a.lost++
		}
	}
}
