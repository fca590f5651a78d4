package client_test

import (
	"reflect"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func TestQueuesAreThoseOfTheEngine(t *testing.T) {
	ctx := soon(t)
	e := open(t, redistest.Server(t).URL())
	c := dial(t, serve(t, gateway.Options{Engine: e}))
	made, err := c.Enqueue(ctx, engine.Spec{Topic: topic, Type: "export", Queue: "exprots"})
	if err != nil {
		t.Fatal(err)
	}
	want, err := e.Queues(ctx)
	if err != nil || len(want) != 1 || want[0].Holds("export") != engine.HoldNoWorker {
		t.Fatalf("the engine has %+v, %v", want, err)
	}
	want[0].Counts.OldestSeconds = 0
	for _, ask := range []func() ([]engine.Queue, error){
		func() ([]engine.Queue, error) { return c.Queues(ctx) },
		func() ([]engine.Queue, error) { return c.QueuesOf(ctx, made.ID, made.ID) },
	} {
		got, err := ask()
		if err == nil && len(got) == 1 && got[0].Counts != nil {
			got[0].Counts.OldestSeconds = 0
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("the gateway has %+v, %v; want %+v", got, err, want)
		}
	}
	if none, err := c.QueuesOf(ctx); err != nil || len(none) != 0 {
		t.Errorf("no jobs have the queues %+v, %v", none, err)
	}
}
