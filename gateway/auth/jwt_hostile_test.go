package auth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

func TestHostileTokens(t *testing.T) {
	keys := signers()
	secret, private := keys["shared"].Secret, keys["rsa"].Private
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	head := part{"alg": "HS256", "kid": "shared", "typ": "JWT"}
	own := alice().with(part{"iss": "me", "aud": "us"})
	good := sign(t, jwt.SigningMethodHS256, secret, head, own)
	headed := func(changes part) string {
		return sign(t, jwt.SigningMethodHS256, secret, head.with(changes), own)
	}
	claiming := func(changes part) string {
		return sign(t, jwt.SigningMethodHS256, secret, head, own.with(changes))
	}
	many := part{}
	for i := range auth.MaxTokenGrants + 1 {
		many[fmt.Sprint("t:", i)] = []string{"read"}
	}
	text, signature := cutLast(good)
	const (
		malformed, unsigned = "the token is malformed", "the token's algorithm or signature is not valid"
		form, rights, role  = "want a number of seconds since 1970", "grants: want a list of read, enqueue and control for each", "roles: want viewer or admin"
	)
	a := openJWT(t, auth.JWT{Keys: checking(), Issuer: "me", Audience: "us"})
	if _, err := a.Token(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, token, why string }{
		{"none at all", "", malformed},
		{"no algorithm", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, part{"alg": "none", "kid": "shared"}, own), unsigned},
		{"no algorithm in capitals", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, part{"alg": "NONE", "kid": "shared"}, own), "the token is not valid"},
		{"another algorithm of the key's", sign(t, jwt.SigningMethodHS512, secret, head.with(part{"alg": "HS512"}), own), unsigned},
		{"RSA's public key as a secret", sign(t, jwt.SigningMethodHS256, der, head.with(part{"kid": "rsa"}), own), "the token's key is for another algorithm"},
		{"no secret", sign(t, jwt.SigningMethodHS256, []byte{}, head.with(part{"kid": "rsa"}), own), "the token's key is for another algorithm"},
		{"RS256 by a secret's ID", sign(t, jwt.SigningMethodRS256, private, head.with(part{"alg": "RS256"}), own), "the token's key is for another algorithm"},
		{"a stranger's signature", sign(t, jwt.SigningMethodEdDSA, stranger, part{"alg": "EdDSA", "kid": "ed"}, own), unsigned},
		{"an unknown key", headed(part{"kid": "other"}), "no key has the token's kid"},
		{"no key among several", headed(part{"kid": nil}), "the token has no kid, and there is more than one key"},
		{"a key that is a number", headed(part{"kid": 1}), "the token's kid is no text"},
		{"a token for one thing", headed(part{"typ": "tidemark-once"}), "the token's typ is neither JWT nor at+jwt"},
		{"a type that is a number", headed(part{"typ": 5}), "the token's typ is neither JWT nor at+jwt"},
		{"a critical header", headed(part{"crit": []string{"b64"}, "b64": true}), "the token's crit names what is not understood"},

		{"too long", claiming(part{"x": strings.Repeat("x", auth.MaxTokenBytes)}), "the token is longer than 8 KiB"},
		{"two parts", text, malformed},
		{"four parts", good + ".x", malformed},
		{"five parts", good + "..", malformed},
		{"no signature", text + ".", unsigned},
		{"half a signature", text + "." + signature[:20], unsigned},
		{"trailing garbage", good + "AAAA", unsigned},
		{"a trailing line break", good + "\n", "the token has a line break"},
		{"a line break within", text + ".\r\n" + signature, "the token has a line break"},
		{"a trailing space", good + " ", malformed},
		{"a leading space", " " + good, malformed},
		{"a padded signature", good + "=", malformed},
		{"another last letter", good[:len(good)-1] + string(good[len(good)-1]+1), malformed},
		{"a zero byte", good + "\x00", malformed},
		{"claims that are a list", sign(t, jwt.SigningMethodHS256, secret, head, []string{"alice"}), malformed},
		{"claims that are null", sign(t, jwt.SigningMethodHS256, secret, head, nil), "the token lacks iss or aud"},
		{"a header that is a list", sign(t, jwt.SigningMethodHS256, secret, []string{"HS256"}, own), malformed},

		{"expired", claiming(part{"exp": now - 1, "iat": now - 60}), "exp: it has passed"},
		{"expired long ago", claiming(part{"exp": now - 600, "iat": now - 900}), "the token has expired"},
		{"no end", claiming(part{"exp": nil}), "exp: " + form},
		{"an end that is a text", claiming(part{"exp": fmt.Sprint(now + 60)}), malformedClaim},
		{"an end at the beginning of all dates", claiming(part{"exp": 0}), "exp: " + form},
		{"an end that is beyond all dates", claiming(part{"exp": 1e300}), ""},
		{"an end before all dates", claiming(part{"exp": -5}), "the token has expired"},
		{"too far an end", claiming(part{"exp": now + 86401, "iat": now}), "exp: want at most 24 h after iat"},
		{"too long a life", claiming(part{"exp": now + 60, "iat": now + 60 - 86401}), "exp: want at most 24 h after iat"},
		{"no beginning", claiming(part{"iat": nil}), "iat: " + form},
		{"a beginning that is a text", claiming(part{"iat": fmt.Sprint(now)}), "iat: " + form},
		{"a beginning to come", claiming(part{"iat": now + 40}), "iat: it is ahead"},
		{"not yet valid", claiming(part{"nbf": now + 40}), "the token's nbf is ahead"},
		{"valid beyond all dates", claiming(part{"nbf": 1e300}), ""},
		{"another issuer", claiming(part{"iss": "you"}), "the token's iss is another one than is wanted"},
		{"no issuer", claiming(part{"iss": nil}), "the token lacks iss or aud"},
		{"another audience", claiming(part{"aud": []string{"them", "you"}}), "the token's aud is another one than is wanted"},
		{"no audience", claiming(part{"aud": nil}), "the token lacks iss or aud"},

		{"no subject", claiming(part{"sub": nil}), `sub "": want`},
		{"an empty subject", claiming(part{"sub": ""}), `sub "": want`},
		{"a subject that is a number", claiming(part{"sub": 42}), `sub "": want`},
		{"a subject in capitals", claiming(part{"sub": nil, "SUB": "alice"}), `sub "": want`},
		{"a subject with a colon", claiming(part{"sub": "a:b"}), `sub "a:b": want`},
		{"a subject with a star", claiming(part{"sub": "*"}), `sub "*": want`},
		{"a subject with a slash", claiming(part{"sub": "../b"}), `sub "../b": want`},
		{"a subject with a line break", claiming(part{"sub": "a\n"}), `sub "a\n": want`},
		{"a long subject", claiming(part{"sub": strings.Repeat("a", 129)}), `…": want`},
		{"an ID that is a number", claiming(part{"jti": 5}), "jti: want a text, or none"},
		{"an empty ID", claiming(part{"jti": ""}), "jti: want a text, or none"},

		{"grants that are a list", claiming(part{"grants": []string{"canary"}}), "grants: want an object"},
		{"too many grants", claiming(part{"grants": many}), "grants: 101 of them; at most 100"},
		{"an unknown right", claiming(part{"grants": part{"team:7": []string{"read", "canary"}}}), rights},
		{"a right in capitals", claiming(part{"grants": part{"team:7": []string{"Read"}}}), rights},
		{"a right that is a number", claiming(part{"grants": part{"team:7": []int{1}}}), rights},
		{"rights that are a text", claiming(part{"grants": part{"team:7": "read"}}), rights},
		{"no rights", claiming(part{"grants": part{"team:7": []string{}}}), rights},
		{"a grant of no topic", claiming(part{"grants": part{"canary": []string{"read"}}}), "grants: want a topic, such as"},
		{"a grant of half a kind", claiming(part{"grants": part{"team*": []string{"read"}}}), "grants: want a topic, such as"},
		{"a grant of part of a kind", claiming(part{"grants": part{"team:7*": []string{"read"}}}), "grants: want a topic, such as"},
		{"a grant of no kind", claiming(part{"grants": part{":*": []string{"read"}}}), "grants: want a topic, such as"},
		{"a role that is a text", claiming(part{"roles": "admin"}), "roles: want a list"},
		{"a role that is a number", claiming(part{"roles": []int{1}}), "roles: want a list"},
		{"an unknown role", claiming(part{"roles": []string{"viewer", "canary"}}), role},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := a.Token(t.Context(), c.token)
			if p != nil || !errors.Is(err, auth.ErrRejected) || !strings.Contains(fmt.Sprint(err), c.why) {
				t.Errorf("it gives %+v, %v\nwant ErrRejected, %s", p, err, c.why)
			}
			if text := fmt.Sprint(err); strings.Contains(text, "canary") || len(text) > 300 || c.token != "" && strings.Contains(text, c.token) {
				t.Errorf("the error is %s", text)
			}
		})
	}
}

const malformedClaim = "the token is not valid"

func FuzzToken(f *testing.F) {
	shared := signers()["shared"]
	a := openJWT(f, auth.JWT{Keys: []auth.JWTKey{shared}})
	token, err := shared.Sign(auth.JWTClaims{Subject: "alice", Life: time.Hour, Grants: map[string][]string{"team:*": {"read"}}})
	if err != nil {
		f.Fatal(err)
	}
	head, now := `{"alg":"HS256","typ":"JWT"}`, time.Now().Unix()
	f.Add(token, head, fmt.Sprintf(`{"sub":"a","iat":%d,"exp":%d,"grants":{"team:7":["read"]},"roles":["viewer"],"jti":"x"}`, now, now+3600))
	f.Add("", head, fmt.Sprintf(`{"sub":"a","iat":%d.5,"exp":%de0,"nbf":1e300,"aud":["x",5],"grants":[null],"roles":null}`, now, now+3600))
	f.Add("..", `{"alg":"none","crit":[],"kid":null}`, `{"exp":-1e308,"iat":1e308,"sub":{}}`)
	f.Add("Bearer a.b.c", `{"alg":"HS256","kid":"shared","alg":"ES256"}`, `null`)
	f.Fuzz(func(t *testing.T, raw, header, claims string) {
		text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
		signature, err := jwt.SigningMethodHS256.Sign(text, shared.Secret)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{raw, text + "." + base64.RawURLEncoding.EncodeToString(signature)} {
			p, err := a.Token(context.Background(), token)
			switch {
			case err != nil:
				if p != nil || !errors.Is(err, auth.ErrRejected) || len(err.Error()) > 300 {
					t.Errorf("%q gives %+v, %v", token, p, err)
				}
			case p.Subject == "" || !p.May(auth.Control, wire.Topic("user:"+p.Subject)) || time.Until(p.Expires) > auth.MaxTokenLife+auth.ClockLeeway || len(token) > auth.MaxTokenBytes:
				t.Errorf("%q gives %+v", token, p)
			}
		}
	})
}
