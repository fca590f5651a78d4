package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
)

const nightlyFile = `schedules:
  - name: nightly
    topic: team:7
    type: export
    cron: "30 2 * * 1-5"
    time_zone: Europe/Berlin
    missed: all
    title: Nightly
    queue: exports
    labels: {region: eu}
    max_attempts: 1
    payload: {Rows: 1000, Since: 2026-01-02, deep: [{Key: x}]}
  - {name: pulse, topic: "user:1", type: pulse, cron: "@every 30s"}
`

func TestSchedules(t *testing.T) {
	want := []engine.Schedule{{
		Name: "nightly", Topic: "team:7", Type: "export", Cron: "30 2 * * 1-5", TimeZone: "Europe/Berlin", Missed: engine.MissedAll,
		Title: "Nightly", Queue: "exports", Labels: map[string]string{"region": "eu"}, MaxAttempts: 1,
		// Keys as they are written, which viper would not leave them.
		Payload: json.RawMessage(`{"Rows":1000,"Since":"2026-01-02T00:00:00Z","deep":[{"Key":"x"}]}`),
	}, {Name: "pulse", Topic: "user:1", Type: "pulse", Cron: "@every 30s"}}
	c := loaded(t, nightlyFile, nil)
	if !reflect.DeepEqual(c.Worker.Schedules, want) {
		t.Errorf("%+v\nwant\n%+v", c.Worker.Schedules, want)
	}
	if got := c.Origin("schedules").String(); got != "tidemark.yaml:1" {
		t.Errorf("they are from %q", got)
	}
	// What print shows can be given back, in every way that there is.
	shown := effective(t, c, "schedules").Value
	for name, c := range map[string]*config.Config{
		"a file":     loaded(t, "schedules: "+shown+"\n", nil),
		"a variable": loaded(t, "", map[string]string{"TIDEMARK_SCHEDULES": shown}),
		"--set":      loaded(t, "", nil, "--set", "schedules="+shown),
	} {
		if !reflect.DeepEqual(c.Worker.Schedules, want) {
			t.Errorf("from %s: %+v\nwant\n%+v", name, c.Worker.Schedules, want)
		}
	}
	if c := loaded(t, nightlyFile, map[string]string{"TIDEMARK_SCHEDULES": "[]"}); len(c.Worker.Schedules) != 0 {
		t.Errorf("a variable without any leaves %+v", c.Worker.Schedules)
	}
}

func TestSchedulesThatAreRefused(t *testing.T) {
	const form = "; want a list of schedules, each with a name, topic, type and cron"
	item := func(more string) string { return "{name: a, topic: 'user:1', type: x, cron: '@daily'" + more + "}" }
	// A fault has a line.
	each := func(items int, faults ...string) string {
		return strings.Join(faults, fmt.Sprintf("\ntidemark.yaml:1: schedules \"%d items\": ", items))
	}
	const name = "[a-z][a-z0-9._-]{0,63}"
	for _, tc := range []struct{ name, schedules, want string }{
		{"no list", "5", `schedules "5": no list` + form},
		{"a map", "{nightly: {cron: x}}", "no list" + form},
		{"no schedule", "[x]", `schedules "1 items": item 1: no schedule` + form},
		{"an unknown member", "[" + item("") + ", " + item(", corn: x") + "]", `schedules "2 items": item 2: unknown field "corn"` + form},
		{"a number for a text", "[{name: 5}]", "item 1: name: a number where a text is wanted; put it into quotes" + form},
		{"a number for a label", "[" + item(", labels: {a: 5}") + "]", "a number where a text is wanted; put it into quotes" + form},
		{"fewer attempts than one", "[" + item(", max_attempts: -1") + "]", "a of user:1: max_attempts -1: want 1 to 1000"},
		{"a payload with a key that JSON lacks", "[" + item(", payload: {1: 2}") + "]", "item 1: a key that is no text" + ", which JSON does not have" + form},
		{"a payload with a number that JSON lacks", "[" + item(", payload: {rows: .inf}") + "]", "item 1: +Inf, which is no number in JSON" + form},
		{"no name", "[{topic: 'user:1', type: x, cron: '@daily'}]", `name "": want [a-z0-9]`},
		{"no topic", "[{name: a, type: x, cron: '@daily'}]", `topic "": want kind:name`},
		{"an expression that is none", "[{name: a, topic: 'user:1', type: x, cron: 61 * * * *}]", `a of user:1: cron "61 * * * *": end of range (61) above maximum (59)`},
		{"a zone of nowhere", "[" + item(", time_zone: Mars/Olympus") + "]", `a of user:1: time_zone "Mars/Olympus": want a name of the IANA database`},
		{"a zone in the expression", "[{name: a, topic: 'user:1', type: x, cron: 'TZ=UTC @daily'}]", "a zone goes into time_zone"},
		{"an unknown policy", "[" + item(", missed: never") + "]", `a of user:1: missed "never": want skip, latest or all`},
		{"too many attempts", "[" + item(", max_attempts: 1001") + "]", "a of user:1: max_attempts 1001: want 1 to 1000"},
		{"the same twice", "[" + item("") + ", " + item("") + "]", "a of user:1 is named twice"},
		{"several of one", "[{name: B, topic: 'user:1', type: 'a b', cron: x, queue: 'No', labels: {A: x, B: y}, max_attempts: 1001}]", each(
			1, `B of user:1: type "a b": want `+name, `B of user:1: label name "A": want `+name, `B of user:1: label name "B": want `+name,
			`B of user:1: queue "No": want `+wire.QueueForm, `B of user:1: max_attempts 1001: want 1 to 1000`, `B of user:1: name "B": want [a-z0-9]`+name[5:],
			`B of user:1: cron "x": `,
		)},
		{"several that cannot be read", "[{name: 5, corn: x, crno: y}, " + item(", missed: never") + "]", each(
			2, `item 1: unknown field "corn"`+form, `item 1: unknown field "crno"`+form, "item 1: name: a number where a text is wanted; put it into quotes"+form,
			`a of user:1: missed "never"`,
		)},
		{"two problems", "[" + item(", missed: never") + ", {name: b, type: x, cron: '@daily'}]", "missed \"never\": want skip, latest or all\ntidemark.yaml:1: schedules \"2 items\": b of : topic"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := load(t, "schedules: "+tc.schedules+"\n", nil)
			if !errors.Is(err, config.ErrInvalid) || !strings.HasPrefix(err.Error(), "tidemark.yaml:1: schedules ") || !strings.Contains(err.Error(), tc.want) ||
				strings.Count(err.Error(), "\n") != strings.Count(tc.want, "\n") {
				t.Errorf("the error is\n\t%v\nwant one line with\n\t%s", err, tc.want)
			}
		})
	}
	if _, err := load(t, "", map[string]string{"TIDEMARK_SCHEDULES": "[{"}); err == nil || !strings.Contains(err.Error(), "not YAML") {
		t.Errorf("a variable that is no YAML: %v", err)
	}
}
