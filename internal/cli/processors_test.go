package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/option"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/processor"
)

// echo is a processor that counts the calls that make it say something.
func echo() processor.Processor {
	times := new(int)
	return processor.Processor{
		Type: "echo", Queue: "echoes", Brief: "says it again", Extensions: []string{".txt"},
		Settings: []processor.Setting{{Name: "times", Field: "Times", Doc: "How often it says it.", Count: times}},
		Defaults: func() { option.Default(times, 2) },
		Validate: func() error { option.Default(times, 2); return errors.Join(option.Within("Times", *times, 1, 5)) },
		Register: func(w *worker.Worker, d processor.Deps) {
			worker.Handle(w, "echo", func(_ context.Context, run *worker.Run, text string) error {
				return run.Result(fmt.Sprint(strings.Repeat(text, *times), d.Blobs != nil))
			})
		},
	}
}

// A second processor is a line in config.Processors: it has settings, a queue and a handler, and
// the page and the help name it. Not parallel, and not beside other tests: the list is the process's.
func TestSecondProcessorIsALineInAList(t *testing.T) {
	before := config.Processors
	t.Cleanup(func() { config.Processors = before })
	config.Processors = append(slices.Clone(before), echo)

	s := opened(t, io.Discard, "--set", "echo.times=3")
	if !slices.Contains(s.queues, "echoes") || !slices.Contains(s.queues, "analysis") {
		t.Errorf("its worker serves %q", s.queues)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	serving, stop := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.run(serving, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("it ended with %v", err)
	}
	made, err := s.session.Engine.Enqueue(ctx, engine.Spec{Topic: "user:42", Type: "echo", Queue: "echoes", Payload: "ho"})
	if err != nil {
		t.Fatal(err)
	}
	if j, err := s.session.Engine.Wait(ctx, made.ID); err != nil || string(j.Result) != `"hohohotrue"` {
		t.Errorf("its job ended as %s with %s: %v", j.State, j.Result, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.listener.Addr().String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil || !strings.Contains(string(page), `&#34;echo&#34;,&#34;extensions&#34;:[&#34;.txt&#34;]`) {
		t.Errorf("the page does not offer it: %v\n%.600s", err, page)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}

	a := &app{out: io.Discard, err: io.Discard}
	for _, name := range []string{"enqueue", "worker"} {
		cmd, _, err := a.root().Find([]string{name})
		if err != nil || !strings.Contains(cmd.Long, "echo       says it again; queue echoes") || !strings.Contains(cmd.Long, "analysis") {
			t.Errorf("the help of %s does not name it: %v\n%s", name, err, cmd.Long)
		}
	}
	flags := a.root()
	flags.SetArgs([]string{"config", "check", "--set", "echo.times=6"})
	if err := flags.ExecuteContext(ctx); err == nil || !strings.Contains(err.Error(), "want 1 to 5") {
		t.Errorf("a setting that is out of bounds: %v", err)
	}
	if reference := string(config.Reference()); !strings.Contains(reference, "### `echo.times`") {
		t.Error("the reference of settings does not have its section")
	}
}
