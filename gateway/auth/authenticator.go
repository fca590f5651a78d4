package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Why there is no principal. An Authenticator wraps one of these.
var (
	// ErrNoCredentials: the request carries none. A WebSocket may still send a token.
	ErrNoCredentials = errors.New("no credentials")
	// ErrRejected: they are malformed, unknown or expired. New ones may do.
	ErrRejected = errors.New("credentials rejected")
	// ErrDisabled: they are of a user who may not come in. No others will do.
	ErrDisabled = errors.New("user disabled")
	// ErrUnavailable: they cannot be checked at the moment, which is not the client's fault.
	// The same ones may do later. Every other error counts as this one.
	ErrUnavailable = errors.New("credentials cannot be checked")
)

// A Mode is a way to find out who sends a request, with its settings.
type Mode interface {
	// Open makes ready what the mode needs, such as keys that it fetches, within ctx. ctx
	// bounds opening alone.
	Open(ctx context.Context) (Authenticator, error)
}

// An Authenticator says who sends a request. Its methods are called concurrently, before
// anything else is done for the request. It belongs to who opened it.
type Authenticator interface {
	// Authenticate reads the request's header and cookies, never its query or body. The
	// request's context bounds it.
	Authenticate(r *http.Request) (*Principal, error)
	// Token says who bears a token that a WebSocket sent after it was opened.
	Token(ctx context.Context, token string) (*Principal, error)
	// Announcement is what an operator should know of the mode when it starts; ""
	// when there is nothing.
	Announcement() string
	// Close gives back what Open took. It comes after the gateway's Stop, once.
	Close() error
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
