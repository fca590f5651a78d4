package auth_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemark-dev/tidemark/gateway/auth"
)

var signers = sync.OnceValue(func() map[string]auth.JWTKey {
	one, errRSA := rsa.GenerateKey(rand.Reader, 2048)
	two, errEC := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, three, errEd := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(errRSA, errEC, errEd); err != nil {
		panic(err)
	}
	return map[string]auth.JWTKey{
		"shared": {ID: "shared", Algorithm: auth.HS256, Secret: []byte(strings.Repeat("canary", 6))},
		"rsa":    {ID: "rsa", Algorithm: auth.RS256, Private: one},
		"ec":     {ID: "ec", Algorithm: auth.ES256, Private: two},
		"ed":     {ID: "ed", Algorithm: auth.EdDSA, Private: three},
	}
})

func checking() []auth.JWTKey {
	var all []auth.JWTKey
	for _, k := range signers() {
		if k.Private != nil {
			k.Public, k.Private = k.Private.Public(), nil
		}
		all = append(all, k)
	}
	return all
}

func openJWT(t testing.TB, mode auth.JWT) auth.Authenticator {
	t.Helper()
	a, err := mode.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

type part map[string]any

func (p part) with(changes part) part {
	changed := maps.Clone(p)
	for name, value := range changes {
		if value == nil {
			delete(changed, name)
		} else {
			changed[name] = value
		}
	}
	return changed
}

func alice() part {
	now := time.Now().Unix()
	return part{"sub": "alice", "iat": now, "exp": now + 3600}
}

func sign(t testing.TB, method jwt.SigningMethod, key any, header, claims any) string {
	t.Helper()
	encode := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := encode(header) + "." + encode(claims)
	signature, err := method.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func cutLast(token string) (text, signature string) {
	dot := strings.LastIndexByte(token, '.')
	return token[:dot], token[dot+1:]
}

func TestTokensOfEachAlgorithm(t *testing.T) {
	all := openJWT(t, auth.JWT{Keys: checking(), Issuer: "https://login.example", Audience: "tidemark"})
	for id, k := range signers() {
		token, err := k.Sign(auth.JWTClaims{
			Subject: "alice", Issuer: "https://login.example", Audience: "tidemark", Life: auth.MaxTokenLife, Roles: []string{"viewer"},
			Grants: map[string][]string{"team:7": {"read", "control"}, "project:*": {"enqueue"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		p, err := all.Token(t.Context(), token)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		if left := time.Until(p.Expires); p.Subject != "alice" || p.Admin || left > auth.MaxTokenLife || left < auth.MaxTokenLife-time.Minute || !strings.HasPrefix(p.Credential, "jwt:") {
			t.Errorf("%s: %+v", id, p)
		}
		want := []auth.Grant{
			{Topics: "user:alice", Rights: auth.Read | auth.Enqueue | auth.Control},
			{Topics: "project:*", Rights: auth.Enqueue},
			{Topics: "team:7", Rights: auth.Read | auth.Control},
			{Topics: "*", Rights: auth.Read},
		}
		if !reflect.DeepEqual(p.Grants, want) {
			t.Errorf("%s: it is granted %+v, want %+v", id, p.Grants, want)
		}
	}
}

func TestAdminsAndCredentials(t *testing.T) {
	shared := signers()["shared"]
	a := openJWT(t, auth.JWT{Keys: []auth.JWTKey{shared}})
	who := func(claims part) *auth.Principal {
		t.Helper()
		p, err := a.Token(t.Context(), sign(t, jwt.SigningMethodHS256, shared.Secret, part{"alg": "HS256"}, claims))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	one, two := who(alice().with(part{"jti": "1"})), who(alice().with(part{"jti": "2", "roles": []string{"admin"}}))
	if one.Admin || !two.Admin || one.Credential == two.Credential {
		t.Errorf("%+v and %+v", one, two)
	}
	if again := who(alice().with(part{"jti": "1", "exp": time.Now().Unix() + 60})); again.Credential != one.Credential {
		t.Error("tokens with one jti have two credentials")
	}
	if bob := who(alice().with(part{"jti": "1", "sub": "bob"})); bob.Credential == one.Credential {
		t.Error("tokens of two users with one jti are one credential")
	}
	if other := who(alice().with(part{"jti": "1", "iss": "other"})); other.Credential == one.Credential {
		t.Error("tokens of two issuers with one jti are one credential")
	}
	plain, other := who(alice()), who(alice().with(part{"x": 1}))
	if plain.Credential == other.Credential || plain.Credential != who(alice()).Credential {
		t.Error("a token without a jti is not its own credential")
	}
	// ECDSA has two signatures for each, and a user can make one of the other.
	ec := signers()["ec"]
	b := openJWT(t, auth.JWT{Keys: checking()})
	token := sign(t, jwt.SigningMethodES256, ec.Private, part{"alg": "ES256", "kid": "ec"}, alice())
	text, signature := cutLast(token)
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(raw[32:])).FillBytes(raw[32:])
	twin := text + "." + base64.RawURLEncoding.EncodeToString(raw)
	first, err1 := b.Token(t.Context(), token)
	second, err2 := b.Token(t.Context(), twin)
	if err1 != nil || err2 != nil || token == twin || first.Credential != second.Credential {
		t.Errorf("two signatures of one token: %v, %v, %+v, %+v", err1, err2, first, second)
	}
}

func TestUnusualTokens(t *testing.T) {
	shared := signers()["shared"]
	now := time.Now().Unix()
	several, single := openJWT(t, auth.JWT{Keys: checking()}), openJWT(t, auth.JWT{Keys: []auth.JWTKey{shared}})
	listed := openJWT(t, auth.JWT{Keys: checking(), Audience: "us"})
	named := part{"alg": "HS256", "kid": "shared"}
	for _, c := range []struct {
		name         string
		from         auth.Authenticator
		head, claims part
	}{
		{"no kid where there is one key", single, part{"alg": "HS256"}, alice()},
		{"a typ in small letters", several, named.with(part{"typ": "jwt"}), alice()},
		{"an access token", several, named.with(part{"typ": "at+jwt"}), alice()},
		{"issued by a clock that is ahead", several, named, alice().with(part{"iat": now + 20, "nbf": now + 20})},
		{"the longest life", several, named, alice().with(part{"exp": now + 60, "iat": now + 60 - 86400})},
		{"parts of seconds", several, named, alice().with(part{"exp": float64(now) + 60.5})},
		{"one of several audiences", listed, named, alice().with(part{"aud": []string{"them", "us"}})},
		{"claims of others", several, named, alice().with(part{"email": "a@b", "Sub": "mallory"})},
		{"most of a subject", several, named, alice().with(part{"sub": "A.b_c@d-9" + strings.Repeat("x", 119)})},
	} {
		if _, err := c.from.Token(t.Context(), sign(t, jwt.SigningMethodHS256, shared.Secret, c.head, c.claims)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestAuthorizationHeaders(t *testing.T) {
	shared := signers()["shared"]
	a := openJWT(t, auth.JWT{Keys: []auth.JWTKey{shared}})
	token, err := shared.Sign(auth.JWTClaims{Subject: "alice", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		headers []string
		want    error
	}{
		{"none", nil, auth.ErrNoCredentials},
		{"a bearer's", []string{"Bearer " + token}, nil},
		{"in small letters", []string{"bearer " + token}, nil},
		{"two spaces", []string{"Bearer  " + token}, nil},
		{"two of them", []string{"Bearer " + token, "Bearer " + token}, auth.ErrRejected},
		{"two in one", []string{"Bearer " + token + ", Bearer " + token}, auth.ErrRejected},
		{"another scheme", []string{"Basic " + token}, auth.ErrRejected},
		{"no scheme", []string{token}, auth.ErrRejected},
		{"no token", []string{"Bearer"}, auth.ErrRejected},
		{"an empty one", []string{""}, auth.ErrRejected},
	} {
		r := httptest.NewRequest(http.MethodGet, "/v1/jobs", nil)
		r.Header["Authorization"] = c.headers
		p, err := a.Authenticate(r)
		if !errors.Is(err, c.want) || (p == nil) == (c.want == nil) {
			t.Errorf("%s: %+v, %v; want %v", c.name, p, err, c.want)
		}
	}
}
