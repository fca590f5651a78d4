package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
)

const (
	// maxAside bounds the records that a group sets aside in a shard.
	maxAside = 1000
	// maxAsideReason bounds a reason, in bytes; a longer one is clipped.
	maxAsideReason = 1 << 10
)

// errAsideFull says that the group has set maxAside records of a shard aside. An operator must look
// at the store, or at the records.
var errAsideFull = fmt.Errorf("%d records are set aside, which is the most: see Consumer.Aside, and Forget them", maxAside)

// An AsideRecord is a record that an OutboxStore has called poison.
type AsideRecord struct {
	OutboxRecord
	Shard  int
	Reason string
}

// asideJSON is an AsideRecord as Redis holds it.
type asideJSON struct {
	Topic  Topic  `json:"topic"`
	ID     Cursor `json:"id"`
	Prev   Cursor `json:"prev"`
	Reason string `json:"reason"`
	Record string `json:"record"`
}

// setAside saves a record in Redis before the reader goes on behind it.
func (r *shardReader) setAside(ctx context.Context, a AsideRecord) error {
	kept, err := json.Marshal(asideJSON{a.Topic, a.ID, a.Prev, a.Reason, string(a.JSON)})
	if err != nil {
		return err
	}
	answer, err := r.e.g.Scripts.Aside.Run(ctx, r.e.g.Redis, r.e.g.Keys.Declared(r.shard),
		r.c.o.Group, r.owner, r.fence, a.OutboxID, kept, maxAside).Text()
	doing := fmt.Sprintf("set record %s of shard %d aside", a.OutboxID, r.shard)
	switch {
	case err != nil:
		return ground.Failure(doing, err)
	case answer == "full":
		return fmt.Errorf("%s: %w", doing, errAsideFull)
	case answer == "lost":
		return errLeaseLost
	}
	r.e.g.Opts.Logger.Warn("a record was set aside", "group", r.c.o.Group, "shard", r.shard, "record", a.OutboxID, "reason", a.Reason)
	return nil
}

// Aside lists the records that the group has set aside, in no order: at most 1000 a shard. A shard
// with that many is not read on. Its error wraps ErrUnreachable.
func (c *Consumer) Aside(ctx context.Context) iter.Seq2[AsideRecord, error] {
	return func(yield func(AsideRecord, error) bool) {
		for shard := range c.e.g.Opts.Shards {
			for cursor := uint64(0); ; {
				fields, next, err := c.e.g.Redis.HScan(ctx, c.e.g.Keys.Aside(shard, c.o.Group), cursor, "", 20).Result()
				if err != nil {
					yield(AsideRecord{}, ground.Failure("read the records set aside in shard "+strconv.Itoa(shard), err))
					return
				}
				for i := 0; i+1 < len(fields); i += 2 {
					if a, err := readAside(shard, fields[i], fields[i+1]); !yield(a, err) {
						return
					}
				}
				if cursor = next; cursor == 0 {
					break
				}
			}
		}
	}
}

func readAside(shard int, id, kept string) (AsideRecord, error) {
	var a asideJSON
	if err := json.Unmarshal([]byte(kept), &a); err != nil {
		return AsideRecord{}, fmt.Errorf("cannot decode record %s, set aside in shard %d: another version of Tidemark may have written it", id, shard)
	}
	return AsideRecord{
		OutboxRecord: OutboxRecord{Entry: Entry{Topic: a.Topic, ID: a.ID, Prev: a.Prev, JSON: json.RawMessage(a.Record)}, OutboxID: id},
		Shard:        shard, Reason: a.Reason,
	}, nil
}

// Forget deletes records that were set aside. Its error wraps ErrUnreachable.
func (c *Consumer) Forget(ctx context.Context, records ...AsideRecord) error {
	var all error
	for _, a := range records {
		if a.Shard < 0 || a.Shard >= c.e.g.Opts.Shards {
			return fmt.Errorf("%w shard %d: want 0 to %d", ErrInvalid, a.Shard, c.e.g.Opts.Shards-1)
		}
		if err := c.e.g.Redis.HDel(ctx, c.e.g.Keys.Aside(a.Shard, c.o.Group), a.OutboxID).Err(); err != nil {
			all = errors.Join(all, ground.Failure("forget record "+a.OutboxID, err))
		}
	}
	return all
}
