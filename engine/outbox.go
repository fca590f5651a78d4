package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// The outbox of a shard holds its milestones and notifications for readers that
// must not miss one, such as an archive: consumer groups of a Redis stream. It is
// written only while a group is declared, and an entry stays until every declared
// group has acknowledged it.

// DeclareGroup makes a consumer group of the outbox, on every shard: it is given
// everything that is committed after DeclareGroup has returned, and nothing is
// trimmed that it has not acknowledged. A group that stops reading therefore holds
// records back, up to Options.OutboxEntries a shard. Declaring it again is no error.
// The name has the form of a job's type. A Consumer reads it. Errors to branch on: ErrInvalid,
// ErrUnreachable; after the latter some shards may have it: declare it again.
func (e *Engine) DeclareGroup(ctx context.Context, name string) error {
	if err := wire.CheckName("group", name); err != nil {
		return err
	}
	pipe := e.g.Redis.TxPipeline()
	pipe.HSet(ctx, e.g.Keys.Schema(), "group:"+name, 1)
	pipe.HDel(ctx, e.g.Keys.Schema(), "dropped:"+name)
	if _, err := pipe.Exec(ctx); err != nil {
		return ground.Failure("declare group "+name, err)
	}
	_, err := e.onOutboxes(ctx, "declare", name)
	return err
}

// DropGroup takes a group away, with what it has not acknowledged and what was set aside for it.
// Its consumers end with ErrGroupDropped. Dropping one that is not declared is no error. Its
// error wraps ErrUnreachable.
func (e *Engine) DropGroup(ctx context.Context, name string) error {
	// First, so that no consumer takes it for one that Redis has forgotten.
	if err := e.g.Redis.HSet(ctx, e.g.Keys.Schema(), "dropped:"+name, 1).Err(); err != nil {
		return ground.Failure("drop group "+name, err)
	}
	return e.dropGroup(ctx, name)
}

func (e *Engine) dropGroup(ctx context.Context, name string) error {
	if _, err := e.onOutboxes(ctx, "drop", name); err != nil {
		return err
	}
	return ground.Failure("drop group "+name, e.g.Redis.HDel(ctx, e.g.Keys.Schema(), "group:"+name).Err())
}

// Groups lists the declared groups, sorted. Its error wraps ErrUnreachable.
func (e *Engine) Groups(ctx context.Context) ([]string, error) {
	fields, err := e.g.Redis.HKeys(ctx, e.g.Keys.Schema()).Result()
	if err != nil {
		return nil, ground.Failure("list groups", err)
	}
	var names []string
	for _, f := range fields {
		if name, ok := strings.CutPrefix(f, "group:"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// TrimOutbox drops what every declared group has acknowledged, and returns how many
// records that were. Consumers call it as they acknowledge; while one of the declared
// groups is missing from Redis nothing is dropped. Its error wraps ErrUnreachable.
func (e *Engine) TrimOutbox(ctx context.Context) (int, error) {
	return e.onOutboxes(ctx, "trim", "")
}

// OutboxKey names a shard's outbox, a stream whose entries hold the fields t
// (topic), i (record ID), p (its predecessor's) and r (record), for tools to read
// with XREADGROUP. Programs read it with a Consumer.
func (e *Engine) OutboxKey(shard int) string { return e.g.Keys.Out(shard) }

func (e *Engine) onOutboxes(ctx context.Context, what, group string) (int, error) {
	total := 0
	var failures []error
	for shard := range e.g.Opts.Shards {
		n, err := e.g.Scripts.Outbox.Run(ctx, e.g.Redis, e.g.Keys.Declared(shard), what, group).Int()
		total += n
		if err != nil {
			failures = append(failures, ground.Failure(fmt.Sprintf("%s outbox of shard %d", what, shard), err))
		}
	}
	return total, errors.Join(failures...)
}
