package auth_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// An issuer is a server of a JWK Set.
type issuer struct {
	*httptest.Server
	mu      sync.Mutex
	keys    []part
	status  int
	text    string // in place of the keys
	fetches int
	hold    chan struct{} // answers wait for it; nil: they do not
	asked   chan struct{} // gets one of each request that waits
}

func newIssuer(t testing.TB, keys ...part) *issuer {
	i := &issuer{keys: keys, status: http.StatusOK, asked: make(chan struct{}, 10)}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	i.fetches++
	status, text, hold := i.status, []byte(i.text), i.hold
	if i.text == "" {
		text, _ = json.Marshal(map[string]any{"keys": i.keys})
	}
	i.mu.Unlock()
	if hold != nil {
		i.asked <- struct{}{}
		<-hold
	}
	if status == http.StatusFound {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(status)
	_, _ = w.Write(text) // an error says that the client has gone
}

// fetched checks how often the set was asked for.
func (i *issuer) fetched(t testing.TB, want int, when string) {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fetches != want {
		t.Errorf("%s: it was fetched %d times, want %d", when, i.fetches, want)
	}
}

// jwk is a public key as a set has it.
func jwk(id string, public any, more part) part {
	text := base64.RawURLEncoding.EncodeToString
	p := part{"kid": id}
	switch k := public.(type) {
	case ed25519.PublicKey:
		p = p.with(part{"kty": "OKP", "crv": "Ed25519", "x": text(k)})
	case *rsa.PublicKey:
		p = p.with(part{"kty": "RSA", "n": text(k.N.Bytes()), "e": text(big.NewInt(int64(k.E)).Bytes())})
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		half := (len(point) - 1) / 2
		p = p.with(part{"kty": "EC", "crv": k.Params().Name, "x": text(point[1 : 1+half]), "y": text(point[1+half:])})
	}
	return p.with(more)
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// bearing says how a token is taken that a key has signed.
func bearing(ctx context.Context, t testing.TB, a auth.Authenticator, method jwt.SigningMethod, id string, key any) error {
	t.Helper()
	p, err := a.Token(ctx, sign(t, method, key, part{"alg": method.Alg(), "kid": id}, alice().with(part{"aud": "us"})))
	if (p == nil) == (err == nil) {
		t.Errorf("%+v, %v", p, err)
	}
	return err
}

// Of a set those keys count that are for one of the algorithms, and for signatures.
func TestKeysOfASet(t *testing.T) {
	keys := signers()
	ed, ec, one := newEd25519(t), keys["ec"].Private.(*ecdsa.PrivateKey), keys["rsa"].Private.(*rsa.PrivateKey)
	small, err1 := rsa.GenerateKey(rand.Reader, 1024)
	wide, err2 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	secret := []byte(strings.Repeat("k", 32))
	text := base64.RawURLEncoding.EncodeToString
	source := newIssuer(t,
		jwk("ed", ed.Public(), part{"use": "sig", "alg": "EdDSA"}), jwk("ec", &ec.PublicKey, nil), jwk("rsa", &one.PublicKey, part{"alg": "RS256"}),
		jwk("secret", nil, part{"kty": "oct", "k": text(secret)}), jwk("published", ed.Public(), part{"d": text(ed.Seed())}),
		jwk("small", &small.PublicKey, nil), jwk("wide", &wide.PublicKey, nil),
		jwk("encrypts", &one.PublicKey, part{"use": "enc"}), jwk("pss", &one.PublicKey, part{"alg": "PS256"}),
		jwk("", ed.Public(), nil), part{"kty": "AKP", "kid": "later", "pub": "x"},
		jwk("malformed", ed.Public(), part{"x": "x"}), part{"kty": 5}, jwk("wraps", &one.PublicKey, part{"key_ops": []string{"wrapKey"}}),
		jwk("certified", ed.Public(), part{"key_ops": []string{"verify"}, "x5c": []string{"none"}, "x5u": "ftp://none"}),
	)
	a := openJWT(t, auth.JWT{JWKSURL: source.URL, Audience: "us", Logger: slog.New(slog.DiscardHandler)})
	for _, c := range []struct {
		id     string
		method jwt.SigningMethod
		key    any
		why    string // "": it is taken
	}{
		{"ed", jwt.SigningMethodEdDSA, ed, ""},
		{"ec", jwt.SigningMethodES256, ec, ""},
		{"rsa", jwt.SigningMethodRS256, one, ""},
		{"rsa", jwt.SigningMethodHS256, one.N.Bytes(), "the token's key is for another algorithm"},
		{"rsa", jwt.SigningMethodRS512, one, "the token's algorithm or signature"},
		{"secret", jwt.SigningMethodHS256, secret, "no key has the token's kid"},
		{"published", jwt.SigningMethodEdDSA, ed, "no key has the token's kid"},
		{"small", jwt.SigningMethodRS256, small, "no key has the token's kid"},
		{"wide", jwt.SigningMethodES384, wide, "the token's algorithm or signature"},
		{"encrypts", jwt.SigningMethodRS256, one, "no key has the token's kid"},
		{"pss", jwt.SigningMethodRS256, one, "no key has the token's kid"},
		{"", jwt.SigningMethodEdDSA, ed, "no key has the token's kid"},
		{"malformed", jwt.SigningMethodEdDSA, ed, "no key has the token's kid"},
		{"wraps", jwt.SigningMethodRS256, one, "no key has the token's kid"},
		{"certified", jwt.SigningMethodEdDSA, ed, ""},
	} {
		err := bearing(t.Context(), t, a, c.method, c.id, c.key)
		if c.why == "" && err != nil || c.why != "" && (!errors.Is(err, auth.ErrRejected) || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s with %q: %v, want %s", c.method.Alg(), c.id, err, c.why)
		}
	}
	if said := a.Announcement(); !strings.Contains(said, "any issuer") {
		t.Errorf("it announces %q", said)
	}
	named := openJWT(t, auth.JWT{JWKSURL: source.URL, Issuer: "me", Audience: "us"})
	if said := named.Announcement(); said != "" {
		t.Errorf("with an issuer it announces %q", said)
	}
	if _, err := a.Token(t.Context(), sign(t, jwt.SigningMethodEdDSA, ed, part{"alg": "EdDSA"}, alice())); !errors.Is(err, auth.ErrRejected) {
		t.Errorf("without a kid: %v", err)
	}
}

// A set is fetched again for a key that is not known, at most once a minute, and every hour. While it cannot be
// fetched, known keys stay, and nobody knows about the others.
func TestRotation(t *testing.T) {
	old, next := newEd25519(t), newEd25519(t)
	source := newIssuer(t, jwk("old", old.Public(), nil))
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		opening, opened := context.WithCancel(t.Context())
		a, err := auth.JWT{JWKSURL: source.URL, Audience: "us", Logger: slog.New(slog.NewTextHandler(&log, nil))}.Open(opening)
		if err != nil {
			t.Fatal(err)
		}
		opened() // which ends no later fetch
		defer func() {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}()
		check := func(when, id string, key ed25519.PrivateKey, want error, fetches int) {
			t.Helper()
			if err := bearing(t.Context(), t, a, jwt.SigningMethodEdDSA, id, key); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
			source.fetched(t, fetches, when)
		}
		check("a known key", "old", old, nil, 1)
		check("an unknown one", "none", old, auth.ErrRejected, 2)
		check("another", "next", next, auth.ErrRejected, 2)
		source.set(func() { source.keys = []part{jwk("next", next.Public(), nil)} })
		check("before a minute is over", "next", next, auth.ErrRejected, 2)
		<-time.After(time.Minute)
		check("after a minute", "next", next, nil, 3)
		check("the key that went", "old", old, auth.ErrRejected, 3)

		source.set(func() { source.status = http.StatusServiceUnavailable })
		<-time.After(time.Minute)
		check("the server is down", "old", old, auth.ErrUnavailable, 4)
		check("and still is", "old", old, auth.ErrUnavailable, 4)
		check("a known key meanwhile", "next", next, nil, 4)
		if !strings.Contains(log.String(), "its server answers with 503") || strings.Contains(log.String(), source.URL) {
			t.Errorf("the log is %s", log.String())
		}
		source.set(func() { source.status, source.keys = http.StatusOK, []part{jwk("old", old.Public(), nil)} })
		<-time.After(time.Minute)
		check("the server is back", "old", old, nil, 5)
		check("and the key that went is no key", "next", next, auth.ErrRejected, 5)

		secret := part{"kty": "oct", "kid": "old", "k": strings.Repeat("k", 43)}
		for n, none := range [][]part{{}, {secret}} {
			source.set(func() { source.keys = none })
			<-time.After(time.Minute)
			check("a set without keys", "next", next, auth.ErrUnavailable, 6+n)
			check("a known key meanwhile", "old", old, nil, 6+n)
		}
		source.set(func() { source.keys = []part{secret, jwk("next", next.Public(), nil)} })
		<-time.After(time.Minute)
		check("a set with keys again", "next", next, nil, 8)
		check("a key that does not count", "old", old, auth.ErrRejected, 8)
		source.set(func() { source.keys = []part{jwk("old", old.Public(), nil)} })
		<-time.After(time.Minute)
		check("and then does", "old", old, nil, 9)

		source.set(func() { source.keys = []part{jwk("next", next.Public(), nil)} })
		<-time.After(time.Hour)
		source.fetched(t, 10, "an hour later")
		check("an hour later", "next", next, nil, 10)
	})
}

// All who ask for a new key wait for one fetch. One who goes leaves it to the others.
func TestOneFetchForMany(t *testing.T) {
	old, next := newEd25519(t), newEd25519(t)
	source := newIssuer(t, jwk("old", old.Public(), nil))
	a := openJWT(t, auth.JWT{JWKSURL: source.URL, Audience: "us"})
	hold := make(chan struct{})
	source.set(func() { source.keys, source.hold = []part{jwk("next", next.Public(), nil)}, hold })
	ask := func(ctx context.Context) error { return bearing(ctx, t, a, jwt.SigningMethodEdDSA, "next", next) }

	first, leave := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { gone <- ask(first) }()
	<-source.asked
	var all sync.WaitGroup
	begun := make(chan struct{}, 20)
	for range cap(begun) {
		all.Go(func() {
			begun <- struct{}{}
			if err := ask(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for range cap(begun) {
		<-begun
	}
	leave()
	if err := <-gone; !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("one who goes gets %v", err)
	}
	close(hold)
	all.Wait()
	source.fetched(t, 2, "for all of them")
}

func TestSetsThatAreNotOpened(t *testing.T) {
	key := newEd25519(t)
	for _, c := range []struct {
		name   string
		status int
		text   string
		keys   []part
		want   string
	}{
		{"no answer", http.StatusInternalServerError, "canary", nil, "its server answers with 500"},
		{"a redirect", http.StatusFound, "canary", nil, "its server answers with 302"},
		{"a page", http.StatusOK, "<html>canary", nil, "its server's answer is no JWK Set"},
		{"too much", http.StatusOK, `{"keys":[` + strings.Repeat(" ", 1<<20) + `]}`, nil, "it has more than 1 MiB"},
		{"no list", http.StatusOK, "{}", nil, "its server's answer is no JWK Set"},
		{"no keys", http.StatusOK, `{"keys":[]}`, nil, "it has no key with a kid for RS256, ES256 or EdDSA"},
		{"a secret", http.StatusOK, "", []part{jwk("a", nil, part{"kty": "oct", "k": strings.Repeat("k", 43)})}, "it has no key with a kid"},
		{"a malformed key", http.StatusOK, "", []part{jwk("a", key.Public(), part{"x": "canary"})}, "it has no key with a kid"},
	} {
		source := newIssuer(t, c.keys...)
		source.status, source.text = c.status, c.text
		_, err := auth.JWT{JWKSURL: source.URL + "/?canary", Audience: "us"}.Open(t.Context())
		if err == nil || !strings.Contains(err.Error(), "fetch the JWK Set: ") || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "check its URL") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
		source.fetched(t, 1, c.name)
	}
	closed := newIssuer(t)
	closed.Close()
	if _, err := (auth.JWT{JWKSURL: closed.URL, Audience: "us"}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody listens: %v", err)
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("told to stop"))
	if _, err := (auth.JWT{JWKSURL: newIssuer(t, jwk("a", key.Public(), nil)).URL, Audience: "us"}).Open(ended); err == nil || !strings.Contains(err.Error(), "told to stop") {
		t.Errorf("opened with a context that had ended: %v", err)
	}
}
