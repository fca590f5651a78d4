package runtime

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Notify is that of engine.Engine.
func (rt *Runtime) Notify(ctx context.Context, topic wire.Topic, key string, body json.RawMessage) error {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return err
	}
	body, err := oneLine("notification", body)
	if err != nil {
		return err
	}
	if err := option.Bytes("notification", len(body), wire.MaxResultBytes, "store the rest and name it"); err != nil {
		return err
	}
	own := ground.NewKey()
	if key != "" {
		own = "notify:" + string(topic) + ":" + key
	}
	o := operation{kind: wire.NotificationCreated, topic: topic, attempt: -1, key: own, extra: `,"notification":` + string(body)}
	var r result
	err = rt.g.Patiently(ctx, func() (err error) {
		r, err = rt.operate(ctx, o)
		return err
	})
	return cmp.Or(err, r.standing)
}
