package worker

import (
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
)

// OwnGate gives w a gate of its own, as if it had a process of its own.
func OwnGate(w *Worker) { w.gate = newGate() }

// AsynqClient is the client of a worker's asynq servers.
func AsynqClient(e *engine.Engine) redis.UniversalClient {
	return asynqClient{byRedisClock{e.Redis(), e}}
}
