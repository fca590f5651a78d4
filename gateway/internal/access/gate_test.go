package access_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
)

// away cannot check any token, for the reason that the token is.
type away struct{ auth.Dev }

func (away) Token(_ context.Context, token string) (*auth.Principal, error) {
	return nil, fmt.Errorf("%w: %s", auth.ErrUnavailable, token)
}

// strict rejects every token, for the reason that the token is.
type strict struct{ auth.Dev }

func (strict) Token(_ context.Context, token string) (*auth.Principal, error) {
	return nil, fmt.Errorf("%w: %s", auth.ErrRejected, token)
}

// The client is not told why its credentials are rejected. The operator is.
func TestWhyCredentialsAreRejected(t *testing.T) {
	var log bytes.Buffer
	gate := access.NewGate(strict{}, access.NewUses(nil), time.Second, slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		if _, err := gate.Token(t.Context(), "it has expired"); !errors.Is(err, auth.ErrRejected) {
			t.Error(err)
		}
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "credentials were rejected") || !strings.Contains(text, "it has expired") {
		t.Errorf("the log is %s", text)
	}
}

// Clients that send what cannot be checked do not fill the log.
func TestWhatCannotBeCheckedIsSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		gate := access.NewGate(away{}, access.NewUses(nil), time.Second, slog.New(slog.NewTextHandler(&log, nil)))
		ask := func(reason string) {
			if _, err := gate.Token(t.Context(), reason); !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("%s: %v", reason, err)
			}
		}
		for range 100 {
			ask("one")
			ask("two")
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("200 of two kinds have %d lines:\n%s", n, log.String())
		}
		log.Reset()
		<-time.After(time.Minute)
		ask("one")
		if text := log.String(); !strings.Contains(text, "suppressed=99") {
			t.Errorf("a minute later: %s", text)
		}
		log.Reset()
		for i := range 1000 {
			ask(fmt.Sprint(i))
		}
		if n := strings.Count(log.String(), "\n"); n > 300 {
			t.Errorf("reasons that differ have %d lines", n)
		}
	})
}
