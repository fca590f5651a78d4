package engine_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A job pins the upload that its payload names, in the commit that makes it, for as long as
// its record is kept; and what pins leave in Redis goes with the last of them.
func TestPins(t *testing.T) {
	clock := redistest.NewClock(t)
	clock.Shift(-30 * 24 * time.Hour) // this machine's is ahead of it by more than a job's record is kept
	e, ctx := open(t, redistest.Server(t, redistest.WithClock(clock)).URL(), nil), minutes(t)
	const topic = engine.Topic("user:42")
	upload, err := e.NewJobID(topic)
	must(t, err)
	pinned := func() bool {
		t.Helper()
		held, err := e.Pinned(ctx, topic, []engine.JobID{upload})
		must(t, err)
		return held[upload]
	}
	naming := func(key string) json.RawMessage {
		b, err := json.Marshal(map[string]string{"blob": key})
		must(t, err)
		return b
	}
	for name, s := range map[string]engine.Spec{
		"another topic's job":  {Topic: "user:7", Payload: naming(runtime.UploadKey(topic, upload))},
		"another upload":       {Topic: topic, Payload: naming(runtime.UploadKey(topic, upload) + "x")},
		"another blob":         {Topic: topic, Payload: naming("uploads/orders.csv")},
		"a name that is none":  {Topic: topic, Payload: []byte(`{"blob":17}`)},
		"a payload of a list":  {Topic: topic, Payload: []byte(`["` + runtime.UploadKey(topic, upload) + `"]`)},
		"a payload of no JSON": {Topic: topic, Payload: []byte("\x00\xff")},
		"no payload":           {Topic: topic},
	} {
		s.Type = "analysis"
		if _, err := e.Enqueue(ctx, s); err != nil {
			t.Fatal(err)
		}
		if pinned() {
			t.Errorf("%s pins it", name)
		}
	}

	var jobs []engine.JobID
	for range 3 {
		made, err := e.Enqueue(ctx, engine.Spec{Topic: topic, Type: "analysis", Payload: naming(runtime.UploadKey(topic, upload))})
		must(t, err)
		jobs = append(jobs, made.ID)
	}
	key := e.PinsKey(topic, upload)
	for i, job := range jobs {
		if ttl, err := e.Redis().TTL(ctx, key).Result(); err != nil || ttl != -1 || !pinned() {
			t.Errorf("with %d ended the pins go in %s, %v; pinned: %v", i, ttl, err, pinned())
		}
		must(t, e.Cancel(ctx, job))
	}
	if ttl, err := e.Redis().TTL(ctx, key).Result(); err != nil || ttl <= 0 || ttl > e.Retention() || !pinned() {
		t.Errorf("with all ended the pins go in %s, %v; pinned: %v", ttl, err, pinned())
	}
	again, err := e.Retry(ctx, jobs[0], engine.RetryQuery{})
	must(t, err)
	if ttl, err := e.Redis().TTL(ctx, key).Result(); err != nil || ttl != -1 || !pinned() {
		t.Errorf("with a retry the pins go in %s, %v; pinned: %v", ttl, err, pinned())
	}
	for _, job := range append(jobs, again.ID) {
		if !pinned() {
			t.Errorf("with job %s it is not pinned", job)
		}
		must(t, e.Redis().Del(ctx, e.JobKey(job)).Err())
	}
	if pinned() {
		t.Error("it is pinned by jobs that are gone")
	}
}
