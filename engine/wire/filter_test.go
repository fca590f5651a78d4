package wire_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// The canonical form is the same for equal filters, and reads as the filter it is of.
func TestAFiltersCanonicalForm(t *testing.T) {
	const job = "0701JDG5CW2QK3V9Y7H4N8R6ZTXB"
	rapid.Check(t, func(t *rapid.T) {
		at := func(name string) time.Time {
			if !rapid.Bool().Draw(t, name) {
				return time.Time{}
			}
			return time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, name)).UTC()
		}
		f := wire.Filter{
			Job:         rapid.SampledFrom([]wire.JobID{"", job}).Draw(t, "job"),
			Parent:      rapid.SampledFrom([]wire.JobID{"", job, wire.NoParent}).Draw(t, "parent"),
			Type:        rapid.SampledFrom([]string{"", "export"}).Draw(t, "type"),
			State:       rapid.SampledFrom([]wire.State{"", wire.Failed}).Draw(t, "state"),
			CreatedFrom: at("from"), CreatedTo: at("to"),
		}
		for name, value := range rapid.MapOfN(rapid.StringMatching(`[a-z][a-z0-9._-]{0,10}`), rapid.StringN(0, 20, 256), 0, 16).Draw(t, "labels") {
			if f.Labels == nil {
				f.Labels = map[string]string{}
			}
			f.Labels[name] = value
		}
		q, err := url.ParseQuery(f.String())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(f.String(), ",") {
			t.Fatalf("%s has a comma, which parts the fields of a page", f)
		}
		read, err := wire.ParseFilter(q)
		if err != nil || !reflect.DeepEqual(read, f) {
			t.Fatalf("%s is read as %+v, %v; want %+v", f, read, err, f)
		}
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var same wire.Filter
		if err := json.Unmarshal(b, &same); err != nil || !reflect.DeepEqual(same, f) {
			t.Fatalf("%s is read as %+v, %v; want %+v", b, same, err, f)
		}
	})
}

func TestFiltersThatAreRefused(t *testing.T) {
	for query, says := range map[string]string{
		"q=text":                              `"q"`,
		"topic=user:42":                       `"topic"`,
		"state=failed&state=queued":           "state",
		"state=":                              "state",
		"state=done":                          "done",
		"type=Export":                         "Export",
		"job=7":                               "job",
		"parent=nobody":                       "parent",
		"label=team":                          "name:value",
		"label=":                              "label",
		"label=team:a&label=team:b":           "once",
		"label=Team:a":                        "Team",
		"label=a:" + strings.Repeat("v", 257): "257",
		"created_from=yesterday":              "yesterday",
		"created_to=2026-11-20":               "created_to",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = wire.ParseFilter(q)
		if !errors.Is(err, wire.ErrInvalid) || !strings.Contains(err.Error(), says) || len(err.Error()) > 400 {
			t.Errorf("%.40s: %v, want ErrInvalid that says %s", query, err, says)
		}
	}
	for _, text := range []string{`{"q":"x"}`, `{"topic":"user:42"}`, `{"state":"done"}`, `{"labels":["a"]}`, `{"created_from":"x"}`, `[]`} {
		var f wire.Filter
		if err := json.Unmarshal([]byte(text), &f); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", text, err)
		}
	}
	far := wire.Filter{CreatedTo: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}
	if err := far.Validate(); !errors.Is(err, wire.ErrInvalid) {
		t.Errorf("the year 10000: %v", err)
	}
}

// What is no record of ours is about no job, and nothing of it is read beyond its end.
func TestSubjectsOfTornRecords(t *testing.T) {
	const whole = `{"id":"1-1","type":"job.queued","time":"","topic":"user:1","job":{"id":"0701JDG5CW2QK3V9Y7H4N8R6ZTXB","rev":1,"type":"a","title":"\"","labels":{"a":"b","c":"\\"},"parent":"0701JDG5CW2QK3V9Y7H4N8R6ZTXC","created_at":"2026-11-20T18:02:33.479Z","state":"queued","percent":0}}`
	f := wire.Filter{Type: "a", Parent: "0701JDG5CW2QK3V9Y7H4N8R6ZTXC", Labels: map[string]string{"a": "b", "c": `\`}}
	if !f.Match(wire.Entry{JSON: []byte(whole)}) {
		t.Error("the whole record does not match")
	}
	for i := range len(whole) {
		wire.Filter{Labels: map[string]string{"x": "y"}}.Match(wire.Entry{JSON: []byte(whole[:i])})
	}
}
