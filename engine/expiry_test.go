package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// goes wants a key to have a time to live of at most most, or none if most is 0.
func goes(t testing.TB, e *engine.Rig, key string, most time.Duration) {
	t.Helper()
	ttl, err := e.Redis().PTTL(soon(t), key).Result()
	must(t, err)
	if ttl == -2 || (most == 0) != (ttl < 0) || ttl > most {
		t.Errorf("key %s goes in %s, want %s (0: never; -2ns: it is not there)", key, ttl, most)
	}
}

// shardKey is a key of an engine with one shard.
func shardKey(e *engine.Rig, rest string) string { return e.Namespace() + ":{00}:" + rest }

func oneShard(o *engine.Options) { o.Shards = 1 }

func note(t testing.TB, e *engine.Rig, topic engine.Topic) {
	t.Helper()
	must(t, e.Notify(soon(t), topic, "", []byte(`{"text":"hello"}`)))
}

// notes writes n notifications into user:42.
func notes(t testing.TB, e *engine.Rig, n int, body string) {
	t.Helper()
	each(n, func(int) {
		if err := e.Notify(minutes(t), "user:42", "", []byte(body)); err != nil {
			t.Error(err)
		}
	})
}

func TestTheListOfATopicGoesWithItsLastJob(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, oneShard)
		d := newDesk(t, e, "user:42")
		index := shardKey(e, "x:user:42")
		goes(t, e, index, 0)
		must(t, e.Cancel(soon(t), d.job))
		goes(t, e, index, e.Retention())
		again := newDesk(t, e, "user:42")
		goes(t, e, index, 0)
		must(t, e.Cancel(soon(t), again.job))
		goes(t, e, index, e.Retention())
	})
}

func TestTheListOfChildrenGoesWithTheParent(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, oneShard)
		d := newDesk(t, e, "user:42")
		d.start(1)
		children, plan, err := runtime.PlanFanOut("all", d.topic, engine.DefaultQueue, []engine.Child{{Name: "one", Spec: engine.Spec{Type: "export"}}})
		must(t, err, d.write(runtime.Report{Type: engine.JobProgress, FanOut: &plan}).Err)
		must(t, e.Spawn(soon(t), d.job, d.r.Fence, 0, "all", children))
		goes(t, e, shardKey(e, "k:"+string(d.job)), 0)
		ack := d.write(runtime.Report{Type: engine.JobFailed, Error: &engine.JobError{Code: "error", Message: "no"}})
		must(t, ack.Err)
		if len(ack.FollowUps) != 1 || ack.FollowUps[0] != d.job {
			t.Errorf("a parent ended before its children, and %v are to be seen to", ack.FollowUps)
		}
		goes(t, e, shardKey(e, "k:"+string(d.job)), e.Retention())
	})
}

func TestThePointerOfAnAdoptedJobGoesWithIt(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, oneShard)
		a := waitingTask(t, e)
		adopted := adoptTask(t, e, a)
		pointer := shardKey(e, fmt.Sprintf("a:%d:%s:%s", len(a.Task.Queue), a.Task.Queue, a.Task.ID))
		goes(t, e, pointer, 0)
		must(t, e.Cancel(soon(t), adopted.Job))
		goes(t, e, pointer, e.Retention())
	})
}

// What was dispatched before a pause is not the task of the attempt that is resumed.
func TestAPauseForgetsTheDispatch(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), oneShard)
	d := newDesk(t, e, "user:42")
	current := func() runtime.Attempt {
		a, err := e.Current(soon(t), d.job)
		must(t, err)
		return a
	}
	for ctx := minutes(t); !current().Dispatched; {
		if !again(ctx) {
			t.Fatal("that the job was dispatched is not kept")
		}
	}
	must(t, e.Pause(soon(t), d.job))
	if a := current(); a.State != engine.Paused || a.Dispatched {
		t.Errorf("a paused job is %+v", a)
	}
}

// aged puts a topic's or a shard's head back by an hour, or ahead.
func aged(t testing.TB, e *engine.Rig, head string, by time.Duration) {
	t.Helper()
	id, err := e.Redis().HGet(soon(t), head, "id").Result()
	must(t, err)
	_, n, _ := strings.Cut(id, "-")
	must(t, e.Redis().HSet(soon(t), head, "id", fmt.Sprintf("%d-%s", time.Now().Add(by).UnixMilli(), n)).Err())
}

// A stream's time to live is set when it is new, again when a part of it has passed, and at
// every record while a clock that was ahead holds the head's time still.
func TestStreamsInUseStay(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		for _, c := range []struct {
			key, head string
			most      time.Duration
		}{
			{"s:user:42", "m:user:42", 2 * time.Hour}, {"m:user:42", "m:user:42", 31 * 24 * time.Hour}, {"log", "head", 2 * time.Minute},
		} {
			for _, by := range []time.Duration{-time.Hour, 3 * time.Hour} {
				e := open(t, url, func(o *engine.Options) { o.Shards, o.TopicTTL = 1, 2*time.Hour })
				note(t, e, "user:42")
				goes(t, e, shardKey(e, c.key), c.most)
				must(t, e.Redis().Persist(soon(t), shardKey(e, c.key)).Err())
				aged(t, e, shardKey(e, c.head), by)
				note(t, e, "user:42")
				goes(t, e, shardKey(e, c.key), c.most)
			}
		}
	})
}

// Entries of the log go when they are too old, although it has room for more.
func TestTheLogIsTrimmedByAge(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, oneShard)
		log := shardKey(e, "log")
		for k := 1; k <= 300; k++ {
			must(t, e.Redis().XAdd(soon(t), &redis.XAddArgs{
				Stream: log, ID: fmt.Sprintf("1-%d", k), Values: []any{"t", "user:1", "i", "1-1", "p", "0-0", "r", "{}"},
			}).Err())
		}
		for range 64 {
			note(t, e, "user:42")
		}
		oldest, err := e.Redis().XRangeN(soon(t), log, "-", "+", 1).Result()
		must(t, err)
		if k := engine.Cursor(oldest[0].ID).N(); k < 200 {
			t.Errorf("the log begins with number %d of 300 that were too old", k)
		}
	})
}

func TestTheOutboxIsCappedAndSaysWhatWent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*engine.Options)
		body   string
		many   int
	}{
		"entries": {func(o *engine.Options) { o.OutboxEntries = 1000 }, `{}`, 1200},
		"bytes":   {func(o *engine.Options) { o.OutboxBytes = 1 << 20 }, `"` + strings.Repeat("x", 12<<10) + `"`, 120},
	} {
		t.Run(name, func(t *testing.T) {
			onEachRedis(t, func(t *testing.T, url string) {
				e := open(t, url, func(o *engine.Options) { oneShard(o); c.change(o) })
				must(t, e.DeclareGroup(soon(t), "archive"))
				notes(t, e, c.many, c.body)
				held, err := e.Redis().XRange(soon(t), shardKey(e, "out"), "-", "+").Result()
				must(t, err)
				bytes := 0
				for _, m := range held {
					bytes += len(m.Values["r"].(string))
				}
				dropped, err := e.Redis().HGet(soon(t), shardKey(e, "head"), "dropped").Int()
				if err != nil || dropped == 0 || dropped+len(held) != c.many {
					t.Errorf("%d records are held and %d dropped, of %d; %v", len(held), dropped, c.many, err)
				}
				if len(held) > 1000+64 || (name == "bytes" && (bytes > 1<<20+32<<10 || bytes < 7<<17)) {
					t.Errorf("%d records of %d bytes are held", len(held), bytes)
				}
			})
		})
	}
}

// A log of large records is bounded by their bytes, and a reader that has not read what
// went is given it from the topic's stream.
func TestTheLogIsBoundedInBytes(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, func(o *engine.Options) { spacious(o); o.Shards, o.LogBytes = 1, 1<<20 })
		const many = 300
		notes(t, e, many, `"`+strings.Repeat("x", 12<<10)+`"`)
		held, err := e.Redis().XRange(soon(t), shardKey(e, "log"), "-", "+").Result()
		must(t, err)
		bytes := 0
		for i, m := range held {
			bytes += len(m.Values["r"].(string))
			if i > 0 && engine.Cursor(m.ID).N() != engine.Cursor(held[i-1].ID).N()+1 {
				t.Fatalf("log entry %s follows %s", m.ID, held[i-1].ID)
			}
		}
		// It is trimmed at marks, a sixteenth and a record apart, when it comes by another one.
		if bytes > 1<<20+1<<16+2*13<<10 || bytes < 7<<17 {
			t.Errorf("the log holds %d records of %d bytes, want about 1 MiB", len(held), bytes)
		}
		marks, err := e.Redis().HGet(soon(t), shardKey(e, "head"), "marks").Result()
		if n := strings.Count(marks, ","); err != nil || n > 17 {
			t.Errorf("%d marks, %v: %s", n, err, marks)
		}
		given := 0
		for u, err := range e.Follow(minutes(t), engine.FollowQuery{Topic: "user:42", After: engine.Beginning}) {
			must(t, err)
			if u.Kind != engine.UpdateRecord {
				break
			}
			given++
		}
		if given != many {
			t.Errorf("a reader was given %d records, want %d", given, many)
		}
	})
}

// A reader whose place was trimmed is shown all that ended since, however much it is.
func TestASnapshotHasAllThatEndedSince(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), oneShard)
	d := newDesk(t, e, "user:42")
	const jobs = 120
	each(jobs, func(int) {
		got, err := e.Enqueue(minutes(t), engine.Spec{Topic: "user:42", Type: "export"})
		if err := errors.Join(err, e.Cancel(minutes(t), got.ID)); err != nil {
			t.Error(err)
		}
	})
	for held, want := range map[engine.Cursor]int{"": 100 + 1, d.held: jobs + 1} {
		s, err := e.Snapshot(soon(t), "user:42", held)
		must(t, err)
		if len(s.Jobs) != want {
			t.Errorf("after %q a snapshot has %d jobs, want %d", held, len(s.Jobs), want)
		}
	}
}
