package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/logline"
)

// A Gate asks an Authenticator, within a bound. Its methods may be called concurrently.
type Gate struct {
	auth    auth.Authenticator
	timeout time.Duration
	log     *slog.Logger
	logged  *logline.Sampler[string] // by error
}

// logEvery is the least time between two lines of one error: anybody may send what cannot be checked.
const logEvery = time.Minute

// maxKindBytes bounds what the Gate remembers of an error.
const maxKindBytes = 200

// NewGate makes a Gate that gives a for each question the timeout, and logs why
// credentials could not be checked.
func NewGate(a auth.Authenticator, timeout time.Duration, log *slog.Logger) *Gate {
	return &Gate{a, timeout, log, logline.NewSampler(logEvery, func(string) string { return "others" })}
}

// Request says who sends a request. Its error wraps one of package auth's, or is the
// context's where the client has gone.
func (g *Gate) Request(r *http.Request) (*auth.Principal, error) {
	return g.ask(r.Context(), func(ctx context.Context) (*auth.Principal, error) { return g.auth.Authenticate(r.WithContext(ctx)) })
}

// Token says who bears a token that a client sent. Its error is as Request's.
func (g *Gate) Token(ctx context.Context, token string) (*auth.Principal, error) {
	return g.ask(ctx, func(ctx context.Context) (*auth.Principal, error) { return g.auth.Token(ctx, token) })
}

func (g *Gate) ask(ctx context.Context, ask func(context.Context) (*auth.Principal, error)) (*auth.Principal, error) {
	within, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	p, err := ask(within)
	switch {
	case err == nil, errors.Is(err, auth.ErrNoCredentials), errors.Is(err, auth.ErrRejected), errors.Is(err, auth.ErrDisabled):
		return p, err
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case !errors.Is(err, auth.ErrUnavailable):
		err = fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
	}
	if suppressed, logs := g.logged.Take(excerpt.Of(err.Error(), maxKindBytes)); logs {
		g.log.Error("credentials cannot be checked", "error", err, "suppressed", suppressed)
	}
	return nil, err
}
