package cli

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/internal/logline"
)

// redisLogEvery is the time between two lines of go-redis with one format: it has one for each dial
// that fails.
const redisLogEvery = 10 * time.Second

// logRedis has go-redis log its own lines, such as a failed dial or a new master, to log. go-redis has
// one logger for the process: package cli sets it, since a library must not.
func logRedis(log *slog.Logger) { redis.SetLogger(newRedisLog(log)) }

// A redisLog logs the first of equal lines, and counts the others for the next one.
type redisLog struct {
	log     *slog.Logger
	formats *logline.Sampler[string] // go-redis has some dozens
}

func newRedisLog(log *slog.Logger) *redisLog {
	return &redisLog{log, logline.NewSampler(redisLogEvery, func(string) string { return "" })}
}

// Printf implements go-redis's interface.
func (l *redisLog) Printf(ctx context.Context, format string, args ...any) {
	suppressed, logs := l.formats.Take(format)
	if !logs {
		return
	}
	line := l.log.With("text", fmt.Sprintf(format, args...))
	if suppressed > 0 {
		line = line.With("suppressed", suppressed)
	}
	line.WarnContext(ctx, "go-redis")
}

// silent drops what go-redis logs: commands that end by themselves show its errors.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
