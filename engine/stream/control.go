package stream

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

// The members of the set of revocations begin so.
const (
	memberCredential = "c:"
	memberSubject    = "s:"
)

// Revoke revokes credentials, on all gateways. A revocation is kept until r.Until, or for wire.RevocationHold from
// now on where that is zero or later, and no shorter than it was kept before. Revoke returns it as it is kept.
// Calling it again does no harm. A Redis that is full takes it. Errors to branch on: ErrInvalid, ErrUnreachable, and
// ErrUnreplicated, with which the revocation is made but on too few replicas.
func (st *Stream) Revoke(ctx context.Context, r wire.Revocation) (wire.Revocation, error) {
	if name := member(r)[len(memberSubject):]; name == "" || len(name) > wire.MaxRevokedBytes || (r.Subject != "" && r.Credential != "") {
		return wire.Revocation{}, fmt.Errorf("%w revocation: want a subject or a credential, of 1 to %d bytes", wire.ErrInvalid, wire.MaxRevokedBytes)
	}
	until := int64(0)
	if !r.Until.IsZero() {
		until = max(1, r.Until.UnixMilli())
	}
	log, revoked := st.g.Keys.Control()
	var kept, waited *redis.Cmd
	err := st.g.Patiently(ctx, func() error {
		pipe := st.g.Redis.Pipeline()
		kept = st.g.Scripts.Control.Eval(ctx, pipe, []string{log, revoked}, member(r), until, wire.RevocationHold.Milliseconds())
		if st.g.Opts.WaitReplicas > 0 {
			waited = pipe.Do(ctx, "WAIT", st.g.Opts.WaitReplicas, st.g.Opts.WaitTimeout.Milliseconds())
		}
		_, err := pipe.Exec(ctx)
		return err
	})
	if err != nil {
		return wire.Revocation{}, ground.Failure("revoke", err)
	}
	at, err := kept.Int64()
	if err != nil {
		return wire.Revocation{}, fmt.Errorf("revoke: %w", err)
	}
	r.Until = time.UnixMilli(at)
	if waited != nil {
		if n, err := waited.Int(); err != nil || n < st.g.Opts.WaitReplicas {
			return r, fmt.Errorf("revoke: %w", wire.ErrUnreplicated)
		}
	}
	return r, nil
}

// Restore has Redis hold revocations again that it has lost. Unlike Revoke it waits for no replica. Its error wraps
// ErrUnreachable; some of them may then be held.
func (st *Stream) Restore(ctx context.Context, all []wire.Revocation) error {
	log, revoked := st.g.Keys.Control()
	for some := range slices.Chunk(all, revocationPage) {
		err := st.g.Patiently(ctx, func() error {
			pipe := st.g.Redis.Pipeline()
			for _, r := range some {
				st.g.Scripts.Control.Eval(ctx, pipe, []string{log, revoked}, member(r), max(1, r.Until.UnixMilli()), wire.RevocationHold.Milliseconds())
			}
			_, err := pipe.Exec(ctx)
			return err
		})
		if err != nil {
			return ground.Failure("restore revocations", err)
		}
	}
	return nil
}

// member is what the set has of a revocation.
func member(r wire.Revocation) string {
	if r.Subject != "" {
		return memberSubject + r.Subject
	}
	return memberCredential + r.Credential
}

// Revocations reads what is revoked, from the beginning. One goroutine at a time uses it.
type Revocations struct {
	st     *Stream
	begun  bool
	at     entry     // the log's last one that was read
	proved time.Time // when Redis last said that it takes writes
}

// An entry is one of the log, or what is before all of them. IDs alone do not tell two histories of Redis apart.
type entry struct{ id, before, member, until string }

// Revocations begins to read what is revoked.
func (st *Stream) Revocations() *Revocations { return &Revocations{st: st} }

const (
	revocationPage = 1000
	beforeAll      = "0-0"
	// proofInterval is the time between two writes of a reader.
	proofInterval = time.Second
)

// Again has the next call of Next return everything.
func (r *Revocations) Again() { r.begun = false }

// Next returns what was revoked since the last call. all says that it is everything that Redis has: at first, and
// where the log no longer tells what came since, as after a failover. A caller then keeps what it holds beyond
// that, and calls Restore. A call costs one round trip while nothing is revoked, and another once a second: it writes, so that a
// primary that is cut off from its replicas and has min-replicas-to-write gives no answer, and neither does a
// replica. Its error wraps ErrUnreachable, and the next call goes on.
func (r *Revocations) Next(ctx context.Context) (news []wire.Revocation, all bool, err error) {
	log, revoked := r.st.g.Keys.Control()
	pipe := r.st.g.Redis.Pipeline() // first where the log ends, so that nothing comes between
	end := pipe.XRevRangeN(ctx, log, "+", "-", 1)
	var since *redis.XMessageSliceCmd
	var held *redis.ZSliceCmd
	if r.begun {
		since = pipe.XRangeN(ctx, log, "("+r.at.id, "+", revocationPage)
	} else {
		held = pipe.ZRangeWithScores(ctx, revoked, 0, -1)
	}
	began := time.Now()
	proves := began.Sub(r.proved) >= proofInterval
	if proves {
		if err := r.prove(ctx); err != nil {
			return nil, false, ground.Failure("read revocations", err)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, false, ground.Failure("read revocations", err)
	}
	if proves {
		r.proved = began
	}
	last := lastOf(end.Val())
	if !r.begun {
		for _, z := range held.Val() {
			name, _ := z.Member.(string)
			news = append(news, revocation(name, int64(z.Score)))
		}
		r.begun, r.at = true, last
		return news, true, nil
	}
	entries := since.Val()
	switch {
	case len(entries) == 0 && last == r.at:
		return nil, false, nil
	case len(entries) == 0 || entryOf(entries[0]).before != r.at.id:
		r.begun = false
		return r.Next(ctx)
	}
	for _, e := range entries {
		r.at = entryOf(e)
		until, err := strconv.ParseInt(r.at.until, 10, 64)
		if err != nil {
			return nil, false, fmt.Errorf("read revocations: the time of entry %s: %w", r.at.id, err)
		}
		news = append(news, revocation(r.at.member, until))
	}
	return news, false, nil
}

// prove writes. That Redis is full, or cannot save, says nothing against what it answers.
func (r *Revocations) prove(ctx context.Context) error {
	err := r.st.g.Redis.Set(ctx, r.st.g.Keys.ControlProof(), "1", time.Minute).Err()
	if redis.IsReadOnlyError(err) || redis.IsNoReplicasError(err) {
		return err
	}
	return nil
}

func entryOf(m redis.XMessage) entry {
	return entry{m.ID, ground.Text(m.Values["p"]), ground.Text(m.Values["m"]), ground.Text(m.Values["u"])}
}

// lastOf is the log's last entry.
func lastOf(end []redis.XMessage) entry {
	if len(end) == 0 {
		return entry{id: beforeAll}
	}
	return entryOf(end[0])
}

func revocation(name string, until int64) wire.Revocation {
	r := wire.Revocation{Until: time.UnixMilli(until)}
	if subject, ok := strings.CutPrefix(name, memberSubject); ok {
		r.Subject = subject
	} else {
		r.Credential = strings.TrimPrefix(name, memberCredential)
	}
	return r
}
