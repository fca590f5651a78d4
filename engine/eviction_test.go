package engine_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A Redis whose user may not ask for INFO is taken, and its operator hears what is not checked.
func TestPolicyThatCannotBeReadIsLogged(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t, redistest.WithSettings("maxmemory-policy allkeys-lru", "user lim on >pw ~* &* +@all -@dangerous"))
	allowed := redistest.Server(t, redistest.WithSettings("user lim on >pw ~* &* +@all -@dangerous +info"))
	for _, c := range []struct {
		server *redistest.Redis
		warns  int
	}{{server, 1}, {allowed, 0}, {redistest.Server(t), 0}} {
		var log bytes.Buffer
		url := c.server.URL()
		if c.server == server || c.server == allowed {
			url = strings.Replace(url, "redis://", "redis://lim:pw@", 1)
		}
		e, err := engine.Open(soon(t), engine.Options{URL: url, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		must(t, e.Close())
		said := log.String()
		if got := strings.Count(said, "level=WARN"); got != c.warns {
			t.Errorf("%d warnings, want %d: %s", got, c.warns, said)
		}
		if c.warns > 0 && (!strings.Contains(said, "+info") || !strings.Contains(said, "noeviction")) {
			t.Errorf("the warning does not name the policy and the right: %s", said)
		}
	}
}
