package cli

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// logRedis has go-redis log its own lines, such as a failed dial or a new master, to log. go-redis has
// one logger for the process: package cli sets it, since a library must not.
func logRedis(log *slog.Logger) {
	redis.SetLogger(&redisLog{log: log, last: map[string]*redisLine{}})
}

// redisLogEvery is the time between two lines of go-redis with one format: it has one for each dial
// that fails.
const redisLogEvery = 10 * time.Second

// A redisLog logs the first of equal lines, and counts the others for the next one.
type redisLog struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[string]*redisLine // by format: go-redis has some dozens
}

type redisLine struct {
	logged     time.Time
	suppressed int
}

// Printf implements go-redis's interface.
func (l *redisLog) Printf(ctx context.Context, format string, args ...any) {
	suppressed, logs := l.sample(format, time.Now())
	if !logs {
		return
	}
	line := l.log.With("text", fmt.Sprintf(format, args...))
	if suppressed > 0 {
		line = line.With("suppressed", suppressed)
	}
	line.WarnContext(ctx, "go-redis")
}

func (l *redisLog) sample(format string, now time.Time) (suppressed int, logs bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.last[format]
	switch {
	case s == nil:
		s = &redisLine{}
		l.last[format] = s
	case now.Sub(s.logged) < redisLogEvery:
		s.suppressed++
		return 0, false
	}
	suppressed, s.suppressed, s.logged = s.suppressed, 0, now
	return suppressed, true
}

// silent drops what go-redis logs: commands that end by themselves show its errors.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
