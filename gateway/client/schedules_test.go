package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/client"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

func TestSchedulesAreThoseOfTheEngine(t *testing.T) {
	ctx := soon(t)
	e := open(t, redistest.Server(t).URL())
	c := dial(t, serve(t, gateway.Options{Engine: e}))
	if none, err := c.Schedules(ctx, topic); err != nil || len(none) != 0 {
		t.Errorf("before there is one: %+v, %v", none, err)
	}
	s := engine.Schedule{
		Topic: topic, Name: "nightly", Cron: "30 2 * * *", TimeZone: "Europe/Berlin", Missed: engine.MissedAll, Type: "export",
		Title: "<Orders>", Queue: "exports", MaxAttempts: 1, Labels: map[string]string{"region": "eu"}, Payload: json.RawMessage(`{"year":2025}`),
	}
	put, created, err := c.PutSchedule(ctx, s)
	if err != nil || !created {
		t.Fatalf("put: created %t, %v", created, err)
	}
	if _, created, err = c.PutSchedule(ctx, s); err != nil || created {
		t.Errorf("put again: created %t, %v", created, err)
	}
	plain := engine.Schedule{Topic: topic, Name: "plain", Cron: "@daily", Type: "export"}
	if _, _, err := c.PutSchedule(ctx, plain); err != nil {
		t.Fatal(err)
	}
	want, err := e.Schedules(ctx, topic)
	if err != nil || len(want) != 2 || fmt.Sprintf("%s", want[0].Payload) != `{"year":2025}` || want[1].MaxAttempts != engine.DefaultMaxAttempts {
		t.Fatalf("the engine has %+v, %v", want, err)
	}
	got, err := c.Schedules(ctx, topic)
	if err != nil || len(got) != 2 {
		t.Fatalf("listed are %+v, %v", got, err)
	}
	for i, at := range append([]engine.Scheduled{put}, got...) {
		b, err1 := json.Marshal(at)
		w, err2 := json.Marshal(want[max(i-1, 0)])
		if err := errors.Join(err1, err2); err != nil || !sameJSON(t, b, w) || at.Payload != nil {
			t.Errorf("%s\nwant\n%s", b, w)
		}
	}
	if !reflect.DeepEqual(got[0].Labels, s.Labels) {
		t.Errorf("labels are %v", got[0].Labels)
	}
	if err := c.DeleteSchedule(ctx, topic, "nightly"); err != nil {
		t.Error(err)
	}
	if left, err := e.Schedules(ctx, topic); err != nil || len(left) != 1 {
		t.Errorf("left are %+v, %v", left, err)
	}
}

func TestScheduleRefusalsAreTheEnginesErrors(t *testing.T) {
	ctx := soon(t)
	e := open(t, redistest.Server(t).URL())
	addr := serve(t, gateway.Options{Engine: e})
	c := dial(t, addr)
	put := func(change func(*engine.Schedule)) error {
		s := engine.Schedule{Topic: topic, Name: "nightly", Cron: "@daily", Type: "export"}
		change(&s)
		_, _, err := c.PutSchedule(ctx, s)
		return err
	}
	for name, tc := range map[string]struct {
		err, want error
	}{
		"a bad expression":        {put(func(s *engine.Schedule) { s.Cron = "x" }), engine.ErrInvalid},
		"a bad topic":             {put(func(s *engine.Schedule) { s.Topic = "me" }), engine.ErrInvalidTopic},
		"one that there is not":   {c.DeleteSchedule(ctx, topic, "nightly"), engine.ErrNoSchedule},
		"a name that leads away":  {c.DeleteSchedule(ctx, topic, "../../jobs"), engine.ErrInvalid},
		"deleting of a bad topic": {c.DeleteSchedule(ctx, "me", "nightly"), engine.ErrInvalidTopic},
	} {
		if !errors.Is(tc.err, tc.want) {
			t.Errorf("%s: %v, want %v", name, tc.err, tc.want)
		}
	}
	gone := dial(t, "127.0.0.1:1")
	if _, err := gone.Schedules(ctx, topic); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}
