package wire_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A schedule takes the payloads that a job does, and its jobs get the same bytes.
func TestPayloadsOfSchedules(t *testing.T) {
	type rows struct{ Rows int }
	for name, c := range map[string]struct {
		payload any
		want    string // "" : refused
	}{
		"none":                   {nil, "null"},
		"no bytes":               {[]byte{}, "null"},
		"no raw message":         {json.RawMessage(nil), "null"},
		"bytes":                  {[]byte(`{"b":1, "a":2}`), `{"b":1, "a":2}`},
		"a raw message":          {json.RawMessage(`[12345678901234567890]`), `[12345678901234567890]`},
		"a struct":               {rows{1000}, `{"Rows":1000}`},
		"a text":                 {"x", `"x"`},
		"a number":               {7, "7"},
		"bytes that are no JSON": {[]byte("rows"), ""},
		"a channel":              {make(chan int), ""},
		"too much":               {strings.Repeat("a", wire.MaxSchedulePayloadBytes), ""},
	} {
		s := wire.Schedule{Topic: "user:1", Name: "n", Cron: "@daily", Type: "export", Payload: c.payload}
		full, err := s.Prepared()
		if c.want == "" {
			if !errors.Is(err, wire.ErrInvalid) || !strings.Contains(err.Error(), "Payload") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		spec, err := full.Spec().Prepared()
		if got, ok := spec.Payload.([]byte); err != nil || !ok || string(got) != c.want {
			t.Errorf("%s: the job gets %s, %v; want %s", name, spec.Payload, err, c.want)
		}
		if name == "none" || strings.HasPrefix(name, "no ") {
			continue
		}
		// Not yet prepared it makes the same job.
		if spec, err = s.Spec().Prepared(); err != nil || string(spec.Payload.([]byte)) != c.want {
			t.Errorf("%s: unprepared, the job gets %s, %v", name, spec.Payload, err)
		}
	}
}

// The JSON of schedules is that of versions in which Payload was a json.RawMessage, in both
// directions; numbers keep their digits and keys their order.
func TestJSONOfSchedules(t *testing.T) {
	const text = `{"topic":"user:1","name":"n","cron":"@daily","time_zone":"UTC","missed":"latest","type":"export","title":"T",` +
		`"labels":{"a":"b"},"queue":"q","max_attempts":4,"payload":{"b":12345678901234567890,"a":[1.10]}}`
	var s wire.Schedule
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	if raw, ok := s.Payload.(json.RawMessage); !ok || string(raw) != `{"b":12345678901234567890,"a":[1.10]}` || s.Topic != "user:1" || s.Labels["a"] != "b" || s.MaxAttempts != 4 {
		t.Errorf("read are %+v", s)
	}
	if b, err := json.Marshal(s); err != nil || string(b) != text {
		t.Errorf("written are\n%s, %v\nwant\n%s", b, err, text)
	}
	at := wire.Scheduled{Schedule: s, Err: errors.New("no")}
	b, err := json.Marshal(at)
	want := strings.Replace(text, `,"payload":{"b":12345678901234567890,"a":[1.10]}`, `,"error":"no"`, 1)
	if err != nil || string(b) != want {
		t.Errorf("a state is\n%s, %v\nwant\n%s", b, err, want)
	}
	var back wire.Scheduled
	if err := json.Unmarshal(b, &back); err != nil || back.Name != "n" || back.Err == nil || back.Payload != nil {
		t.Errorf("read back: %+v, %v", back, err)
	}
	plain := wire.Schedule{Cron: "@daily", Type: "export", Payload: []byte(`{"x":1}`)}
	if b, err := json.Marshal(plain); err != nil || string(b) != `{"cron":"@daily","type":"export","payload":{"x":1}}` {
		t.Errorf("bytes are written as %s, %v", b, err)
	}
	if _, err := json.Marshal(wire.Schedule{Payload: make(chan int)}); err == nil {
		t.Error("a channel is written")
	}
}
