package worker_test

import (
	"strings"
	"testing"

	"github.com/hibiken/asynq"

	"github.com/tidemark-dev/tidemark/engine"
)

// An application's own task in a queue of Tidemark's is kept, in asynq's archive, and the log
// says so.
func TestATaskOfSomebodyElsesIsArchivedAndNamed(t *testing.T) {
	t.Parallel()
	e := real(t)
	var log logbook
	o := brief(e)
	o.Logger = log.logger()
	w := build(t, o)
	start(t, w)
	info := send(t, e, "mail:send", asynq.Queue(e.QueueName(engine.DefaultQueue)))
	eventually(t, "asynq to archive the task", func() bool { return strings.HasPrefix(standing(e, info), "archived") })
	if text := log.String(); !strings.Contains(text, "give Tidemark queues of its own") ||
		!strings.Contains(text, "queue="+e.QueueName(engine.DefaultQueue)+" type=mail:send") || strings.Contains(text, "secret") {
		t.Errorf("the log says\n%s", text)
	}
}
