package cli

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// go-redis has a line for each dial that fails: the log has one of them, and then how many there were.
func TestLinesOfGoRedisAreSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		l := newRedisLog(slog.New(slog.NewTextHandler(&b, nil)))
		for port := range 100 {
			l.Printf(t.Context(), "dial %d: refused", port)
		}
		l.Printf(t.Context(), "sentinel: new master=%q", "10.0.0.2:6379")
		if text := b.String(); strings.Count(text, "refused") != 1 || strings.Count(text, "new master") != 1 {
			t.Errorf("the log is\n%s", text)
		}
		b.Reset()
		<-time.After(redisLogEvery)
		l.Printf(t.Context(), "dial %d: refused", 7)
		if text := b.String(); !strings.Contains(text, `text="dial 7: refused" suppressed=99`) || !strings.Contains(text, "level=WARN") {
			t.Errorf("later the log is\n%s", text)
		}
	})
}
