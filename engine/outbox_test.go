package engine_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// outbox reads and acknowledges up to count entries of the test's shard for a group.
func outbox(t *testing.T, e *engine.Rig, group string, count int64, ack bool) []engine.RecordType {
	t.Helper()
	var types []engine.RecordType
	for shard := range e.Shards() {
		streams, err := e.Redis().XReadGroup(soon(t), &redis.XReadGroupArgs{
			Group: group, Consumer: "c", Streams: []string{e.OutboxKey(shard), ">"}, Count: count, Block: -1,
		}).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range streams[0].Messages {
			types = append(types, engine.Entry{JSON: []byte(m.Values["r"].(string))}.Type())
			if ack {
				if err := e.Redis().XAck(soon(t), e.OutboxKey(shard), group, m.ID).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return types
}

func TestOutboxHoldsMilestonesFromDeclarationUntilEveryGroupHasAcknowledged(t *testing.T) {
	for name, url := range map[string]string{"redis": redistest.Server(t).URL(), "miniredis": "redis://" + redistest.Miniredis(t)} {
		t.Run(name, func(t *testing.T) {
			e := open(t, url, nil)
			job := enqueue(t, e)
			for _, group := range []string{"archive", "notifier", "archive"} {
				if err := e.DeclareGroup(soon(t), group); err != nil {
					t.Fatal(err)
				}
			}
			if groups, err := e.Groups(soon(t)); err != nil || fmt.Sprint(groups) != "[archive notifier]" {
				t.Fatalf("groups %v, error %v", groups, err)
			}
			p, _ := start(t, e, job, 1)
			p.write(runtime.Report{Type: engine.JobProgress, Tenths: 100})
			p.write(runtime.Report{Type: engine.JobCheckpoint, Tenths: 200, Checkpoint: []byte("x")})
			p.write(runtime.Report{Type: engine.JobStage})
			p.write(runtime.Report{Type: engine.JobSucceeded})

			trimmed := func() int {
				t.Helper()
				n, err := e.TrimOutbox(soon(t))
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			// Queued was before the declaration; progress and checkpoint are ticks.
			want := "[job.started job.stage job.succeeded]"
			if got := fmt.Sprint(outbox(t, e, "archive", 10, true)); got != want {
				t.Errorf("archive was given %s, want %s", got, want)
			}
			if n := trimmed(); n != 0 {
				t.Errorf("%d records trimmed that notifier was not given", n)
			}
			if got := fmt.Sprint(outbox(t, e, "notifier", 10, false)); got != want {
				t.Errorf("notifier was given %s, want %s", got, want)
			}
			if n := trimmed(); n != 0 {
				t.Errorf("%d records trimmed that notifier has not acknowledged", n)
			}
			if err := e.DropGroup(soon(t), "notifier"); err != nil {
				t.Fatal(err)
			}
			if n := trimmed(); n != 2 {
				t.Errorf("%d records trimmed when only archive is left, want all but its last", n)
			}
			if err := e.DropGroup(soon(t), "archive"); err != nil {
				t.Fatal(err)
			}
			enqueue(t, e)
			for shard := range e.Shards() {
				if n, err := e.Redis().Exists(soon(t), e.OutboxKey(shard)).Result(); err != nil || n != 0 {
					t.Errorf("outbox of shard %d: exists %d, error %v, without a group", shard, n, err)
				}
			}
		})
	}
}

func TestAMissingGroupBlocksTrimming(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	for _, group := range []string{"archive", "lost"} {
		if err := e.DeclareGroup(soon(t), group); err != nil {
			t.Fatal(err)
		}
	}
	enqueue(t, e)
	enqueue(t, e)
	outbox(t, e, "archive", 10, true)
	for shard := range e.Shards() {
		if err := e.Redis().XGroupDestroy(soon(t), e.OutboxKey(shard), "lost").Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := e.TrimOutbox(soon(t)); err != nil || n != 0 {
		t.Errorf("trimmed %d records, error %v, although a declared group is missing", n, err)
	}
}
