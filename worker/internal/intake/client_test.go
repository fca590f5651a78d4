package intake

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// answering is a client whose scripts get one answer.
type answering struct {
	redis.UniversalClient
	err error
}

func (a answering) EvalSha(ctx context.Context, _ string, _ []string, _ ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	cmd.SetErr(a.err)
	return cmd
}

// refusal is an error of Redis.
type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) RedisError()     {}

func TestAsynqIsHeldBackAfterErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want time.Duration
	}{
		{nil, 0},
		{redis.Nil, 0}, // an empty queue: asynq waits by itself
		{refusal("NOSCRIPT No matching script."), 0}, // it is sent whole
		{refusal("READONLY You can't write against a read only replica."), refusedPause},
		{refusal("ERR READONLY You can't write against a read only replica."), refusedPause},
		{refusal("OOM command not allowed when used memory > 'maxmemory'."), refusedPause},
		{refusal("MISCONF Redis is configured to save RDB snapshots"), refusedPause},
		{refusal("NOREPLICAS Not enough good replicas to write."), refusedPause},
		{errors.New("dial tcp: connection refused"), refusedPause},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			if err := (asynqClient{UniversalClient: answering{err: c.err}}).EvalSha(t.Context(), "", nil).Err(); !errors.Is(err, c.err) {
				t.Errorf("%v became %v", c.err, err)
			}
			if got := time.Since(began); got != c.want {
				t.Errorf("%v: asynq waits for %s, want %s", c.err, got, c.want)
			}
		})
	}
}

// asynq's subscriber reads a nil message, and panics, when its client is closed under it.
func TestAsynqHasNoSubscription(t *testing.T) {
	t.Parallel()
	if _, err := (asynqClient{}).Subscribe(t.Context(), "asynq:cancel").Receive(t.Context()); !errors.Is(err, errNoSignals) {
		t.Errorf("a subscription was answered %v", err)
	}
}
