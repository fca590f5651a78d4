package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// dump gives every key of a server as DUMP serialises it.
func dump(t testing.TB, c *redis.Client) map[string]string {
	t.Helper()
	keys, err := c.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, k := range keys {
		v, err := c.Dump(t.Context(), k).Result()
		if err != nil {
			t.Fatalf("dump %s: %v", k, err)
		}
		all[k] = v
	}
	return all
}

func TestOutOfMemoryMovesNoJob(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t, redistest.WithMaxMemory(8<<20))
	client := server.Client(t)
	e := open(t, server.URL(), spacious)
	ctx := soon(t)
	running, queued := enqueue(t, e), enqueue(t, e)
	p, _ := start(t, e, running, 1)
	p.write(runtime.Report{Type: engine.JobCheckpoint, Tenths: 100, Checkpoint: []byte("first")})
	beats, err := beating(ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	// Fill it with records, as a topic of an owner without retention would.
	for full := false; !full; {
		err := e.Notify(ctx, "team:7", "", fmt.Appendf(nil, `"%s"`, strings.Repeat("x", 15<<10)))
		if full = errors.Is(err, engine.ErrOutOfMemory); err != nil && !full {
			t.Fatal(err)
		}
	}
	// What clients' buffers give back must not let a smaller write through.
	if err := client.ConfigSet(ctx, "maxmemory", "2mb").Err(); err != nil {
		t.Fatal(err)
	}

	report := p.r
	report.Fence.Seq++
	report.Type, report.Tenths, report.Checkpoint = engine.JobCheckpoint, 500, []byte("second")
	end := p.r
	end.Fence.Seq += 2
	end.Type, end.Result = engine.JobSucceeded, []byte(`{"rows":1}`)
	before := dump(t, client)
	for name, write := range map[string]func() error{
		"checkpoint": func() error { _, err := e.Commit(ctx, report); return err },
		"batch":      func() error { _, err := e.Commit(ctx, report, end); return err },
		"start": func() error {
			_, err := e.Commit(ctx, runtime.Report{Type: engine.JobStarted, Job: queued, Fence: runtime.Fence{Attempt: 1, Token: "x", Seq: 1}})
			return err
		},
		"enqueue": func() error {
			_, err := e.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "export", Key: "once"})
			return err
		},
		"cancel": func() error { return e.Cancel(ctx, running) },
		"stall":  func() error { _, err := e.Stall(ctx, running, beats[running]); return err },
		"fail":   func() error { return e.Fail(ctx, queued, 1, engine.JobError{Code: "error", Message: "no"}) },
		"notify": func() error { return e.Notify(ctx, "user:42", "once", []byte(`{}`)) },
	} {
		if err := write(); !errors.Is(err, engine.ErrOutOfMemory) {
			t.Errorf("%s: %v, want ErrOutOfMemory", name, err)
		}
		after := dump(t, client)
		if !maps.Equal(before, after) {
			t.Errorf("%s was refused, and changed %v", name, changed(before, after))
		}
	}
	// Readers are not refused.
	if page, err := e.Replay(ctx, "user:42", engine.Beginning); err != nil || len(page.Entries) != 4 {
		t.Errorf("replay gave %d records, %v; want 4", len(page.Entries), err)
	}

	if err := client.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	acks, err := e.Commit(ctx, report, end)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range acks {
		if a.Err != nil || a.Duplicate {
			t.Errorf("with room again, report %d was answered %+v", i, a)
		}
	}
	v, err := e.Job(ctx, running)
	if err != nil {
		t.Fatal(err)
	}
	if j, err := v.Job(); err != nil || j.State != engine.Succeeded || j.Rev != acks[1].ID.N() {
		t.Errorf("the job is %s, %v", v.JSON, err)
	}
}

func changed(before, after map[string]string) []string {
	var keys []string
	for k, v := range after {
		if before[k] != v {
			keys = append(keys, k)
		}
	}
	for k := range before {
		if _, ok := after[k]; !ok {
			keys = append(keys, "gone: "+k)
		}
	}
	slices.Sort(keys)
	return keys
}

// What Open says of a Redis that it cannot use.
func TestOpenNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	stalled := redistest.NewProxy(t, server.Addr())
	stalled.Stall()
	unread := stalled.URL() + "?read_timeout=1h" // the context alone ends a read
	refusing := redistest.NewProxy(t, server.Addr())
	refusing.Refuse()
	locked := redistest.Server(t, redistest.WithSettings("requirepass secret"))
	replica := redistest.Server(t, redistest.WithReplicaOf(server))
	evicting := redistest.Server(t, redistest.WithSettings("maxmemory-policy allkeys-lru"))
	withPassword := "redis://:wrong@" + locked.Addr() + "/0"
	for name, c := range map[string]struct {
		o    engine.Options
		want error
		says string
	}{
		"nobody listens":    {engine.Options{URL: refusing.URL()}, engine.ErrUnreachable, "refused"},
		"no answer":         {engine.Options{URL: unread}, engine.ErrUnreachable, "connect to Redis"},
		"no such socket":    {engine.Options{URL: "unix://" + t.TempDir() + "/none.sock"}, engine.ErrUnreachable, "none.sock"},
		"a replica":         {engine.Options{URL: replica.URL()}, engine.ErrUnreachable, "replica"},
		"no password":       {engine.Options{URL: locked.URL()}, nil, "NOAUTH"},
		"a wrong password":  {engine.Options{URL: withPassword}, nil, "WRONGPASS"},
		"may evict":         {engine.Options{URL: evicting.URL()}, engine.ErrEviction, "allkeys-lru"},
		"a URL of no form":  {engine.Options{URL: "localhost:6379"}, engine.ErrInvalid, "redis://"},
		"a shard too many":  {engine.Options{URL: server.URL(), Shards: 101}, engine.ErrInvalid, "Shards 101"},
		"waits for Cluster": {engine.Options{URL: "redis+cluster://127.0.0.1:1", WaitReplicas: 1}, engine.ErrInvalid, "WaitReplicas"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := soon(t)
			if c.o.URL == unread {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Second)
				defer cancel()
			}
			opened := make(chan error, 1)
			go func() {
				e, err := engine.Open(ctx, c.o)
				if err == nil {
					err = fmt.Errorf("it opened: %w", e.Close())
				}
				opened <- err
			}()
			var err error
			select {
			case err = <-opened:
			case <-soon(t).Done():
				t.Fatal("it does not end with its context")
			}
			if c.want != nil && !errors.Is(err, c.want) || c.want == nil && errors.Is(err, engine.ErrUnreachable) {
				t.Errorf("%v is not to be branched on as %v", err, c.want)
			}
			if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "wrong@") || strings.Contains(err.Error(), ":wrong") {
				t.Errorf("%q, want something about %q", err, c.says)
			}
		})
	}
}

func TestCommitWhileRedisIsAwayMayBeSentAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	proxy := redistest.NewProxy(t, server.Addr())
	e := open(t, proxy.URL(), func(o *engine.Options) { o.CommitTimeout = 2 * time.Second })
	ctx := soon(t)
	job := enqueue(t, e)
	p, _ := start(t, e, job, 1)
	report := p.r
	report.Fence.Seq, report.Type, report.Tenths = 2, engine.JobProgress, 10

	// Its answer is lost: it happened, and is recognised.
	proxy.StallReplies()
	if _, err := e.Commit(ctx, report); !errors.Is(err, engine.ErrUnreachable) {
		t.Fatalf("without an answer: %v, want ErrUnreachable", err)
	}
	proxy.CutAll()
	proxy.Unstall()
	acks, err := e.Commit(ctx, report)
	if err != nil || acks[0].Err != nil || !acks[0].Duplicate || acks[0].ID == "" {
		t.Fatalf("sent again: %+v, %v; want the answer of the first time", acks, err)
	}

	// It never arrives: it did not happen.
	proxy.Refuse()
	proxy.CutAll()
	report.Fence.Seq = 3
	if _, err := e.Commit(ctx, report); !errors.Is(err, engine.ErrUnreachable) {
		t.Fatalf("without a connection: %v, want ErrUnreachable", err)
	}
	proxy.Accept()
	if acks, err = e.Commit(ctx, report); err != nil || acks[0].Err != nil || acks[0].Duplicate {
		t.Fatalf("sent again: %+v, %v; want it committed", acks, err)
	}
}

// One outage is said once, and ends by itself.
func TestFollowSaysOnceThatRedisIsAway(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	proxy := redistest.NewProxy(t, server.Addr())
	options := sharing(nil)
	producer, follower := with(t, server.URL(), options), with(t, proxy.URL(), options)
	job := enqueue(t, producer)
	p, _ := start(t, producer, job, 1)
	ctx := soon(t)
	next := pull(t, ctx, follower, engine.FollowQuery{Topic: "user:42"})
	await(t, next, engine.UpdateLive)
	for round := range 2 {
		proxy.Refuse()
		proxy.CutAll()
		before, u := await(t, next, engine.UpdateInterrupted)
		if len(before) > 0 || !errors.Is(u.Err, engine.ErrUnreachable) {
			t.Fatalf("round %d: %d updates, then %v; want ErrUnreachable at once", round, len(before), u.Err)
		}
		id := p.write(runtime.Report{Type: engine.JobStage, Shown: &runtime.Shown{}}).ID
		proxy.Accept()
		before, u = await(t, next, engine.UpdateLive)
		if len(before) != 1 || before[0].Cursor != id || u.Cursor != id {
			t.Fatalf("round %d: then came %+v and live at %s; want record %s alone", round, before, u.Cursor, id)
		}
	}
}

func TestFollowEndsAsItSays(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	e := open(t, server.URL(), nil)
	job, other := enqueue(t, e), enqueue(t, e)
	p, _ := start(t, e, job, 1)
	q, _ := start(t, e, other, 1)
	p.write(runtime.Report{Type: engine.JobProgress, Tenths: 5})
	q.write(runtime.Report{Type: engine.JobProgress, Tenths: 5})
	end := p.write(runtime.Report{Type: engine.JobSucceeded}).ID
	q.write(runtime.Report{Type: engine.JobProgress, Tenths: 6})
	unknown := another(job)
	why := errors.New("enough")
	canceled, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for name, c := range map[string]struct {
		ctx     context.Context //nolint:containedctx // a case of a table
		q       engine.FollowQuery
		want    error
		records int
	}{
		"the job has ended: its records":         {soon(t), engine.FollowQuery{Filter: engine.Filter{Job: job}, After: engine.Beginning}, errDone, 4},
		"the job has ended: a snapshot":          {soon(t), engine.FollowQuery{Filter: engine.Filter{Job: job}}, errDone, 0},
		"the job has ended: its end is held":     {soon(t), engine.FollowQuery{Filter: engine.Filter{Job: job}, After: end}, errDone, 0},
		"no such job":                            {soon(t), engine.FollowQuery{Filter: engine.Filter{Job: unknown}}, engine.ErrNotFound, 0},
		"a job of a shard that there is not":     {soon(t), engine.FollowQuery{Filter: engine.Filter{Job: "99" + job[2:]}}, engine.ErrNotFound, 0},
		"no job ID":                              {soon(t), engine.FollowQuery{Filter: engine.Filter{Job: "x"}}, engine.ErrInvalidJobID, 0},
		"no topic":                               {soon(t), engine.FollowQuery{}, engine.ErrInvalidTopic, 0},
		"no cursor":                              {soon(t), engine.FollowQuery{Topic: "user:42", After: "12"}, engine.ErrInvalidCursor, 0},
		"the context's cause":                    {canceled, engine.FollowQuery{Topic: "user:42"}, why, 0},
		"the context's cause, with all received": {canceled, engine.FollowQuery{Topic: "user:42", After: engine.Beginning}, why, -1},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(c.ctx, time.Minute)
			defer stop()
			next := pull(t, ctx, e, c.q)
			records := 0
			for {
				u, err := next()
				if err == nil {
					if u.Kind == engine.UpdateRecord {
						records++
						if c.q.Filter.Job != "" && u.Entry.JobID() != c.q.Filter.Job {
							t.Errorf("a record of job %s was given", u.Entry.JobID())
						}
					}
					continue
				}
				if !errors.Is(err, c.want) {
					t.Errorf("it ended with %v, want %v", err, c.want)
				}
				if c.records >= 0 && records != c.records {
					t.Errorf("%d records were given, want %d", records, c.records)
				}
				break
			}
		})
	}
}

// Close ends every Follow at once, wherever it is.
func TestCloseEndsFollowers(t *testing.T) {
	for name, c := range map[string]struct {
		until  engine.UpdateKind
		before func(*redistest.Proxy)
	}{
		"that wait":                   {engine.UpdateLive, func(*redistest.Proxy) {}},
		"that read pages":             {engine.UpdateRecord, func(*redistest.Proxy) {}},
		"that wait for a Redis":       {engine.UpdateLive, func(p *redistest.Proxy) { p.Refuse(); p.CutAll() }},
		"of a Redis that is silent":   {engine.UpdateLive, (*redistest.Proxy).Stall},
		"of a Redis that lost a page": {engine.UpdateRecord, (*redistest.Proxy).Stall},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Server(t)
			proxy := redistest.NewProxy(t, server.Addr())
			options := sharing(nil)
			producer, e := with(t, server.URL(), options), with(t, proxy.URL(), options)
			p, _ := start(t, producer, enqueue(t, producer), 1)
			for range 600 { // two pages
				p.write(runtime.Report{Type: engine.JobProgress, Tenths: 5})
			}
			ready, ended := make(chan struct{}), make(chan error, 1)
			proceed := make(chan struct{})
			go func() {
				var last error
				first := true
				for u, err := range e.Follow(t.Context(), engine.FollowQuery{Topic: "user:42", After: engine.Beginning}) {
					if last = err; err == nil && u.Kind == c.until && first {
						first = false
						close(ready)
						if c.until == engine.UpdateRecord {
							<-proceed // in the middle of a page
						}
					}
				}
				ended <- last
			}()
			<-ready
			c.before(proxy)
			closed := make(chan error, 1)
			go func() { closed <- e.Close() }()
			if c.until == engine.UpdateRecord {
				if err := <-closed; err != nil {
					t.Error(err)
				}
				close(proceed)
			} else if err := <-closed; err != nil {
				t.Error(err)
			}
			if err := <-ended; !errors.Is(err, engine.ErrClosed) {
				t.Errorf("the follower ended with %v, want ErrClosed", err)
			}
		})
	}
}

func TestFlushedScriptsAreLoadedAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	client := server.Client(t)
	e := open(t, server.URL(), nil)
	ctx := soon(t)
	job := enqueue(t, e)
	p, _ := start(t, e, job, 1)
	flush := func() {
		t.Helper()
		if err := client.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
	}
	beat := func() []runtime.Flag {
		flags, err := e.Heartbeat(ctx, []runtime.Beat{{Job: job, Attempt: 1, Token: p.r.Fence.Token}})
		if err != nil {
			t.Fatal(err)
		}
		return flags
	}
	flush()
	if got := p.write(runtime.Report{Type: engine.JobProgress, Tenths: 5}); got.Err != nil || got.Duplicate {
		t.Errorf("a commit was answered %+v", got)
	}
	flush()
	if flags := beat(); flags[0] != runtime.FlagNone {
		t.Errorf("a heartbeat was answered %q", flags)
	}
	flush()
	if page, err := e.Replay(ctx, "user:42", engine.Beginning); err != nil || len(page.Entries) != 3 {
		t.Errorf("a replay gave %d records, %v; want 3", len(page.Entries), err)
	}
	flush()
	if s, err := e.Snapshot(ctx, "user:42", ""); err != nil || len(s.Jobs) != 1 {
		t.Errorf("a snapshot gave %d jobs, %v; want 1", len(s.Jobs), err)
	}
	// Many at once, in one pipeline.
	flush()
	l := newLoad(ctx, e, 3, nil)
	if err := errors.Join(l.write(ctx, e, 1, 3, 60), l.settle(ctx, e), l.check(nil)); err != nil {
		t.Error(err)
	}
}
