package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

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
