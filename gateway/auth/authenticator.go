package auth

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Why there is no principal. Authenticators wrap one of these; any other error means
// that they could not find out, and is not the client's fault.
var (
	// ErrNoCredentials: the request carries none. A WebSocket may still send a token.
	ErrNoCredentials = errors.New("no credentials")
	// ErrRejected: they are malformed, unknown or expired. New ones may do.
	ErrRejected = errors.New("credentials rejected")
	// ErrDisabled: they are of a user who may not come in. No others will do.
	ErrDisabled = errors.New("user disabled")
)

// An Authenticator says who sends a request. Its methods are called concurrently,
// before anything else is done for the request.
type Authenticator interface {
	// Authenticate reads the request's header and cookies, never its query or body.
	Authenticate(r *http.Request) (*Principal, error)
	// Token says who bears a token that a WebSocket sent after it was opened.
	Token(ctx context.Context, token string) (*Principal, error)
	// Serves refuses an address that requests must not be taken on in this mode. The
	// error says what to do instead.
	Serves(addr net.Addr) error
	// Site is where requests may be addressed to and come from.
	Site() Site
	// Announcement is what an operator should know of the mode when it starts; ""
	// when there is nothing.
	Announcement() string
}

// ErrQueryToken says that a request bears a token in its URL, where logs, histories
// and Referer headers would keep it.
var ErrQueryToken = errors.New("a token in the query is not taken: send it in the Authorization header, a cookie, or an auth frame")

// CheckQuery refuses a URL that carries what looks like a token. Its error is
// ErrQueryToken.
func CheckQuery(r *http.Request) error {
	// Not URL.Query, which leaves out what is malformed: logs do not.
	pairs := strings.FieldsFunc(r.URL.RawQuery, func(c rune) bool { return c == '&' || c == ';' })
	for _, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if slices.Contains(tokenNames, strings.ToLower(name)) {
			return ErrQueryToken
		}
	}
	return nil
}

var tokenNames = []string{"token", "access_token", "auth", "authorization", "jwt", "api_key"}
