package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
)

// A key points to its job while that is kept, unless the job's end frees it.
func TestAKeyLivesAsLongAsItSays(t *testing.T) {
	ends := map[string]runtime.Report{
		"succeeded": {Type: engine.JobSucceeded},
		"failed":    {Type: engine.JobFailed, Error: &engine.JobError{Code: "error", Message: "no"}},
		"canceled":  {Type: engine.JobCanceled},
	}
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, func(o *engine.Options) { o.Shards, o.Retention = 1, time.Hour })
		for life, freed := range map[engine.KeyLife]map[string]bool{
			"":                    {},
			engine.KeyUntilFailed: {"failed": true, "canceled": true},
			engine.KeyWhileLive:   {"failed": true, "canceled": true, "succeeded": true},
		} {
			for name, end := range ends {
				spec := engine.Spec{Topic: "user:42", Type: "export", Key: "export " + string(life) + name, KeyLife: life}
				first, err := e.Enqueue(soon(t), spec)
				must(t, err)
				key := shardKey(e, "op:enqueue:user:42:"+spec.Key)
				goes(t, e, key, 0)
				p, _ := start(t, e, first.ID, 1)
				if again, err := e.Enqueue(soon(t), spec); err != nil || !again.Existing || again.ID != first.ID {
					t.Errorf("%q, while the job runs: %+v, %v", life, again, err)
				}
				must(t, p.write(end).Err)
				if !freed[name] {
					goes(t, e, key, time.Hour)
				}
				again, err := e.Enqueue(soon(t), spec)
				if err != nil || again.Existing == freed[name] || (again.ID == first.ID) == freed[name] {
					t.Errorf("%q, after the job has %s: %+v, %v", life, name, again, err)
				}
			}
		}
	})
}

// A job is made, ends and frees its key, and the next is made, all in one call of the script.
func TestAKeyThatIsFreedWithinACall(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, oneShard)
		spec := engine.Spec{Topic: "user:42", Type: "export", Key: "once", KeyLife: engine.KeyWhileLive}
		answers := make(chan engine.Answer, 4)
		enqueue := func(id engine.JobID) error {
			return e.SubmitOperation(engine.JobQueued, spec.Topic, id, "enqueue:user:42:once", answers, "@attempt", 1, "ty", spec.Type,
				"c", `,"type":"export"`, "pl", "null", "q", "default", "ma", 4, "kl", string(spec.KeyLife))
		}
		var ids [3]engine.JobID
		for i := range ids {
			var err error
			ids[i], err = e.NewJobID("user:42")
			must(t, err)
		}
		e.Batch(func() {
			must(t, enqueue(ids[0]), enqueue(ids[1]), e.SubmitOperation(engine.JobCanceling, spec.Topic, ids[0], "~cancel", nil), enqueue(ids[2]))
		})
		for i, want := range []engine.Answer{{ids[0], true}, {ids[0], false}, {ids[2], true}} {
			if got := <-answers; got != want {
				t.Errorf("call %d: %+v, want %+v", i, got, want)
			}
		}
		goes(t, e, shardKey(e, "op:enqueue:user:42:once"), 0)
		// The first call once more, as a client repeats what it has no answer to: it has
		// made its job, and makes no other.
		must(t, enqueue(ids[0]))
		if got := <-answers; got.ID != ids[0] {
			t.Errorf("repeated: %+v, want job %s", got, ids[0])
		}
	})
}

func TestKeyLifeIsChecked(t *testing.T) {
	for _, s := range []engine.Spec{
		{Topic: "user:42", Type: "export", Key: "k", KeyLife: "for_ever"},
		{Topic: "user:42", Type: "export", KeyLife: engine.KeyWhileLive},
	} {
		if err := s.Validate(); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", s, err)
		}
	}
}

// An ended job keeps its payload and its checkpoint for as long as it can be tried again.
func TestAnEndedJobCanBeTriedAgainForAWhile(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, func(o *engine.Options) {
			o.Shards, o.RetryFailed, o.RetrySucceeded = 1, 3*time.Hour, time.Hour
		})
		for name, c := range map[string]struct {
			end        runtime.Report
			most       time.Duration
			checkpoint string
		}{
			"succeeded": {runtime.Report{Type: engine.JobSucceeded}, time.Hour, ""},
			"failed":    {runtime.Report{Type: engine.JobFailed, Error: &engine.JobError{Code: "error", Message: "no"}}, 3 * time.Hour, "offset"},
			"canceled":  {runtime.Report{Type: engine.JobCanceled}, 3 * time.Hour, "offset"},
		} {
			d := newDesk(t, e, "user:42")
			d.start(1)
			must(t, d.write(runtime.Report{Type: engine.JobCheckpoint, Checkpoint: []byte("offset")}).Err, d.write(c.end).Err)
			job, shelf := shardKey(e, "j:"+string(d.job)), shardKey(e, "p:"+string(d.job))
			goes(t, e, shelf, c.most)
			if left, err := e.Redis().HMGet(soon(t), job, "pl", "cp").Result(); err != nil || left[0] != nil || left[1] != nil {
				t.Errorf("%s: the job still has %v, %v", name, left, err)
			}
			again, err := e.Retry(soon(t), d.job, engine.RetryQuery{})
			must(t, err)
			if _, s := start(t, e, again.ID, 1); string(s.Payload) != `"x"` || string(s.Checkpoint) != c.checkpoint {
				t.Errorf("%s: a retry is given %q and %q", name, s.Payload, s.Checkpoint)
			}
			able := func() bool {
				able, err := e.Retryable(soon(t), []engine.JobID{d.job, "nothing", again.ID})
				if err != nil || able[1] || !able[2] {
					t.Errorf("%s: retryable %v, %v", name, able, err)
				}
				return able[0]
			}
			if !able() {
				t.Errorf("%s: not to be tried again", name)
			}
			must(t, e.Redis().Del(soon(t), shelf).Err()) // as it expires
			if _, err := e.Retry(soon(t), d.job, engine.RetryQuery{Key: "late"}); !errors.Is(err, engine.ErrState) || able() {
				t.Errorf("%s, and its payload is gone: %v", name, err)
			}
			if v := d.view(); !v.State.Ended() {
				t.Errorf("%s: the job is %+v", name, v)
			}
		}
	})
}
