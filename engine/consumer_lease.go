package engine

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
)

// errLeaseLost ends a reader: another consumer has its shard, or may have it.
var errLeaseLost = errors.New("the lease of the shard is lost")

// leaving bounds how long a consumer tries to give its leases back.
const leaving = time.Second

// The commands of lease.lua.
const (
	leaseLook  = "look"
	leaseTake  = "take"
	leaseDrop  = "drop"
	leaseLeave = "leave"
)

// leaseArgs are lease.lua's arguments for a shard.
func (r *consuming) leaseArgs(want string, least int64) []any {
	return []any{r.c.o.Group, r.owner, r.c.o.Lease.Milliseconds(), want, least}
}

// lead renews the leases, starts readers and ends them, until ctx ends.
func (r *consuming) lead(ctx context.Context) {
	for ctx.Err() == nil {
		next := time.NewTimer(r.round(ctx))
		select {
		case <-ctx.Done():
		case <-next.C:
		case reader := <-r.ended:
			delete(r.readers, reader.shard)
			r.c.shards.Add(-1)
		}
		next.Stop()
	}
	for len(r.readers) > 0 {
		delete(r.readers, (<-r.ended).shard)
		r.c.shards.Add(-1)
	}
}

// round reads the leases of all shards once, and returns the time until the next round.
func (r *consuming) round(ctx context.Context) time.Duration {
	third := r.c.o.Lease / 3
	asked := time.Now()
	leases := r.leases(ctx)
	members, held := map[string]bool{}, 0
	next := third
	var free []int
	for shard, l := range leases {
		reader := r.readers[shard]
		if reader != nil {
			if !reader.isLeaving() {
				held++
			}
			reader.told(l, asked.Add(r.c.o.Lease))
		}
		if l.err != nil {
			continue
		}
		for _, m := range l.members {
			members[m] = true
		}
		if l.left > 0 {
			next = min(next, l.left+time.Millisecond)
		} else if reader == nil {
			free = append(free, shard)
		}
	}
	share := (len(leases) + len(members) - 1) / max(1, len(members))
	switch {
	case held < share && len(free) > 0:
		r.take(ctx, free, share-held)
	case held > share && len(members) > 0:
		r.give(held - share)
	}
	// A Redis that came back with an older state can hold a lease for this consumer that it has
	// since given back. Each look renews it, so nobody else could take the shard.
	for _, shard := range free {
		if leases[shard].fence > 0 && r.readers[shard] == nil {
			r.giveBack(ctx, shard)
		}
	}
	// A Cluster's node that does not answer delays a round by up to a third of a lease. The other
	// leases must outlast that.
	return next - time.Since(asked)
}

// take claims up to n of the free shards, and starts their readers. Consumers that begin at the
// same moment start with different shards.
func (r *consuming) take(ctx context.Context, free []int, n int) {
	first := int(r.owner[0]) * len(free) / 256
	for i := range min(n, len(free)) {
		shard, asked := free[(first+i)%len(free)], time.Now()
		fence, err := r.claim(ctx, shard, 0)
		if err != nil { // another consumer was first, or the next round reports the fault
			continue
		}
		r.readers[shard] = r.read(ctx, shard, fence, asked.Add(r.c.o.Lease))
		r.c.shards.Add(1)
	}
}

// give ends n readers after their present batch.
func (r *consuming) give(n int) {
	for _, reader := range r.readers {
		if n == 0 {
			return
		}
		if !reader.isLeaving() {
			reader.leave()
			n--
		}
	}
}

// A lease is lease.lua's answer about a shard.
type lease struct {
	fence   int64         // 0: the caller does not hold it
	left    time.Duration // of another consumer's lease
	last    string        // the ID of the outbox's last record
	members []string      // the group's consumers
	err     error
}

// leases reads the leases of all shards concurrently, since each may be on another node, for at
// most a third of a lease.
func (r *consuming) leases(ctx context.Context) []lease {
	ctx, cancel := context.WithTimeout(ctx, r.c.o.Lease/3)
	defer cancel()
	answers := r.e.g.Shards(ctx, r.e.g.Vital, r.e.g.Scripts.Lease, func(int) []any { return r.leaseArgs(leaseLook, 0) })
	leases := make([]lease, len(answers))
	for shard, a := range answers {
		leases[shard] = readLease(a)
	}
	return leases
}

func readLease(a ground.ShardAnswer) lease {
	if a.Err != nil {
		return lease{err: ground.Failure("look at a shard's lease", a.Err)}
	}
	l := lease{fence: int64(ground.Number(ground.Text(a.List[0]))), left: time.Duration(ground.Number(ground.Text(a.List[1]))) * time.Millisecond, last: ground.Text(a.List[2])}
	for _, m := range a.List[3:] {
		l.members = append(l.members, ground.Text(m))
	}
	return l
}

// claim takes the lease of a shard that is free or the caller's, with a fence higher than least.
func (r *consuming) claim(ctx context.Context, shard int, least int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, r.c.o.Lease/3)
	defer cancel()
	list, err := ground.Lists(r.e.g.Scripts.Lease.Run(ctx, r.e.g.Vital, r.e.g.Keys.Declared(shard), r.leaseArgs(leaseTake, least)...))
	if err != nil {
		return 0, ground.Failure("take the lease of shard "+strconv.Itoa(shard), err)
	}
	if l := readLease(ground.ShardAnswer{List: list[0]}); l.fence > 0 {
		return l.fence, nil
	}
	return 0, errLeaseLost
}

// giveBack gives the lease of a shard back. If Redis does not answer, the lease expires.
func (r *consuming) giveBack(ctx context.Context, shard int) {
	ctx, cancel := context.WithTimeout(ctx, r.c.o.Lease/3)
	defer cancel()
	err := r.e.g.Scripts.Lease.Run(ctx, r.e.g.Vital, r.e.g.Keys.Declared(shard), r.leaseArgs(leaseDrop, 0)...).Err()
	if err != nil {
		r.e.g.Opts.Logger.Debug("cannot give a lease back; it expires", "group", r.c.o.Group, "shard", shard, "error", err)
	}
}

// leave gives all leases back and removes this consumer from the group's members. If Redis does not
// answer, they expire.
func (r *consuming) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaving)
	defer cancel()
	answers := r.e.g.Shards(ctx, r.e.g.Vital, r.e.g.Scripts.Lease, func(int) []any { return r.leaseArgs(leaseLeave, 0) })
	if err := ground.Failures("give back leases", answers); err != nil {
		r.e.g.Opts.Logger.Debug("cannot give the leases back; they expire", "group", r.c.o.Group, "error", err)
	}
}
