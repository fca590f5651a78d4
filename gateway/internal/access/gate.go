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

// A Gate asks an Authenticator, within a bound, and refuses what is revoked. Its methods may be called concurrently.
type Gate struct {
	auth    auth.Authenticator
	uses    *Uses
	timeout time.Duration
	log     *slog.Logger
	logged  *logline.Sampler[string] // by error
}

// logEvery is the least time between two lines of one error: anybody may send what cannot be checked.
const logEvery = time.Minute

// maxKindBytes bounds what the Gate remembers of an error.
const maxKindBytes = 200

// NewGate makes a Gate that gives a for each question the timeout, asks uses what is revoked, and logs why
// credentials were rejected or could not be checked.
func NewGate(a auth.Authenticator, uses *Uses, timeout time.Duration, log *slog.Logger) *Gate {
	return &Gate{a, uses, timeout, log, logline.NewSampler(logEvery, func(string) string { return "others" })}
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
	if err == nil {
		err = g.uses.Admits(p)
	}
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, auth.ErrNoCredentials), errors.Is(err, auth.ErrDisabled):
		return nil, err
	case errors.Is(err, auth.ErrRejected):
		g.note(slog.LevelWarn, "credentials were rejected", err) // the client is not told why
		return nil, err
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case !errors.Is(err, auth.ErrUnavailable):
		err = fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
	}
	g.note(slog.LevelError, "credentials cannot be checked", err)
	return nil, err
}

func (g *Gate) note(level slog.Level, text string, err error) {
	if suppressed, logs := g.logged.Take(excerpt.Of(err.Error(), maxKindBytes)); logs {
		g.log.Log(context.Background(), level, text, "error", err, "suppressed", suppressed)
	}
}
