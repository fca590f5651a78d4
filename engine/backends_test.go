package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// opener opens an engine of a backend, with Options of the test's.
type opener func(t testing.TB, o engine.Options) *engine.Rig

func at(url string) opener {
	return func(t testing.TB, o engine.Options) *engine.Rig { return with(t, url, o) }
}

func TestEngineOnOneRedis(t *testing.T) {
	t.Parallel()
	testEngine(t, at(redistest.Server(t).URL()))
}

func TestEngineOnAUnixSocket(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/redis.sock"
	redistest.Server(t, redistest.WithSettings("unixsocket "+path))
	testEngine(t, at("unix://"+path))
}

func TestEngineOnMiniredis(t *testing.T) {
	t.Parallel()
	testEngine(t, at("redis://"+redistest.Miniredis(t)))
}

func TestEngineOnCluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	testEngine(t, at(nodes.URL()))
	for _, n := range nodes.Each {
		if size, err := n.Client(t).DBSize(t.Context()).Result(); err != nil || size == 0 {
			t.Errorf("the node at %s holds %d keys, %v: the suite does not use it", n.Addr(), size, err)
		}
	}
}

func TestEngineOnSentinel(t *testing.T) {
	t.Parallel()
	testEngine(t, at(redistest.Sentinel(t, 1).URL()))
}

// topicsOf are enough topics that every shard has one.
func topicsOf(kind string) []engine.Topic {
	topics := make([]engine.Topic, 64)
	for i := range topics {
		topics[i] = engine.Topic(fmt.Sprintf("%s:%d", kind, i))
	}
	return topics
}

// testEngine is what an engine does on every Redis that it supports.
func testEngine(t *testing.T, open opener) {
	e := open(t, sharing(spacious))
	for name, test := range map[string]func(*testing.T, context.Context, *engine.Rig){
		"life": testLife, "stall": testStall, "cancel": testCancel, "jobs": testJobs, "notify": testNotify,
		"outbox": testOutbox, "consumer": testConsumer, "checkpoint and resume": testCheckpoint, "heartbeat flags": testHeartbeat, "idempotent batch": testBatch,
		"schedules": testSchedules, "children": testChildren, "queues": testQueues, "remove": testRemove, "downloads": testDownloads,
	} {
		t.Run(name, func(t *testing.T) { test(t, minutes(t), e) })
	}
	t.Run("verdict", func(t *testing.T) { testVerdict(t, minutes(t), open) })
	t.Run("follow", func(t *testing.T) { testFollow(t, minutes(t), open) })
	t.Run("filters", func(t *testing.T) { testFilters(t, minutes(t), open(t, sharing(spacious))) })
}

// must ends a test at the first error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// refused wants a report refused for a reason.
func refused(t testing.TB, ctx context.Context, e *engine.Rig, r runtime.Report, why error) {
	t.Helper()
	acks, err := e.Commit(ctx, r)
	if err != nil || !errors.Is(acks[0].Err, why) {
		t.Errorf("%s of attempt %d was answered %+v, %v; want %v", r.Type, r.Fence.Attempt, acks, err, why)
	}
}

// testChildren tells the children that were made from those that were not, in every shard.
func testChildren(t *testing.T, ctx context.Context, e *engine.Rig) {
	for _, topic := range topicsOf("family") {
		d := newDesk(t, e, topic)
		d.start(1)
		all, plan, err := runtime.PlanFanOut("all", topic, engine.DefaultQueue, []engine.Child{
			{Name: "made", Spec: engine.Spec{Type: "export"}}, {Name: "not", Spec: engine.Spec{Type: "export"}},
		})
		must(t, err, d.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}).Err)
		must(t, e.Spawn(ctx, d.job, d.r.Fence, 0, "all", all[:1]))
		made, err := e.Spawned(ctx, d.job, "all", []string{"made", "not"})
		if err != nil || !slices.Equal(made, []bool{true, false}) {
			t.Fatalf("made %v, %v", made, err)
		}
		must(t, e.Cancel(ctx, d.job), d.write(runtime.Report{Type: engine.JobCanceled}).Err)
	}
	c := newCrowd(t, e, 40) // asynq's tasks may be on another node
	c.all(engine.Queued, 1)
	must(t, e.Pause(ctx, c.job))
	c.all(engine.Paused, 0)
	must(t, e.Resume(ctx, c.job))
	c.all(engine.Queued, 1)
	must(t, e.Cancel(ctx, c.job), c.write(runtime.Report{Type: engine.JobCanceled}).Err)
	c.all(engine.Canceled, 0)
}

func testLife(t *testing.T, ctx context.Context, e *engine.Rig) {
	shards := map[string]bool{}
	for _, topic := range topicsOf("life") {
		spec := engine.Spec{Topic: topic, Type: "export", Key: "one", Title: "Größe \"1\"", Payload: []byte("rows")}
		first, err1 := e.Enqueue(ctx, spec)
		again, err2 := e.Enqueue(ctx, spec)
		must(t, err1, err2)
		if first.Existing || !again.Existing || again.ID != first.ID {
			t.Fatalf("enqueued twice with a key: %+v, %+v", first, again)
		}
		shards[string(first.ID[:2])] = true
		r := runtime.Report{Type: engine.JobStarted, Job: first.ID, Fence: runtime.Fence{Attempt: 1, Token: "a", Seq: 1}}
		acks, err := e.Commit(ctx, r)
		must(t, err, acks[0].Err)
		if s := acks[0].Started; s == nil || s.Type != "export" || string(s.Payload) != "rows" || s.Checkpoint != nil {
			t.Fatalf("attempt 1 was given %+v", s)
		}
		check, fail := r, r
		check.Type, check.Fence.Seq, check.Tenths, check.Checkpoint = engine.JobCheckpoint, 2, 614, []byte("offset")
		fail.Type, fail.Fence.Seq, fail.RetryAt, fail.Retries = engine.JobRetrying, 3, time.Now(), 1
		fail.Error = &engine.JobError{Code: "error", Message: "disk"}
		acks, err = e.Commit(ctx, check, fail)
		must(t, err, acks[0].Err, acks[1].Err)
		same, err := e.Commit(ctx, check, fail)
		must(t, err)
		for i := range same {
			if !same[i].Duplicate || same[i].ID != acks[i].ID {
				t.Fatalf("sent twice, report %d was answered %+v, then %+v", i, acks[i], same[i])
			}
		}
		next := r
		next.Fence = runtime.Fence{Attempt: 2, Token: "b", Seq: 1}
		acks, err = e.Commit(ctx, next)
		must(t, err, acks[0].Err)
		if s := acks[0].Started; string(s.Checkpoint) != "offset" || s.Tenths != 614 || s.Retries != 1 {
			t.Fatalf("attempt 2 was given %+v", s)
		}
		ghost := r
		ghost.Type, ghost.Fence.Seq = engine.JobProgress, 4
		refused(t, ctx, e, ghost, runtime.ErrSuperseded)
		gap, end := next, next
		gap.Type, gap.Fence.Seq = engine.JobProgress, 3
		if acks, err = e.Commit(ctx, gap); err != nil {
			t.Fatal(err)
		}
		if g := (*runtime.GapError)(nil); !errors.As(acks[0].Err, &g) || g.Have != 1 {
			t.Errorf("a report that skips one was answered %+v", acks[0])
		}
		end.Type, end.Fence.Seq, end.Result = engine.JobSucceeded, 2, []byte(`{"rows":3}`)
		acks, err = e.Commit(ctx, end)
		must(t, err, acks[0].Err)
		end.Type, end.Fence.Seq, end.Result = engine.JobFailed, 3, nil
		refused(t, ctx, e, end, engine.ErrEnded)

		v, err := e.Job(ctx, first.ID)
		must(t, err)
		j, err := v.Job()
		must(t, err)
		if j.State != engine.Succeeded || j.Percent != 100 || j.Attempt != 2 || *j.ResumedFrom != 61.4 || j.Rev != acks[0].ID.N() || j.Title != spec.Title || j.Topic != topic {
			t.Errorf("the job is %s", v.JSON)
		}
		page, err := e.Replay(ctx, topic, engine.Beginning)
		must(t, err)
		var types []engine.RecordType
		for _, entry := range page.Entries {
			types = append(types, entry.Type())
		}
		want := []engine.RecordType{engine.JobQueued, engine.JobStarted, engine.JobCheckpoint, engine.JobRetrying, engine.JobResumed, engine.JobSucceeded}
		if !slices.Equal(types, want) || page.Head != acks[0].ID {
			t.Errorf("the topic holds %v up to %s", types, page.Head)
		}
		// The last record and the job's view are the same bytes.
		if last := string(page.Entries[5].JSON); len(last) < len(v.JSON) || last[len(last)-1-len(v.JSON):len(last)-1] != string(v.JSON) {
			t.Errorf("the record\n%s\nends otherwise than the view\n%s", last, v.JSON)
		}
	}
	if len(shards) != e.Shards() {
		t.Errorf("%d shards of %d were used", len(shards), e.Shards())
	}
}

func testStall(t *testing.T, ctx context.Context, e *engine.Rig) {
	ledger := newLedger()
	var hands []*hand
	var beats []runtime.Beat
	for _, topic := range topicsOf("stall")[:20] {
		h := &hand{e: e, ledger: ledger, topic: topic}
		must(t, h.open(ctx), h.begin(ctx, 1))
		hands = append(hands, h)
		beats = append(beats, runtime.Beat{Job: h.r.Job, Attempt: 1, Token: h.r.Fence.Token})
	}
	begun, err := beating(ctx, e)
	must(t, err)
	flags, err := e.Heartbeat(ctx, beats)
	must(t, err)
	for i, f := range flags {
		if f != runtime.FlagNone {
			t.Errorf("beat %d was answered %q", i, f)
		}
	}
	seen, err := beating(ctx, e)
	must(t, err)
	live := map[engine.JobID]bool{}
	for w := paged(e.Walk("test", time.Hour), 1000, 0, time.Minute); ; {
		pages, _, err := w.Next(ctx)
		must(t, err)
		if len(pages) == 0 {
			break
		}
		for _, p := range pages {
			for _, id := range p.Jobs {
				live[id] = true
			}
		}
	}
	for i, h := range hands {
		job := h.r.Job
		if seen[job] == "" || seen[job] == begun[job] || !live[job] {
			t.Fatalf("job %s has beat %q, after %q at its start, live %t", job, seen[job], begun[job], live[job])
		}
		if _, err := e.Stall(ctx, job, begun[job]); !errors.Is(err, runtime.ErrSuperseded) {
			t.Errorf("claimed with an old beat: %v, want ErrSuperseded", err)
		}
		a, err := e.Stall(ctx, job, seen[job])
		if err != nil || a.Attempt != 2 || !a.Waiting || a.Crashes != 1 || a.Topic != h.topic {
			t.Fatalf("claimed: %+v, %v", a, err)
		}
		ghost := h.r
		ghost.Type, ghost.Fence.Seq = engine.JobProgress, ghost.Fence.Seq+1
		refused(t, ctx, e, ghost, runtime.ErrSuperseded)
		if i%2 == 0 {
			must(t, h.begin(ctx, 2), h.write(ctx, runtime.Report{Type: engine.JobSucceeded}))
		} else {
			must(t, e.Fail(ctx, job, 2, engine.JobError{Code: "worker_lost", Message: "twice"}))
		}
	}
	flags, err = e.Heartbeat(ctx, beats)
	must(t, err)
	for i, f := range flags {
		if f != runtime.FlagSuperseded {
			t.Errorf("beat %d of a claimed attempt was answered %q", i, f)
		}
	}
	if seen, err = beating(ctx, e); err != nil || len(seen) != 0 {
		t.Errorf("heartbeats remain: %v, %v", seen, err)
	}
}

func testCancel(t *testing.T, ctx context.Context, e *engine.Rig) {
	for _, topic := range topicsOf("cancel")[:20] {
		waiting, running := &hand{e: e, ledger: newLedger(), topic: topic}, &hand{e: e, ledger: newLedger(), topic: topic}
		must(t, waiting.open(ctx), running.open(ctx), running.begin(ctx, 1))
		must(t, e.Cancel(ctx, waiting.r.Job), e.Cancel(ctx, running.r.Job), e.Cancel(ctx, running.r.Job))
		if err := e.Cancel(ctx, waiting.r.Job); !errors.Is(err, engine.ErrEnded) {
			t.Errorf("canceling an ended job: %v, want ErrEnded", err)
		}
		flags, err := e.Heartbeat(ctx, []runtime.Beat{{Job: running.r.Job, Attempt: 1, Token: running.r.Fence.Token}})
		if err != nil || flags[0] != runtime.FlagCanceling {
			t.Errorf("a heartbeat brought %v, %v", flags, err)
		}
		must(t, running.write(ctx, runtime.Report{Type: engine.JobCanceled}))
		for _, id := range []engine.JobID{waiting.r.Job, running.r.Job} {
			v, err := e.Job(ctx, id)
			must(t, err)
			if j, err := v.Job(); err != nil || j.State != engine.Canceled || j.Canceling {
				t.Errorf("the job is %s", v.JSON)
			}
		}
	}
}

func testJobs(t *testing.T, ctx context.Context, e *engine.Rig) {
	for _, topic := range topicsOf("jobs")[:8] {
		var want []engine.JobID // live ones, newest first, then ended ones, last ended first
		for i := range 7 {
			h := &hand{e: e, ledger: newLedger(), topic: topic}
			must(t, h.open(ctx))
			if i < 4 {
				must(t, h.begin(ctx, 1), h.write(ctx, runtime.Report{Type: engine.JobSucceeded}))
			}
			want = append([]engine.JobID{h.r.Job}, want...)
		}
		for _, limit := range []int{1, 3, 7, 100} {
			var got []engine.JobID
			q := engine.JobsQuery{Limit: limit}
			for range 8 {
				page, err := e.Jobs(ctx, topic, q)
				must(t, err)
				if len(page.Jobs) > limit {
					t.Fatalf("a page of %d holds %d", limit, len(page.Jobs))
				}
				for _, v := range page.Jobs {
					got = append(got, v.ID)
				}
				if q.After = page.Next; q.After == "" {
					break
				}
			}
			// Live jobs of one millisecond have no order.
			slices.SortFunc(got[:min(3, len(got))], func(a, b engine.JobID) int { return slices.Index(want, a) - slices.Index(want, b) })
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d give %v, want %v", limit, got, want)
			}
		}
	}
}

func testNotify(t *testing.T, ctx context.Context, e *engine.Rig) {
	for _, topic := range topicsOf("notify")[:20] {
		for range 2 {
			must(t, e.Notify(ctx, topic, "invoice", []byte(`{"n":1}`)), e.Notify(ctx, topic, "", []byte(`{"n":2}`)))
		}
		page, err := e.Replay(ctx, topic, engine.Beginning)
		must(t, err)
		if len(page.Entries) != 3 {
			t.Errorf("%d notifications are there, want 3", len(page.Entries))
		}
		r, err := page.Entries[0].Record()
		if err != nil || r.Type != engine.NotificationCreated || string(r.Notification) != `{"n":1}` || r.Job != nil {
			t.Errorf("the first is %+v, %v", r, err)
		}
	}
}

// testFollow writes with one engine and reads with another, all shards at once.
func testFollow(t *testing.T, ctx context.Context, open opener) {
	options := sharing(spacious)
	producer, follower := open(t, options), open(t, options)
	l := newLoad(ctx, follower, scale(24, 200), nil)
	must(t, l.write(ctx, producer, rand.Uint64(), 2, scale(30, 300)), l.settle(ctx, producer), l.check(nil), l.truth(ctx, producer))
	for topic, r := range l.readers {
		if len(r.gaps) > 0 {
			t.Errorf("%s: a gap was declared: %v", topic, r.declared())
		}
	}
}

// A failover under load, measured: what Redis had acknowledged and does not hold
// afterwards is the loss window. Runs and readers hear of all that is lost, and
// come to hold what is. The primary is killed with its replica in step, or with a
// replica that a partition had cut off shortly before.
func TestSentinelFailoverUnderLoad(t *testing.T) {
	for _, apart := range []bool{false, true} {
		for _, replicas := range []int{0, 1} {
			t.Run(fmt.Sprintf("apart=%t,WaitReplicas=%d", apart, replicas), func(t *testing.T) {
				t.Parallel()
				testFailover(t, apart, replicas)
			})
		}
	}
}

func testFailover(t *testing.T, apart bool, replicas int) {
	group := redistest.Sentinel(t, 1)
	options := sharing(spacious)
	options.WaitReplicas, options.WaitTimeout, options.CommitTimeout = replicas, 20*time.Millisecond, time.Second
	producer := with(t, group.URL(), options)
	options.WaitReplicas = 0
	follower := with(t, group.URL(), options)
	primary := group.Primary().Client(t)
	ctx := minutes(t)
	topics, jobs, n := 4, 4, scale(400, 4000)
	l := newLoad(ctx, follower, topics, nil)
	l.ahead = true
	wrote := make(chan error, 1)
	go func() { wrote <- l.write(ctx, producer, rand.Uint64(), jobs, n) }()
	reached := func(count int) {
		t.Helper()
		must(t, l.ledger.await(ctx, func() bool { return len(l.ledger.facts) >= count }))
	}
	reached(topics * jobs * n / 4)
	// A job whose acceptance is lost is gone, and its run cannot go on.
	must(t, l.ledger.await(ctx, func() bool { return l.ledger.made() == topics*jobs }), replicated(ctx, primary))
	from := time.Now()
	if apart {
		must(t, primary.Do(ctx, "ACL", "SETUSER", "default", "-psync", "-sync").Err())
		must(t, primary.Do(ctx, "CLIENT", "KILL", "TYPE", "replica").Err())
		reached(l.ledger.len() + 200)
		// A reader that has read nothing of what is lost has nothing to be told. Up to 50 records of a topic
		// were on their way to Redis when the replica was cut off.
		for topic, r := range l.readers {
			l.ledger.mu.Lock()
			cut := l.ledger.wrote[topic]
			l.ledger.mu.Unlock()
			must(t, r.await(ctx, func() bool { return len(r.given) >= cut+50 }))
			break
		}
	}
	var killed time.Time
	group.FailoverBy(func(r *redistest.Redis) {
		killed = time.Now()
		r.Kill()
	})
	must(t, <-wrote, l.settle(ctx, producer))

	lost, err := l.lost(ctx, producer)
	must(t, err)
	gone := map[engine.Topic]map[engine.Cursor]bool{}
	oldest := killed
	milestones, promised := 0, 0
	for _, f := range lost {
		if gone[f.topic] == nil {
			gone[f.topic] = map[engine.Cursor]bool{}
		}
		gone[f.topic][f.id] = true
		if f.at.Before(oldest) {
			oldest = f.at
		}
		if !f.kind.Tick() {
			milestones++
			if replicas > 0 && !f.alone {
				promised++
			}
		}
	}
	if promised > 0 {
		t.Errorf("%d lost milestones had been acknowledged by the replica that took over", promised)
	}
	// Lost ones apart, everything that was acknowledged is held. Where the
	// acknowledgement does not tell an ID, it may be of what was lost.
	must(t, l.check(func(f fact) bool {
		return gone[f.topic][f.id] || (f.id == "" && !f.at.Before(oldest))
	}), l.truth(ctx, producer))
	gaps, rescues, rewritten := l.recovered()
	alone, interrupted := 0, 0
	for _, h := range l.hands {
		alone += h.unreplicated
	}
	for _, r := range l.readers {
		interrupted += r.kinds[engine.UpdateInterrupted]
	}
	if apart && (len(lost) == 0 || gaps+rescues == 0 || rewritten == 0) {
		t.Errorf("a replica that was cut off took over: %d records lost, %d runs and %d readers told", len(lost), gaps+rescues, rewritten)
	}
	t.Logf("failover with the replica apart=%t for %v, WaitReplicas=%d: %d of %d acknowledged records lost (%d milestones, %d of them acknowledged by the replica), "+
		"the oldest acknowledged %v before the kill; %d gaps, %d rescues, %d readers told, %d interrupted, %d batches unreplicated",
		apart, killed.Sub(from).Round(time.Millisecond), replicas, len(lost), l.ledger.len(), milestones, promised, killed.Sub(oldest).Round(time.Millisecond),
		gaps, rescues, rewritten, interrupted, alone)
}
