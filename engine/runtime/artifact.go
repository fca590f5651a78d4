package runtime

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// ClaimRetention reports whether the caller is the first in an interval to ask: it then deletes the
// artifacts and datasets that are no longer kept. Its error wraps ErrUnreachable.
func (rt *Runtime) ClaimRetention(ctx context.Context, interval time.Duration) (bool, error) {
	mine, err := rt.g.Redis.SetNX(ctx, rt.g.Keys.Retention(), "1", interval).Result()
	return mine, ground.Failure("claim the retention of artifacts", err)
}

// Installation is a text that this Redis has and no other one, or one that was emptied. Its error wraps
// ErrUnreachable.
func (rt *Runtime) Installation(ctx context.Context) (string, error) {
	pipe := rt.g.Redis.Pipeline()
	pipe.SetNX(ctx, rt.g.Keys.Installation(), ground.NewToken(), 0)
	id := pipe.Get(ctx, rt.g.Keys.Installation())
	_, err := pipe.Exec(ctx)
	return id.Val(), ground.Failure("read which Redis this is", err)
}

// ArtifactExpired records, once a day at most, that an artifact is no longer kept. The errors are those of
// Notify.
func (rt *Runtime) ArtifactExpired(ctx context.Context, topic wire.Topic, a wire.Artifact, reason string) error {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return err
	}
	body, err := json.Marshal(wire.ExpiredArtifact{Artifact: a, Reason: reason})
	if err != nil {
		return err
	}
	o := operation{kind: wire.ArtifactExpired, topic: topic, attempt: -1, key: "gone:" + a.ID, extra: `,"artifact":` + string(body)}
	var r result
	err = rt.g.Patiently(ctx, func() (err error) {
		r, err = rt.operate(ctx, o)
		return err
	})
	return cmp.Or(err, r.standing)
}
