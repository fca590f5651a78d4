package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

const hour = time.Hour

// downloading is a watched download of alice's, and how its requests report.
type downloading struct {
	t   testing.TB
	ctx context.Context //nolint:containedctx // of the test, as t is
	e   *engine.Rig
	wire.Download
}

func newDownload(t testing.TB, ctx context.Context, e *engine.Rig, size int64) *downloading {
	t.Helper()
	d, err := e.BeginDownload(ctx, "user:42", wire.Artifact{ID: "0701.a.csv", Size: size}, "alice", time.Time{}, hour)
	must(t, err)
	return &downloading{t, ctx, e, d}
}

// wrote reports what a request has written, and gives the download then.
func (d *downloading) wrote(request string, from, to int64, final bool) wire.Download {
	d.t.Helper()
	got, _, err := d.e.Downloaded(d.ctx, d.ID, runtime.Writing{Request: request, From: from, To: to, Final: final}, hour, hour)
	must(d.t, err)
	return got
}

// cut reports the end of a request, with bytes of which nobody knows whether they were written.
func (d *downloading) cut(request string, from, to, unsure int64) {
	d.t.Helper()
	w := runtime.Writing{Request: request, From: from, To: to, Final: true, Unsure: unsure}
	_, _, err := d.e.Downloaded(d.ctx, d.ID, w, hour, hour)
	must(d.t, err)
}

func (d *downloading) now() wire.Download {
	d.t.Helper()
	got, err := d.e.Download(d.ctx, d.ID, "alice")
	must(d.t, err)
	return got
}

// testDownloads has downloads complete by ranges in any order, of several requests. Those who follow the
// topic get their records, which no stream has.
func testDownloads(t *testing.T, ctx context.Context, e *engine.Rig) {
	const topic = engine.Topic("user:42")
	head, err := e.Replay(ctx, topic, engine.Beginning)
	must(t, err)
	following, stop := context.WithCancel(ctx)
	live, records, followed := make(chan struct{}, 1000), make(chan engine.Record, 1000), make(chan struct{})
	go func() {
		defer close(followed)
		for u, err := range e.Follow(following, engine.FollowQuery{Topic: topic, After: head.Head}) {
			switch {
			case err != nil:
				return
			case u.Kind == engine.UpdateLive:
				live <- struct{}{}
			case u.Kind == engine.UpdateRecord:
				r, err := u.Entry.Record()
				if err != nil || r.ID != "" || u.Cursor != head.Head || r.Download == nil || r.Topic != topic {
					t.Errorf("got %s at %s, %v", u.Entry.JSON, u.Cursor, err)
				}
				records <- r
			}
		}
	}()
	defer func() {
		stop()
		<-followed
	}()
	<-live
	download := func() (got []engine.Record) {
		d := newDownload(t, ctx, e, 1000)
		for i, step := range []struct{ from, to, want int64 }{
			{100, 200, 100}, {400, 500, 200}, {150, 200, 200}, {150, 450, 400}, {0, 0, 400}, {900, 5000, 500}, {0, 100, 600}, {600, 700, 700}, {500, 899, 999},
		} {
			if v := d.wrote(fmt.Sprint("r", i%3), step.from, step.to, i%2 == 0); v.Done != step.want || v.State != wire.DownloadStateRunning {
				t.Errorf("with %d to %d: %+v, want %d", step.from, step.to, v, step.want)
			}
		}
		for range 2 {
			if v := d.wrote("r9", 0, 1000, true); v.Done != 1000 || v.State != wire.DownloadStateCompleted || v.EndedAt.IsZero() || v.Rev != 2 {
				t.Errorf("with all bytes: %+v", v)
			}
		}
		if v := d.now(); v.State != wire.DownloadStateCompleted {
			t.Errorf("read: %+v", v)
		}
		for {
			select {
			case r := <-records:
				if r.Download != nil && r.Download.ID == d.ID {
					got = append(got, r)
				}
				if r.Type == engine.DownloadCompleted && r.Download.ID == d.ID {
					return got
				}
			case <-time.After(time.Second):
				return got
			}
		}
	}
	// The interval of ticks is an hour. A reader whose tail doubts misses records that pass; so there are
	// several tries.
	for {
		got := download()
		if len(got) == 2 && got[0].Type == engine.DownloadStarted && got[1].Type == engine.DownloadCompleted && got[1].Download.Done == 1000 {
			break
		}
		if len(got) > 2 || ctx.Err() != nil || t.Failed() {
			t.Fatalf("%d records: %+v", len(got), got)
		}
	}
	if after, err := e.Replay(ctx, topic, head.Head); err != nil || len(after.Entries) != 0 || after.Head != head.Head {
		t.Errorf("the stream has %+v, %v", after, err)
	}
}

// Ticks come at most one an interval, and what waits for the next is said to be pending.
func TestTicksOfDownloads(t *testing.T) {
	e, ctx := open(t, redistest.Server(t).URL(), nil), minutes(t)
	d := newDownload(t, ctx, e, 1<<40)
	for i, step := range []struct {
		interval time.Duration
		rev      int64
		pending  bool
	}{{hour, 1, true}, {0, 2, false}, {hour, 2, true}, {hour, 2, true}, {0, 3, false}} {
		v, pending, err := e.Downloaded(ctx, d.ID, runtime.Writing{Request: "r", To: int64(i) + 1}, hour, step.interval)
		if err != nil || v.Rev != step.rev || pending != step.pending {
			t.Errorf("report %d has revision %d, pending %v, %v; want %+v", i, v.Rev, pending, err, step)
		}
	}
	// Nothing new is no tick, however much time has passed.
	if v, pending, err := e.Downloaded(ctx, d.ID, runtime.Writing{Request: "r", To: 5}, hour, 0); err != nil || v.Rev != 3 || pending {
		t.Errorf("the same again: %+v, %v, %v", v, pending, err)
	}
}

// A lost gateway has written more than it has reported: where its client goes on, the rest was written.
func TestDownloadsOfLostGateways(t *testing.T) {
	e, ctx := open(t, redistest.Server(t).URL(), nil), minutes(t)
	over := func(d *downloading) wire.Download {
		t.Helper()
		must(t, e.Redis().ZAdd(ctx, e.LeasesKey(), redis.Z{Score: 1, Member: d.ID}).Err(), e.LapseDownloads(ctx))
		return d.now()
	}
	for name, c := range map[string]struct {
		reports func(d *downloading)
		state   wire.DownloadState
		done    int64
	}{
		"resumed elsewhere": {func(d *downloading) {
			d.wrote("a", 0, 400, false)
			d.wrote("b", 450, 1000, true)
		}, wire.DownloadStateCompleted, 1000},
		"resumed twice": {func(d *downloading) {
			d.wrote("a", 0, 400, false)
			d.wrote("b", 450, 500, false)
			d.wrote("c", 620, 1000, true)
		}, wire.DownloadStateCompleted, 1000},
		"resumed, and cut": {func(d *downloading) {
			d.wrote("a", 0, 400, false)
			d.wrote("b", 450, 900, true)
		}, wire.DownloadStateAborted, 850},
		"a second range of a request that lives": {func(d *downloading) {
			d.wrote("a", 0, 400, false)
			d.wrote("b", 500, 1000, false)
			d.wrote("a", 0, 401, false)
			d.wrote("b", 500, 1000, true)
		}, wire.DownloadStateAborted, 901},
		"a request that has ended": {func(d *downloading) {
			d.wrote("a", 0, 400, true)
			d.wrote("b", 500, 1000, true)
		}, wire.DownloadStateAborted, 900},
		"a connection that was cut": {func(d *downloading) {
			d.cut("a", 0, 400, 100)
			d.wrote("b", 450, 1000, true)
		}, wire.DownloadStateCompleted, 1000},
		"a connection that was cut, and a range far behind": {func(d *downloading) {
			d.cut("a", 0, 400, 100)
			d.wrote("b", 501, 1000, true)
		}, wire.DownloadStateAborted, 899},
		"nothing behind it": {func(d *downloading) {
			d.wrote("b", 500, 1000, true)
			d.wrote("a", 0, 400, false)
		}, wire.DownloadStateAborted, 900},
	} {
		d := newDownload(t, ctx, e, 1000)
		c.reports(d)
		if v := d.now(); v.State != wire.DownloadStateRunning {
			t.Errorf("%s: %+v before its lease is over", name, v)
		}
		v := over(d)
		if v.State != c.state || v.Done != c.done || (v.Reason == wire.ReasonLapsed) != (c.state == wire.DownloadStateAborted) {
			t.Errorf("%s: %+v, want it %s at %d", name, v, c.state, c.done)
		}
	}
}

// No user fills Redis with downloads, and nothing of one is kept longer than a day.
func TestBoundsOfDownloads(t *testing.T) {
	t.Parallel()
	e, ctx := open(t, redistest.Server(t).URL(), nil), minutes(t)
	begin := func(subject string, until time.Time) (wire.Download, error) {
		return e.BeginDownload(ctx, "user:42", wire.Artifact{ID: "0701.a.csv", Size: 1 << 40}, subject, until, hour)
	}
	d := newDownload(t, ctx, e, 1<<40)
	for i := range int64(1000) {
		d.wrote("r", 2*i, 2*i+1, true)
	}
	if v := d.now(); v.Done != 128 {
		t.Errorf("of 1000 ranges that do not touch %d count, want 128", v.Done)
	}
	if v := d.wrote("r", 0, 2000, true); v.Done != 2000 {
		t.Errorf("a range over all of them: %d", v.Done)
	}
	for i := range 300 {
		d.wrote(fmt.Sprint("q", i), 0, 1, false)
	}
	if size, err := e.Redis().HStrLen(ctx, e.DownloadKey(d.ID), "q").Result(); err != nil || size == 0 || size > 16<<10 {
		t.Errorf("requests that never end take %d bytes, %v", size, err)
	}

	for range wire.MaxDownloads - 1 {
		_, err := begin("alice", time.Time{})
		must(t, err)
	}
	if _, err := begin("alice", time.Time{}); !errors.Is(err, engine.ErrLimit) {
		t.Errorf("one more than there may be: %v", err)
	}
	if _, err := begin("bob", time.Time{}); err != nil {
		t.Errorf("another user's: %v", err)
	}
	if got, err := e.AbortDownload(ctx, d.ID, wire.ReasonCanceled); err != nil || got.State != wire.DownloadStateAborted || got.Reason != wire.ReasonCanceled {
		t.Errorf("canceled: %+v, %v", got, err)
	}
	if got, err := e.AbortDownload(ctx, d.ID, wire.ReasonLapsed); err != nil || got.Reason != wire.ReasonCanceled {
		t.Errorf("canceled, then lapsed: %+v, %v", got, err)
	}
	for range 2 * wire.MaxDownloads {
		x, err := begin("alice", time.Time{})
		must(t, err)
		_, err = e.AbortDownload(ctx, x.ID, wire.ReasonCanceled)
		must(t, err)
	}
	all, err := e.Downloads(ctx, "alice")
	if err != nil || len(all) != wire.MaxDownloads-1 {
		t.Errorf("%d are running, %v", len(all), err)
	}
	keys, err := e.Redis().Keys(ctx, "*{downloads}*").Result()
	must(t, err)
	if len(keys) > 2*wire.MaxDownloads+5 {
		t.Errorf("Redis has %d keys of downloads", len(keys))
	}
	for _, key := range keys {
		if ttl, err := e.Redis().PTTL(ctx, key).Result(); err != nil || ttl <= 0 || ttl > 24*time.Hour {
			t.Errorf("%s is kept for %s, %v", key, ttl, err)
		}
	}

	// A file that expires ends its download.
	x, err := begin("carol", time.Now().Add(-time.Second))
	must(t, err)
	v, _, err := e.Downloaded(ctx, x.ID, runtime.Writing{Request: "r", To: 1}, hour, 0)
	if err != nil || v.State != wire.DownloadStateAborted || v.Reason != engine.ReasonExpired {
		t.Errorf("of a file that has expired: %+v, %v", v, err)
	}
	for _, id := range []string{"", "x", strings.Repeat("A", 26), x.ID + "A", strings.ToLower(x.ID), "due"} {
		if _, err := e.Download(ctx, id, "carol"); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := e.Download(ctx, x.ID, "bob"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("another user's: %v", err)
	}
	if _, _, err := e.Downloaded(ctx, strings.Repeat("A", 26), runtime.Writing{Request: "r", To: 1}, hour, 0); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("bytes of an unknown one: %v", err)
	}
}
