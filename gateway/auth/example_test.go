package auth_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// proxied trusts a proxy in front of the gateway to name the user in a header.
type proxied struct{}

func (proxied) Authenticate(r *http.Request) (*auth.Principal, error) {
	user := r.Header.Get("X-User")
	if user == "" {
		return nil, auth.ErrNoCredentials
	}
	return &auth.Principal{
		Subject: user,
		Grants:  []auth.Grant{{Topics: "user:" + user, Rights: auth.Read | auth.Enqueue | auth.Control}},
	}, nil
}

// Token refuses every token: only the proxy names users.
func (proxied) Token(context.Context, string) (*auth.Principal, error) {
	return nil, auth.ErrNoCredentials
}

func (proxied) Announcement() string { return "users are named by the proxy's X-User header" }
func (proxied) Close() error         { return nil }

// A backend signs tokens for its users, and the gateway has the public half of the key.
func ExampleJWT() {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	backend := auth.JWTKey{ID: "2026-11", Algorithm: auth.EdDSA, Private: private}
	token, err := backend.Sign(auth.JWTClaims{
		Subject: "42", Grants: map[string][]string{"team:*": {"read"}}, Audience: "tidemark", Life: 15 * time.Minute,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	known := auth.JWTKey{ID: "2026-11", Algorithm: auth.EdDSA, Public: private.Public()}
	a, err := auth.JWT{Keys: []auth.JWTKey{known}, Audience: "tidemark"}.Open(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() {
		if err := a.Close(); err != nil {
			fmt.Println(err)
		}
	}()
	r := httptest.NewRequest(http.MethodGet, "/v1/jobs", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+token)
	p, err := a.Authenticate(r)
	fmt.Println(p.Subject, p.May(auth.Control, "user:42"), p.May(auth.Read, "team:7"), p.May(auth.Control, "team:7"), err)

	r.Header.Set("Authorization", "Bearer "+token+"x")
	_, err = a.Authenticate(r)
	fmt.Println(err)
	// Output:
	// 42 true true false <nil>
	// credentials rejected: the token is malformed
}

// A program's own Authenticator goes into gateway.Options.Auth.
func ExampleAuthenticator() {
	var a auth.Authenticator = proxied{}
	r := httptest.NewRequest(http.MethodGet, "/v1/jobs", http.NoBody)
	_, err := a.Authenticate(r)
	fmt.Println(err)

	r.Header.Set("X-User", "42")
	p, err := a.Authenticate(r)
	fmt.Println(p.May(auth.Read, "user:42"), p.May(auth.Read, "user:7"), err)
	// Output:
	// no credentials
	// true false <nil>
}
