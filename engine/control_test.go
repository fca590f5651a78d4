package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// testRevocations has what is revoked reach all who read, whether they read before or after.
func testRevocations(t *testing.T, ctx context.Context, e *engine.Engine) {
	st := stream.Of(e)
	early := st.Revocations()
	next := func(r *stream.Revocations, all bool, want ...string) {
		t.Helper()
		news, everything, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, one := range news {
			got = append(got, one.Subject+"/"+one.Credential)
		}
		slices.Sort(got)
		if everything != all || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("read %q, everything %v; want %q, %v", got, everything, want, all)
		}
	}
	next(early, true)
	next(early, false)
	began := time.Now()
	kicked, err := st.Revoke(ctx, wire.Revocation{Subject: "42"})
	must(t, err)
	// Redis and the test have one clock, but for what a restart of either rounds.
	if kicked.Before().Before(began.Add(-time.Minute)) || kicked.Before().After(time.Now().Add(time.Minute)) {
		t.Errorf("it revokes what was issued before %s, and was made at %s", kicked.Before(), began)
	}
	_, err = st.Revoke(ctx, wire.Revocation{Credential: "jwt:1", Until: time.Now().Add(time.Hour)})
	must(t, err)
	next(early, false, "/jwt:1", "42/")
	next(early, false)
	next(st.Revocations(), true, "/jwt:1", "42/")

	// A shorter one does not shorten it, and none is longer than the longest.
	long, err := st.Revoke(ctx, wire.Revocation{Credential: "jwt:1", Until: time.Now().Add(10 * 24 * time.Hour)})
	must(t, err)
	short, err := st.Revoke(ctx, wire.Revocation{Credential: "jwt:1", Until: time.Now().Add(time.Minute)})
	must(t, err)
	if !short.Until.Equal(long.Until) || time.Until(long.Until) > wire.RevocationHold+2*time.Minute {
		t.Errorf("kept until %s, then until %s", long.Until, short.Until)
	}
	for _, r := range []wire.Revocation{{}, {Subject: strings.Repeat("x", wire.MaxRevokedBytes+1)}, {Subject: "a", Credential: "b"}} {
		if _, err := st.Revoke(ctx, r); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestRevocations(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"one Redis": redistest.Server(t).URL(), "a Cluster": redistest.Cluster(t).URL(), "miniredis": "redis://" + redistest.Miniredis(t),
	} {
		t.Run(name, func(t *testing.T) { testRevocations(t, t.Context(), with(t, url, engine.Options{}).Engine) })
	}
}

// What a reader has missed it hears of: when the log was trimmed, and when Redis lost what it had.
func TestRevocationsAreNotMissed(t *testing.T) {
	t.Parallel()
	r := redistest.Server(t)
	e := with(t, r.URL(), engine.Options{})
	st, c := stream.Of(e.Engine), r.Client(t)
	log, set := e.ControlKeys()
	revoke := func(credential string) {
		t.Helper()
		_, err := st.Revoke(t.Context(), wire.Revocation{Credential: credential, Until: time.Now().Add(time.Hour)})
		must(t, err)
	}
	reader := st.Revocations()
	reads := func(when string, all bool, n int) {
		t.Helper()
		news, everything, err := reader.Next(t.Context())
		if err != nil || everything != all || len(news) != n {
			t.Errorf("%s: %d, everything %v, %v; want %d, %v", when, len(news), everything, err, n, all)
		}
	}
	reads("at first", true, 0)
	for i := range 5 {
		revoke(fmt.Sprint("a", i))
	}
	must(t, c.XTrimMaxLen(t.Context(), log, 2).Err())
	reads("a log that was trimmed", true, 5)
	revoke("b")
	reads("and goes on", false, 1)
	must(t, c.Del(t.Context(), log, set).Err())
	reads("a Redis that lost all", true, 0)
	reads("and is still empty", false, 0)
	revoke("c")
	reads("and goes on", false, 1)
	must(t, c.Del(t.Context(), log).Err())
	revoke("d")
	reads("a log that began anew", true, 2)

	// What is over goes.
	_, err := st.Revoke(t.Context(), wire.Revocation{Credential: "over", Until: time.Now().Add(-time.Hour)})
	must(t, err)
	revoke("e")
	if n, err := c.ZCard(t.Context(), set).Result(); err != nil || n != 3 {
		t.Errorf("%d are kept, %v, want 3", n, err)
	}
}

// Who reads from a primary that is cut off, or is none any more, gets no answer: another may have newer revocations. That
// Redis is full, or cannot save, says nothing against what it answers.
func TestRevocationsOfARedisThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	for _, why := range redistest.Refusals {
		t.Run(why.String(), func(t *testing.T) {
			t.Parallel()
			r := redistest.Server(t)
			st := stream.Of(with(t, r.URL(), engine.Options{}).Engine)
			_, err := st.Revoke(t.Context(), wire.Revocation{Subject: "42"})
			must(t, err)
			r.RefuseWrites(why)
			away := why == redistest.FewReplicas || why == redistest.Demoted
			news, _, err := st.Revocations().Next(t.Context())
			if errors.Is(err, engine.ErrUnreachable) != away || !away && len(news) != 1 {
				t.Errorf("read %v, %v", news, err)
			}
			// Who has to be kicked may be why it is full.
			full := why == redistest.OutOfMemory
			if _, err := st.Revoke(t.Context(), wire.Revocation{Subject: "43"}); (err == nil) != full {
				t.Errorf("revoked: %v", err)
			}
			r.TakeWrites()
			news, _, err = st.Revocations().Next(t.Context())
			if err != nil || len(news) != 1 && !full || len(news) != 2 && full {
				t.Errorf("when it takes writes again: %v, %v", news, err)
			}
		})
	}
}
