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

// A shard's outbox is a Redis stream of its milestones and notifications, for readers that must not
// miss one, such as an archive. Such a reader declares a consumer group. Commits write the outbox
// only while a group is declared, and an entry stays until every declared group has acknowledged
// it.

// DeclareGroup creates a consumer group of the outbox in every shard. The group gets everything
// that is committed after DeclareGroup has returned, and Redis keeps each record until the group
// has acknowledged it. A group that stops reading therefore holds records back, up to
// Options.OutboxEntries a shard. Declaring a group again is no error. The name has the form of a
// job's type. A Consumer reads the group. Errors to branch on: ErrInvalid, ErrUnreachable; after
// the latter some shards may have the group: declare it again.
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

// DropGroup deletes a group, what it has not acknowledged, and the records that it set aside. Its
// consumers end with ErrGroupDropped. Dropping an undeclared group is no error. Its error wraps
// ErrUnreachable.
func (e *Engine) DropGroup(ctx context.Context, name string) error {
	// This comes first, so that no consumer thinks that Redis has forgotten the group.
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

// TrimOutbox deletes the records that every declared group has acknowledged, and returns their
// number. Consumers do so as they acknowledge. While Redis lacks one of the declared groups,
// TrimOutbox deletes nothing. Its error wraps ErrUnreachable.
func (e *Engine) TrimOutbox(ctx context.Context) (int, error) {
	return e.onOutboxes(ctx, "trim", "")
}

// OutboxKey is the key of a shard's outbox, a stream whose entries have the fields t (topic), i
// (record ID), p (ID of the record before it) and r (record). It is for tools that use XREADGROUP.
// Programs use a Consumer.
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
