package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
)

// A page is consume.lua's answer to a reader.
type page struct {
	verdict string
	from    string // the page begins after this ID
	records []OutboxRecord
	history string // of the Redis that sent it
}

// page acknowledges a stored position, and reads the records after it. If the shard has forgotten
// the group, page declares it again.
func (r *shardReader) page(ctx context.Context, at position) (page, error) {
	for {
		before, err := r.history(ctx, r.shard)
		if err != nil {
			return page{}, err
		}
		answer, err := r.e.g.Scripts.Consume.Run(ctx, r.e.g.Blocking, r.e.g.Keys.Declared(r.shard), r.c.o.Group, r.owner, r.fence,
			at.id, at.content, r.c.o.BatchEntries, r.c.o.BatchBytes).StringSlice()
		if err != nil {
			return page{}, ground.Failure(fmt.Sprintf("read the outbox of shard %d", r.shard), err)
		}
		switch answer[0] {
		case "lost":
			return page{}, errLeaseLost
		case "undeclared":
			if err := r.declare(ctx, at); err != nil {
				return page{}, err
			}
			continue
		}
		after, err := r.history(ctx, r.shard)
		if err != nil {
			return page{}, err
		}
		if before != after { // either of the two may have answered
			continue
		}
		p := page{verdict: answer[0], from: answer[1], history: after}
		for f := answer[2:]; len(f) >= 5; f = f[5:] {
			p.records = append(p.records, OutboxRecord{
				Entry:    Entry{Topic: Topic(f[1]), ID: Cursor(f[2]), Prev: Cursor(f[3]), JSON: json.RawMessage(f[4])},
				OutboxID: f[0],
			})
		}
		return p, nil
	}
}

// declare declares the group in a shard that does not know it. If a reader has stored a position
// before, Redis has forgotten the group: the outbox then begins with all that the shard's log has.
func (r *shardReader) declare(ctx context.Context, at position) error {
	if err := r.notDropped(ctx); err != nil {
		return err
	}
	what := "again"
	if at.id == "" {
		what = "declare"
	}
	if err := r.e.g.Scripts.Outbox.Run(ctx, r.e.g.Redis, r.e.g.Keys.Declared(r.shard), what, r.c.o.Group).Err(); err != nil {
		return ground.Failure(fmt.Sprintf("declare group %s in shard %d", r.c.o.Group, r.shard), err)
	}
	if err := r.e.g.Redis.HSet(ctx, r.e.g.Keys.Schema(), "group:"+r.c.o.Group, 1).Err(); err != nil {
		return ground.Failure("declare group "+r.c.o.Group, err)
	}
	// DropGroup first marks the group dropped, and then deletes it from the shards. So either
	// DropGroup deletes this declaration, or the mark shows here.
	err := r.notDropped(ctx)
	if err != nil {
		_ = r.e.dropGroup(context.WithoutCancel(ctx), r.c.o.Group) // if this fails, the cap bounds what the leftover group holds back
	}
	return err
}

func (r *shardReader) notDropped(ctx context.Context) error {
	dropped, err := r.e.g.Redis.HExists(ctx, r.e.g.Keys.Schema(), "dropped:"+r.c.o.Group).Result()
	if err == nil && dropped {
		return ErrGroupDropped
	}
	return ground.Failure("check whether group "+r.c.o.Group+" was dropped", err)
}

// historyFresh is how long a server's history is taken as unchanged while no new connection is
// made.
const historyFresh = time.Second

// knownHistories are the last known histories of the servers behind the shards: on a Cluster by
// shard, otherwise of the one server under 0.
type knownHistories struct {
	mu sync.Mutex
	of map[int]knownHistory
}

type knownHistory struct {
	history string
	made    uint64 // how many connections there had been before the query
	asked   time.Time
}

// history is Engine.History of the Redis that holds a shard. A restart or a failover causes new
// connections, so history asks again after each new connection, and at least every second.
func (r *consuming) history(ctx context.Context, shard int) (string, error) {
	server := 0
	if r.e.g.Cluster() {
		server = shard
	}
	r.known.mu.Lock()
	defer r.known.mu.Unlock()
	if k, ok := r.known.of[server]; ok && k.made == r.e.g.Connections.Made() && time.Since(k.asked) < historyFresh {
		return k.history, nil
	}
	k := knownHistory{made: r.e.g.Connections.Made(), asked: time.Now()}
	id, err := r.e.g.IdentityOf(ctx, r.e.g.Blocking, shard)
	if err != nil {
		return "", ground.Failure("ask Redis for its identity", err)
	}
	if k.history = id; id != "" && id != ground.Embedded {
		sum := sha256.Sum256([]byte(id))
		k.history = hex.EncodeToString(sum[:6])
	}
	if r.known.of == nil {
		r.known.of = map[int]knownHistory{}
	}
	r.known.of[server] = k
	return k.history, nil
}
