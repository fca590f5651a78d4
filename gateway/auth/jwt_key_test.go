package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/gateway/auth"
)

func TestJWTThatIsRefused(t *testing.T) {
	keys := signers()
	small, err1 := rsa.GenerateKey(rand.Reader, 1024)
	wide, err2 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	one := func(k auth.JWTKey) auth.JWT { return auth.JWT{Keys: []auth.JWTKey{k}} }
	secret := []byte("canary-canary-canary-canary-cana")
	for _, c := range []struct {
		name string
		mode auth.JWT
		want string
	}{
		{"no key", auth.JWT{}, "invalid Keys: there is no key to check tokens with"},
		{"no ID", one(auth.JWTKey{Algorithm: auth.HS256, Secret: secret}), `invalid Keys: id "": want 1 to 128`},
		{"an ID with a space", one(auth.JWTKey{ID: "a b", Algorithm: auth.HS256, Secret: secret}), `invalid Keys: id "a b": want`},
		{"one ID twice", auth.JWT{Keys: []auth.JWTKey{keys["ed"], keys["ed"]}}, "invalid Keys: ed: id: another key has it"},
		{"a short secret", one(auth.JWTKey{ID: "a", Algorithm: auth.HS256, Secret: secret[:31]}), "invalid Keys: a: secret: want at least 32 bytes"},
		{"a secret and a key", one(auth.JWTKey{ID: "a", Algorithm: auth.HS256, Secret: secret, Private: keys["ed"].Private}), "invalid Keys: a: secret: want"},
		{"another algorithm", one(auth.JWTKey{ID: "a", Algorithm: "HS512", Secret: secret}), `invalid Keys: a: algorithm "HS512": want HS256, RS256, ES256 or EdDSA`},
		{"no algorithm", one(auth.JWTKey{ID: "a", Secret: secret}), `invalid Keys: a: algorithm "": want`},
		{"no public key", one(auth.JWTKey{ID: "a", Algorithm: auth.RS256}), "invalid Keys: a: want a public key"},
		{"a secret for RSA", one(auth.JWTKey{ID: "a", Algorithm: auth.RS256, Secret: secret, Private: keys["rsa"].Private}), "invalid Keys: a: want a public key"},
		{"a small RSA key", one(auth.JWTKey{ID: "a", Algorithm: auth.RS256, Private: small}), "invalid Keys: a: an RSA key of 1024 bits: want 2048 or more"},
		{"another curve", one(auth.JWTKey{ID: "a", Algorithm: auth.ES256, Public: wide.Public()}), "invalid Keys: a: an ECDSA key on P-384: want P-256"},
		{"a key of another algorithm", one(auth.JWTKey{ID: "a", Algorithm: auth.EdDSA, Private: keys["ec"].Private}), "invalid Keys: a: it is a key for ES256, and not for EdDSA"},
		{"no key at all", one(auth.JWTKey{ID: "a", Algorithm: auth.EdDSA, Public: crypto.PublicKey("canary")}), "invalid Keys: a: want an RSA, ECDSA or Ed25519 key"},
		{"a JWK Set in the clear", auth.JWT{JWKSURL: "http://login.example/keys"}, "invalid JWKSURL: want https://"},
		{"a name that begins as loopback", auth.JWT{JWKSURL: "http://localhost.example/keys"}, "invalid JWKSURL: want https://"},
		{"a password in a URL", auth.JWT{JWKSURL: "https://u:canary@login.example/keys"}, "invalid JWKSURL: want https://"},
		{"a JWK Set for any audience", auth.JWT{JWKSURL: "https://login.example/keys"}, "invalid Audience: want what the aud"},
		{"a file", auth.JWT{JWKSURL: "file:///canary"}, "invalid JWKSURL: want https://"},
		{"too many keys", auth.JWT{Keys: make([]auth.JWTKey, 101)}, "invalid Keys: 101 of them; at most 100"},
	} {
		_, err := c.mode.Open(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
}

func TestTokensThatAreNotSigned(t *testing.T) {
	keys := signers()
	public := auth.JWTKey{ID: "ed", Algorithm: auth.EdDSA, Public: keys["ed"].Private.Public()}
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mixed := auth.JWTKey{ID: "ed", Algorithm: auth.EdDSA, Public: public.Public, Private: other}
	hour := auth.JWTClaims{Subject: "alice", Life: time.Hour}
	for _, c := range []struct {
		name   string
		key    auth.JWTKey
		change func(*auth.JWTClaims)
		want   string
	}{
		{"by a public key", public, func(*auth.JWTClaims) {}, "invalid Keys: ed: it is a public key, which cannot sign"},
		{"by another key than the public one", mixed, func(*auth.JWTClaims) {}, "invalid: the token's algorithm or signature"},
		{"for too long", keys["ed"], func(c *auth.JWTClaims) { c.Life += 24 * time.Hour }, "invalid Life 25h0m0s: want 10s to 24h0m0s"},
		{"for no time", keys["ed"], func(c *auth.JWTClaims) { c.Life = 0 }, "invalid Life 0s: want 10s"},
		{"for nobody", keys["ed"], func(c *auth.JWTClaims) { c.Subject = "" }, `invalid: sub "": want`},
		{"with an unknown right", keys["ed"], func(c *auth.JWTClaims) { c.Grants = map[string][]string{"team:7": {"write"}} }, "invalid: grants: want"},
	} {
		claims := hour
		c.change(&claims)
		token, err := c.key.Sign(claims)
		if token != "" || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v\nwant %s", c.name, token, err, c.want)
		}
	}
}
