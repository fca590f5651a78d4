package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/client"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// following steps through an iteration.
type following struct {
	t    *testing.T
	next func() (engine.Update, error, bool)
}

func follow(t *testing.T, c *client.Client, q engine.FollowQuery) *following {
	t.Helper()
	next, stop := iter.Pull2(c.Follow(soon(t), q))
	t.Cleanup(stop)
	return &following{t, next}
}

func (f *following) one(want engine.UpdateKind) engine.Update {
	f.t.Helper()
	u, err, ok := f.next()
	if err != nil || !ok || u.Kind != want {
		f.t.Fatalf("%s %s (%v), %v, %v; want %s", u.Kind, u.Entry.JSON, u.Err, err, ok, want)
	}
	return u
}

// ends wants the iteration to end, with an error or, for nil, without.
func (f *following) ends(want error) {
	f.t.Helper()
	u, err, ok := f.next()
	if (want == nil && ok) || !errors.Is(err, want) {
		f.t.Fatalf("%s %s, %v; want the end with %v", u.Kind, u.Entry.JSON, err, want)
	}
}

func notify(t *testing.T, e *engine.Engine, n int) {
	t.Helper()
	if err := e.Notify(t.Context(), topic, "", fmt.Appendf(nil, `{"n":%d}`, n)); err != nil {
		t.Fatal(err)
	}
}

func TestFollowGivesWhatTheStreamHolds(t *testing.T) {
	e := open(t, redistest.Server(t).URL())
	c := dial(t, serve(t, gateway.Options{Engine: e}))
	for n := range 300 {
		notify(t, e, n)
	}
	fresh := follow(t, c, engine.FollowQuery{Topic: topic})
	if u := fresh.one(engine.UpdateSnapshot); u.Reason != engine.Fresh || u.Cursor.N() == 0 || len(u.Jobs) != 0 {
		t.Errorf("without a cursor it begins with %+v", u)
	}
	fresh.one(engine.UpdateLive)

	all := follow(t, c, engine.FollowQuery{Topic: topic, After: engine.Beginning})
	page, err := stream.Of(e).Replay(t.Context(), topic, engine.Beginning)
	if err != nil || len(page.Entries) == 0 {
		t.Fatal(len(page.Entries), err)
	}
	for i := range 300 {
		u := all.one(engine.UpdateRecord)
		if i < len(page.Entries) && (u.Entry.ID != page.Entries[i].ID || u.Cursor != u.Entry.ID || u.Entry.Topic != topic || !bytes.Equal(u.Entry.JSON, page.Entries[i].JSON)) {
			t.Fatalf("record %d is %s, the stream holds %s", i, u.Entry.JSON, page.Entries[i].JSON)
		}
	}
	if live := all.one(engine.UpdateLive); live.Cursor != page.Head {
		t.Errorf("live at %s, the head is %s", live.Cursor, page.Head)
	}
	notify(t, e, 300)
	if a, b := all.one(engine.UpdateRecord), fresh.one(engine.UpdateRecord); a.Cursor != b.Cursor || !bytes.Contains(a.Entry.JSON, []byte(`{"n":300}`)) {
		t.Errorf("the two read %s and %s", a.Entry.JSON, b.Entry.JSON)
	}
}

// Whatever is cut, and whenever, each record comes once and in order.
func TestFollowGoesOnOverCuts(t *testing.T) {
	e := open(t, redistest.Server(t).URL())
	proxy := redistest.NewProxy(t, serve(t, gateway.Options{Engine: e}))
	f := follow(t, dial(t, proxy.Addr()), engine.FollowQuery{Topic: topic, After: engine.Beginning})
	const cuts, between = 20, 15
	written := make(chan struct{})
	go func() {
		defer close(written)
		for n := range cuts * between {
			if err := e.Notify(t.Context(), topic, "", fmt.Appendf(nil, `{"n":%d}`, n)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	told := 0
	for n := 0; n < cuts*between; {
		u, err, ok := f.next()
		if err != nil || !ok {
			t.Fatalf("after %d records: %v", n, err)
		}
		switch u.Kind {
		case engine.UpdateRecord:
			if want := fmt.Sprintf(`"notification":{"n":%d}`, n); !bytes.Contains(u.Entry.JSON, []byte(want)) {
				t.Fatalf("record %d is %s", n, u.Entry.JSON)
			}
			if n++; n%between == 0 {
				proxy.CutAll()
			}
		case engine.UpdateInterrupted:
			if told++; !errors.Is(u.Err, client.ErrUnreachable) {
				t.Errorf("interrupted by %v", u.Err)
			}
		case engine.UpdateSnapshot:
			t.Fatalf("a snapshot (%s): its cursor was lost", u.Reason)
		}
	}
	<-written
	if told < 2 {
		t.Errorf("%d interruptions were told of %d cuts", told, cuts)
	}
}

func TestFollowOfAJobEndsWithIt(t *testing.T) {
	ctx := soon(t)
	e := open(t, redistest.Server(t).URL())
	c := dial(t, serve(t, gateway.Options{Engine: e, FilterLag: 20 * time.Millisecond}))
	made, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export", Queue: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	snapshot := follow(t, c, engine.FollowQuery{Filter: engine.Filter{Job: made.ID}})
	if u := snapshot.one(engine.UpdateSnapshot); len(u.Jobs) != 1 || u.Jobs[0].ID != made.ID || u.Jobs[0].Topic != topic {
		t.Fatalf("it begins with %+v", u)
	}
	snapshot.one(engine.UpdateLive)
	notify(t, e, 0) // is not the job's
	if err := e.Cancel(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	last := snapshot.one(engine.UpdateRecord)
	if last.Entry.Type() != engine.JobCanceled {
		t.Fatalf("its last record is %s", last.Entry.JSON)
	}
	snapshot.ends(nil)

	// From the beginning, after the end, and with nothing left to come.
	all := follow(t, c, engine.FollowQuery{Filter: engine.Filter{Job: made.ID}, After: engine.Beginning})
	all.one(engine.UpdateRecord)
	all.one(engine.UpdateRecord)
	all.ends(nil)
	held := follow(t, c, engine.FollowQuery{Filter: engine.Filter{Job: made.ID}, After: last.Cursor})
	held.ends(nil)
	ended := follow(t, c, engine.FollowQuery{Filter: engine.Filter{Job: made.ID}})
	ended.one(engine.UpdateSnapshot)
	ended.ends(nil)

	follow(t, c, engine.FollowQuery{Filter: engine.Filter{Job: "0701JDG5CW2QK3V9Y7H4N8R6ZTXB"}}).ends(engine.ErrNotFound)
	follow(t, c, engine.FollowQuery{Topic: "nobody"}).ends(engine.ErrInvalidTopic)
	follow(t, c, engine.FollowQuery{Topic: topic, After: "12"}).ends(engine.ErrInvalidCursor)
}

func TestFollowTellsOfAnOutageOfRedis(t *testing.T) {
	server := redistest.Server(t, redistest.WithAOF())
	e := open(t, server.URL())
	f := follow(t, dial(t, serve(t, gateway.Options{Engine: e})), engine.FollowQuery{Topic: topic})
	f.one(engine.UpdateSnapshot)
	f.one(engine.UpdateLive)
	server.Stop()
	if u := f.one(engine.UpdateInterrupted); !errors.Is(u.Err, engine.ErrUnreachable) || errors.Is(u.Err, client.ErrUnreachable) {
		t.Errorf("the client reports %v, want that Redis is away and the gateway is not", u.Err)
	}
	server.Restart()
	notify(t, e, 1)
	for { // with or without being told once more that it is live
		if u, err, ok := f.next(); err != nil || !ok {
			t.Fatal(err)
		} else if u.Kind == engine.UpdateRecord {
			break
		}
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	why := errors.New("enough")
	e := open(t, redistest.Server(t).URL())
	c := dial(t, serve(t, gateway.Options{Engine: e}))
	for _, when := range []string{"live", "away"} {
		ctx, cancel := context.WithCancelCause(soon(t))
		addr := c
		if when == "away" {
			addr = dial(t, scripted(t, nil, func(_ int, c *conversation) {
				c.say(`{"type":"goodbye","reason":"draining","reconnect_after_ms":3600000}`)
			}))
		}
		var last error
		for u, err := range addr.Follow(ctx, engine.FollowQuery{Topic: topic}) {
			if u.Kind == engine.UpdateLive || u.Kind == engine.UpdateInterrupted {
				cancel(why)
			}
			last = err
		}
		cancel(nil)
		if !errors.Is(last, why) {
			t.Errorf("%s: it ended with %v", when, last)
		}
	}
}

// talkOf is a gateway that closes its first connection and serves the second.
func talkOf(first func(c *conversation)) func(int, *conversation) {
	return func(n int, c *conversation) {
		if n == 1 {
			first(c)
			return
		}
		c.say(welcome)
		sub := c.hear()
		c.say(`{"type":"subscribed","sid":%q,"mode":"replay","reason":"resumed","cursor":%q}`, sub.SID, sub.After)
		c.say(`{"type":"live","sid":%q,"cursor":%q,"replayed":0}`, sub.SID, sub.After)
		c.hear()
	}
}

func TestCloseCodesSayWhetherToComeBack(t *testing.T) {
	for code, want := range map[int]error{
		1000: nil, 1001: nil, 1011: nil, 1012: nil, 4409: nil, 4429: nil, 4999: nil,
		4401: client.ErrRefused, 4403: client.ErrRefused,
		4400: client.ErrProtocol, 1003: client.ErrProtocol, 1007: client.ErrProtocol, 1009: client.ErrProtocol,
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			f := follow(t, dial(t, scripted(t, nil, talkOf(func(c *conversation) {
				c.say(welcome)
				c.hear()
				c.end(code)
			}))), engine.FollowQuery{Topic: topic, After: "5-5"})
			if want != nil {
				f.ends(want)
				return
			}
			f.one(engine.UpdateInterrupted)
			if u := f.one(engine.UpdateLive); u.Cursor != "5-5" {
				t.Errorf("it comes back to %s", u.Cursor)
			}
		})
	}
}

func TestRefusedHandshakes(t *testing.T) {
	for status, want := range map[int]error{400: engine.ErrInvalid, 401: client.ErrRefused, 403: client.ErrRefused, 404: client.ErrProtocol, 503: nil, 502: nil} {
		var asked atomic.Int64
		handler := http.NewServeMux()
		handler.HandleFunc("/v1/ws", func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			if status != 404 && status != 502 {
				w.Header().Set("Content-Type", "application/problem+json")
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(status)
				fmt.Fprint(w, `{"code":"any","detail":"why"}`)
				return
			}
			w.WriteHeader(status)
		})
		s := httptest.NewServer(handler)
		ctx, cancel := context.WithCancel(soon(t))
		var last error
		for u, err := range dial(t, s.Listener.Addr().String()).Follow(ctx, engine.FollowQuery{Topic: topic}) {
			if last = err; u.Kind == engine.UpdateInterrupted {
				cancel()
			}
		}
		cancel()
		s.Close()
		if want == nil {
			want = context.Canceled
		}
		if !errors.Is(last, want) || asked.Load() == 0 {
			t.Errorf("%d: %v after %d tries, want %v", status, last, asked.Load(), want)
		}
	}
}

func TestGoodbyeSaysWhenToComeBack(t *testing.T) {
	const wait = 300 * time.Millisecond
	said := make(chan time.Time, 1)
	f := follow(t, dial(t, scripted(t, nil, talkOf(func(c *conversation) {
		c.say(welcome)
		c.hear()
		said <- time.Now()
		c.say(`{"type":"goodbye","reason":"draining","reconnect_after_ms":%d}`, wait.Milliseconds())
		c.end(websocket.CloseServiceRestart)
	}))), engine.FollowQuery{Topic: topic, After: "5-5"})
	f.one(engine.UpdateInterrupted)
	f.one(engine.UpdateLive)
	if took := time.Since(<-said); took < wait {
		t.Errorf("it is back after %s, and was asked to wait %s", took, wait)
	}
}

func TestRecordsThatDoNotFollowTheCursorAreAskedForAgain(t *testing.T) {
	record := func(n int) string {
		return fmt.Sprintf(`{"id":"%d-%d","type":"notification.created","time":"2026-11-20T18:02:33.479Z","topic":"user:42","notification":{}}`, n, n)
	}
	heard := make(chan string, 8)
	f := follow(t, dial(t, scripted(t, nil, func(_ int, c *conversation) {
		c.say(welcome)
		first := c.hear()
		heard <- first.Type + first.After
		c.say(`{"type":"subscribed","sid":%q,"mode":"replay","reason":"resumed","cursor":"5-5"}`, first.SID)
		c.say(`{"type":"records","sid":%q,"after":"5-5","cursor":"6-6","records":[%s]}`, first.SID, record(6))
		c.say(`{"type":"records","sid":%q,"after":"7-7","cursor":"8-8","records":[%s]}`, first.SID, record(8))
		gone := c.hear()
		heard <- gone.Type
		second := c.hear()
		heard <- second.Type + second.After
		if second.SID == first.SID || gone.SID != first.SID {
			heard <- "the same sid"
		}
		// What was under way is of the old subscription.
		c.say(`{"type":"records","sid":%q,"after":"6-6","cursor":"9-9","records":[%s]}`, first.SID, record(9))
		c.say(`{"type":"subscribed","sid":%q,"mode":"replay","reason":"resumed","cursor":"6-6"}`, second.SID)
		c.say(`{"type":"records","sid":%q,"after":"6-6","cursor":"8-8","records":[%s,%s]}`, second.SID, record(7), record(8))
		c.hear()
	})), engine.FollowQuery{Topic: topic, After: "5-5"})
	for n := 6; n <= 8; n++ {
		if u := f.one(engine.UpdateRecord); u.Cursor != engine.Cursor(fmt.Sprintf("%d-%d", n, n)) {
			t.Errorf("record %s, want %d-%d", u.Cursor, n, n)
		}
	}
	for _, want := range []string{"subscribe5-5", "unsubscribe", "subscribe6-6"} {
		if got := <-heard; got != want {
			t.Errorf("it sent %s, want %s", got, want)
		}
	}
}

// A gateway whose records never fit is come back to with delays, not asked in a circle.
func TestGatewayThatNeverFitsIsNotAskedInACircle(t *testing.T) {
	f := follow(t, dial(t, scripted(t, nil, func(_ int, c *conversation) {
		c.say(welcome)
		for m := c.hear(); m.Type != ""; m = c.hear() {
			if m.Type == "subscribe" {
				c.say(`{"type":"subscribed","sid":%q,"mode":"replay","reason":"resumed","cursor":"9-9"}`, m.SID)
			}
		}
	})), engine.FollowQuery{Topic: topic, After: "5-5"})
	if u := f.one(engine.UpdateInterrupted); !errors.Is(u.Err, client.ErrProtocol) {
		t.Errorf("the client reports %v", u.Err)
	}
}

// A snapshot that is cut off between two parts, or of which a part is missing, begins anew
// from the cursor that the reader had.
func TestSnapshotThatIsCutOffBeginsAnew(t *testing.T) {
	job := func(n int) json.RawMessage {
		return fmt.Appendf(nil, `{"id":"0701JDG5CW2QK3V9Y7H4N8R6ZT%02d","rev":%d,"type":"x","state":"queued","percent":0}`, n, n)
	}
	part := func(c *conversation, sid string, n int, final bool) {
		c.say(`{"type":"snapshot","sid":%q,"part":%d,"final":%v,"cursor":"2%d-20","more":%q,"jobs":[%s]}`, sid, n, final, n, map[bool]string{true: "live:x"}[final], job(n))
	}
	f := follow(t, dial(t, scripted(t, nil, func(n int, c *conversation) {
		c.say(welcome)
		sub := c.hear()
		c.say(`{"type":"subscribed","sid":%q,"mode":"snapshot","reason":"trimmed","cursor":"20-20"}`, sub.SID)
		if sub.After != "5-5" {
			c.say(`{"type":"error","sid":%q,"code":"invalid","message":"it has lost its cursor"}`, sub.SID)
		}
		part(c, sub.SID, 1, false)
		if n == 1 {
			return // cut between two parts
		}
		part(c, sub.SID, 3, true) // the second is missing
		c.hear()                  // unsubscribe
		if sub = c.hear(); sub.After != "5-5" || sub.Limit != 7 {
			c.say(`{"type":"error","sid":%q,"code":"invalid","message":"it has lost its cursor, or its limit"}`, sub.SID)
		}
		c.say(`{"type":"subscribed","sid":%q,"mode":"snapshot","reason":"trimmed","cursor":"20-20"}`, sub.SID)
		part(c, sub.SID, 1, false)
		part(c, sub.SID, 2, true)
		c.say(`{"type":"live","sid":%q,"cursor":"22-20","replayed":0}`, sub.SID)
		c.hear()
	})), engine.FollowQuery{Topic: topic, After: "5-5", Limit: 7})
	wants := func(part int) {
		t.Helper()
		u := f.one(engine.UpdateSnapshot)
		at := engine.Cursor("5-5")
		if part == 2 {
			at = "22-20"
		}
		if u.Reason != engine.Trimmed || u.Cursor != at || u.Part != part || u.Final != (part == 2) || len(u.Jobs) != 1 ||
			!bytes.Equal(u.Jobs[0].JSON, job(part)) || u.Final != (u.More == "live:x") {
			t.Errorf("the part is %+v, want number %d", u, part)
		}
	}
	wants(1)
	f.one(engine.UpdateInterrupted)
	wants(1)
	wants(1)
	wants(2)
	f.one(engine.UpdateLive)
}

func TestErrorFramesOfASubscription(t *testing.T) {
	for code, want := range map[string]error{
		"forbidden": client.ErrRefused, "not_found": engine.ErrNotFound, "invalid": engine.ErrInvalid,
		"too_many_subscriptions": client.ErrProtocol, "of_the_future": client.ErrProtocol,
	} {
		follow(t, dial(t, scripted(t, nil, func(_ int, c *conversation) {
			c.say(welcome)
			c.say(`{"type":"error","sid":%q,"code":%q,"message":"why"}`, c.hear().SID, code)
			c.hear()
		})), engine.FollowQuery{Topic: topic}).ends(want)
	}
}

func TestFramesThatAreNoneOfTheProtocol(t *testing.T) {
	for name, say := range map[string]string{
		"no JSON":          `hello`,
		"no welcome":       `{"type":"live"}`,
		"an endless frame": `{"type":"welcome","x":"` + strings.Repeat("x", 400<<10) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			follow(t, dial(t, scripted(t, nil, func(_ int, c *conversation) {
				c.say("%s", say)
				c.hear()
			})), engine.FollowQuery{Topic: topic}).ends(client.ErrProtocol)
		})
	}
}
