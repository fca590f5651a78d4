package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// onEachRedis runs a test on a real Redis and on the embedded one.
func onEachRedis(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) { test(t, redistest.Server(t).URL()) })
	t.Run("miniredis", func(t *testing.T) { test(t, "redis://"+redistest.Miniredis(t)+"/0") })
}

// A desk is one job in a topic of its own, and a worker's hand on it.
type desk struct {
	*pen
	topic engine.Topic
	job   engine.JobID
	held  engine.Cursor
}

func newDesk(t testing.TB, e *engine.Rig, topic engine.Topic) *desk {
	t.Helper()
	got, err := e.Enqueue(soon(t), engine.Spec{Topic: topic, Type: "export", Payload: "x"})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{pen: &pen{t: t, e: e, r: runtime.Report{Job: got.ID}}, topic: topic, job: got.ID, held: engine.Beginning}
	d.news()
	return d
}

// start begins an attempt.
func (d *desk) start(attempt int) runtime.Ack {
	d.r.Fence = runtime.Fence{Attempt: attempt, Token: runtime.NewToken()}
	return d.write(runtime.Report{Type: engine.JobStarted})
}

// news gives the types of the records since it was last asked.
func (d *desk) news() (types []engine.RecordType) {
	d.t.Helper()
	page, err := d.e.Replay(soon(d.t), d.topic, d.held)
	if err != nil || page.Verdict != engine.Resumed {
		d.t.Fatalf("replay: %+v, %v", page, err)
	}
	for _, e := range page.Entries {
		types = append(types, e.Type())
	}
	d.held = page.Head
	return types
}

// view reads the job.
func (d *desk) view() engine.Job {
	d.t.Helper()
	v, err := d.e.Job(soon(d.t), d.job)
	if err != nil {
		d.t.Fatal(err)
	}
	j, err := v.Job()
	if err != nil {
		d.t.Fatalf("%v in %s", err, v.JSON)
	}
	return j
}

func TestARepeatedBatchIsAnsweredAsItWas(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		d := newDesk(t, e, "user:42")
		d.start(1)
		batch := make([]runtime.Report, 5)
		for i := range batch {
			d.r.Fence.Seq++
			batch[i] = runtime.Report{Type: engine.JobProgress, Job: d.job, Fence: d.r.Fence, Tenths: 10 * i}
		}
		first, err := e.Commit(soon(t), batch...)
		if err != nil {
			t.Fatal(err)
		}
		again, err := e.Commit(soon(t), batch...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range batch {
			if first[i].Err != nil || first[i].Duplicate || again[i].Err != nil || !again[i].Duplicate || again[i].ID != first[i].ID {
				t.Errorf("report %d: first %+v, again %+v", i, first[i], again[i])
			}
		}
		part, err := e.Commit(soon(t), batch[3:]...)
		if err != nil || part[0].ID != first[3].ID || part[1].ID != first[4].ID {
			t.Errorf("part of it: %+v, %v", part, err)
		}
		// A batch that is longer the second time: what is new is committed.
		d.r.Fence.Seq++
		more, err := e.Commit(soon(t), batch[4], runtime.Report{Type: engine.JobProgress, Job: d.job, Fence: d.r.Fence})
		if err != nil || !more[0].Duplicate || more[0].ID != first[4].ID || more[1].Duplicate || more[1].Err != nil {
			t.Errorf("with one more: %+v, %v", more, err)
		}
		if got := d.news(); len(got) != 1+5+1 {
			t.Errorf("%d records, want 7: %v", len(got), got)
		}
	})
}

func TestABatchIsRefusedFromWhereItStopsBeingTrue(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		d := newDesk(t, e, "user:42")
		d.start(1)
		report := func(kind engine.RecordType, seq uint64) runtime.Report {
			f := d.r.Fence
			f.Seq = seq
			return runtime.Report{Type: kind, Job: d.job, Fence: f}
		}
		acks, err := e.Commit(soon(t), report(engine.JobProgress, 2), report(engine.JobProgress, 4), report(engine.JobProgress, 3),
			report(engine.JobSucceeded, 4), report(engine.JobProgress, 5))
		if err != nil {
			t.Fatal(err)
		}
		var gap *runtime.GapError
		if acks[0].Err != nil || !errors.As(acks[1].Err, &gap) || gap.Have != 2 || acks[2].Err != nil || acks[3].Err != nil || !errors.Is(acks[4].Err, engine.ErrEnded) {
			t.Errorf("answers %+v", acks)
		}
		want := "[job.started job.progress job.progress job.succeeded]"
		if got := fmt.Sprint(d.news()); got != want {
			t.Errorf("records %s, want %s", got, want)
		}
	})
}

// A key that is not what the engine made it fails the topic that it is of, and
// nothing else that travels with it.
func TestAForeignKeyFailsOnlyItsTopic(t *testing.T) {
	// They share a shard, and so a call.
	const good, bad engine.Topic = "user:good", "user:bad"
	for _, key := range []string{"s:" + string(bad), "m:" + string(bad), "x:" + string(bad), "j:"} {
		t.Run(strings.TrimSuffix(key, ":"+string(bad)), func(t *testing.T) {
			onEachRedis(t, func(t *testing.T, url string) {
				e := open(t, url, func(o *engine.Options) { o.Shards = 1 })
				a, b := newDesk(t, e, good), newDesk(t, e, bad)
				a.start(1)
				b.start(1)
				a.news()
				before := b.view()
				name := key
				if key == "j:" {
					name += string(b.job)
				}
				full := keyOf(t, e, "{00}:"+name)
				client := e.Redis()
				if err := client.Rename(soon(t), full, full+".kept").Err(); err != nil {
					t.Fatal(err)
				}
				if err := client.Set(soon(t), full, "a string", 0).Err(); err != nil {
					t.Fatal(err)
				}
				var answered sync.WaitGroup
				ends := func(d *desk, acks *[]runtime.Ack, err *error) {
					r := d.r
					r.Type, r.Fence.Seq = engine.JobSucceeded, r.Fence.Seq+1
					answered.Add(1)
					if e := e.Submit([]runtime.Report{r}, func(a []runtime.Ack, e error) { *acks, *err = a, e; answered.Done() }); e != nil {
						t.Fatal(e)
					}
				}
				var goodAcks, badAcks []runtime.Ack
				var goodErr, badErr error
				e.Batch(func() {
					ends(b, &badAcks, &badErr)
					ends(a, &goodAcks, &goodErr)
				})
				answered.Wait()
				if goodErr != nil || goodAcks[0].Err != nil {
					t.Errorf("the other topic's report: %+v, %v", goodAcks, goodErr)
				} else if got := fmt.Sprint(a.news()); got != "[job.succeeded]" {
					t.Errorf("the other topic's records: %s", got)
				}
				if badErr == nil && badAcks[0].Err == nil {
					t.Errorf("the report was accepted: %+v", badAcks)
				}
				if err := client.Rename(soon(t), full+".kept", full).Err(); err != nil {
					t.Fatal(err)
				}
				if after := b.view(); after.Rev != before.Rev || after.State != before.State {
					t.Errorf("the job moved: %+v", after)
				}
				b.r.Fence.Seq = 1
				if ack := b.write(runtime.Report{Type: engine.JobSucceeded}); ack.Err != nil || ack.Duplicate {
					t.Errorf("after its key was put right: %+v", ack)
				}
				if got := fmt.Sprint(b.news()); got != "[job.started job.succeeded]" {
					t.Errorf("after its key was put right: records %s", got)
				}
			})
		})
	}
}

// keyOf finds the one key of the engine that ends so.
func keyOf(t testing.TB, e *engine.Rig, suffix string) string {
	t.Helper()
	names, err := e.Redis().Keys(soon(t), e.Namespace()+":*"+suffix).Result()
	if err != nil || len(names) != 1 {
		t.Fatalf("keys that end in %s: %v, %v", suffix, names, err)
	}
	return names[0]
}

func TestNothingMovesWhenMemoryIsShort(t *testing.T) {
	s := redistest.Server(t)
	e := open(t, s.URL(), nil)
	d := newDesk(t, e, "user:42")
	d.start(1)
	d.news()
	before := d.view()
	set := func(limit string) {
		if err := s.Client(t).ConfigSet(soon(t), "maxmemory", limit).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("1")
	r := d.r
	r.Type, r.Fence.Seq = engine.JobSucceeded, 2
	if _, err := e.Commit(soon(t), r); !errors.Is(err, engine.ErrOutOfMemory) {
		t.Errorf("commit: error %v, want %v", err, engine.ErrOutOfMemory)
	}
	if _, err := e.Enqueue(soon(t), engine.Spec{Topic: "user:42", Type: "export"}); !errors.Is(err, engine.ErrOutOfMemory) {
		t.Errorf("enqueue: error %v, want %v", err, engine.ErrOutOfMemory)
	}
	set("0")
	if after := d.view(); after.Rev != before.Rev || len(d.news()) != 0 {
		t.Errorf("the job moved: %+v", after)
	}
	if acks, err := e.Commit(soon(t), r); err != nil || acks[0].Err != nil || acks[0].Duplicate {
		t.Errorf("once there is room: %+v, %v", acks, err)
	}
}

func TestAShownViewIsReplacedWhole(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		d := newDesk(t, e, "user:42")
		d.start(1)
		d.write(runtime.Report{Type: engine.JobProgress, Shown: &runtime.Shown{Message: "reading"}})
		d.write(runtime.Report{Type: engine.JobProgress})
		if got := d.view().Message; got != "reading" {
			t.Errorf("no Shown: message %q, want it kept", got)
		}
		d.write(runtime.Report{Type: engine.JobProgress, Shown: &runtime.Shown{}})
		if got := d.view().Message; got != "" {
			t.Errorf("an empty Shown: message %q, want none", got)
		}
		d.write(retry)
		d.r.Fence = runtime.Fence{Attempt: 2, Token: runtime.NewToken()}
		d.write(runtime.Report{Type: engine.JobStarted, Shown: &runtime.Shown{Message: "starting"}})
		if got := d.view().Message; got != "starting" {
			t.Errorf("Shown with the start: message %q", got)
		}
	})
}

// However a job ends: there is no total to wait for, and no time left.
func TestAnEndedJobHasNothingLeftToEstimate(t *testing.T) {
	guess := &runtime.Shown{
		Indeterminate: true, Progress: engine.Progress{Done: 10}, Message: `,"eta_seconds":7`, ETA: 5 * time.Second,
	}
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		for _, end := range []string{"succeed", "fail", "give up", "Abandon", "retry and Cancel", "retry and Fail"} {
			d := newDesk(t, e, "user:42")
			d.start(1)
			must(t, d.write(runtime.Report{Type: engine.JobProgress, Shown: guess}).Err)
			if j := d.view(); !j.Indeterminate || j.ETASeconds == nil {
				t.Fatalf("a running job shows %+v", j)
			}
			first, then, found := strings.Cut(end, " and ")
			must(t, jobActions[first](d))
			if found {
				must(t, jobActions[then](d))
			}
			if j := d.view(); !j.State.Ended() || j.Indeterminate || j.ETASeconds != nil || j.Message != guess.Message || *j.Progress != guess.Progress {
				t.Errorf("%s: it is %s and shows %+v", end, j.State, j)
			}
		}
		// The end's own record, also where the report brings what it shows.
		d := newDesk(t, e, "user:42")
		d.start(1)
		must(t, d.write(runtime.Report{Type: engine.JobSucceeded, Shown: guess}).Err)
		page, err := e.Replay(soon(t), d.topic, engine.Beginning)
		must(t, err)
		r, err := page.Entries[len(page.Entries)-1].Record()
		must(t, err)
		if r.Type != engine.JobSucceeded || r.Job.Indeterminate || r.Job.ETASeconds != nil || r.Job.Progress == nil {
			t.Errorf("the record of the end: %s %+v", r.Type, r.Job)
		}
	})
}

func TestEnqueueWithAKeyGivesTheSameJobAfterItsEnd(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		s := engine.Spec{Topic: "user:42", Type: "export", Key: "orders-2025"}
		first, err := e.Enqueue(soon(t), s)
		if err != nil {
			t.Fatal(err)
		}
		again := func(when string) {
			t.Helper()
			got, err := e.Enqueue(soon(t), s)
			if err != nil || got.ID != first.ID || !got.Existing {
				t.Errorf("%s: %+v, %v; want job %s again", when, got, err, first.ID)
			}
		}
		again("while it waits")
		if err := e.Cancel(soon(t), first.ID); err != nil {
			t.Fatal(err)
		}
		again("after its end")
		if err := e.Redis().Del(soon(t), keyOf(t, e, "j:"+string(first.ID))).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := e.Enqueue(soon(t), s); err != nil || got.Existing {
			t.Errorf("after its retention: %+v, %v; want another job", got, err)
		}
	})
}

func TestPercentIsPrintedInTenths(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		for tenths := range 1001 {
			got, err := redis.NewScript(engine.ScriptFunction("percent")+"return percent(tonumber(ARGV[1]))").
				Run(soon(t), e.Redis(), []string{"x:log"}, tenths).Text()
			want, _ := json.Marshal(float64(tenths) / 10)
			if err != nil || got != string(want) {
				t.Fatalf("%d tenths are printed as %q, %v; want %s", tenths, got, err, want)
			}
		}
		d := newDesk(t, e, "user:42")
		d.start(1)
		for _, c := range []struct {
			tenths int
			want   string
		}{{0, `0,`}, {1, `0.1,`}, {614, `61.4,`}, {600, `61.4,`}, {620, `62,`}, {999, `99.9,`}, {1000, `99.9,`}} {
			d.write(runtime.Report{Type: engine.JobProgress, Tenths: c.tenths, Shown: &runtime.Shown{Message: "m"}})
			v, err := e.Job(soon(t), d.job)
			if err != nil || !strings.Contains(string(v.JSON), `"percent":`+c.want) {
				t.Errorf("%d tenths: %s, %v; want percent %s", c.tenths, v.JSON, err, c.want)
			}
		}
		d.write(runtime.Report{Type: engine.JobSucceeded})
		if got := d.view().Percent; got != 100 {
			t.Errorf("succeeded: percent %v, want 100", got)
		}
	})
}

func TestTheScriptsClockPrintsRFC3339(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		script := redis.NewScript(engine.ScriptFunction("rfc3339") + "return rfc3339(tonumber(ARGV[1]))")
		times := []time.Time{time.UnixMilli(0), time.UnixMilli(253402300799999)}
		for _, year := range []int{1999, 2000, 2023, 2024, 2026, 2027, 2028, 2096, 2100, 2104, 2400} {
			for _, day := range []string{"01-01", "02-28", "03-01", "12-31"} {
				at, err := time.Parse("2006-01-02T15:04:05.000Z", fmt.Sprintf("%d-%sT23:59:59.999Z", year, day))
				if err != nil {
					t.Fatal(err)
				}
				times = append(times, at, at.Add(time.Millisecond), at.Add(13*time.Hour+7*time.Minute))
			}
		}
		for _, at := range times {
			got, err := script.Run(soon(t), e.Redis(), []string{"x:log"}, at.UnixMilli()).Text()
			if want := at.UTC().Format("2006-01-02T15:04:05.000Z"); err != nil || got != want {
				t.Errorf("%d is printed as %q, %v; want %s", at.UnixMilli(), got, err, want)
			}
		}
	})
}
