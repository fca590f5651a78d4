package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
)

// schedules is a list in the file, and the same as one line of YAML or JSON elsewhere.
func schedules(at func(*Config) *[]engine.Schedule) codec {
	const form = "a list of schedules, each with a name, topic, type and cron"
	return codec{
		form:     form,
		verbatim: true,
		set: func(c *Config, raw any) error {
			list, err := parseSchedules(raw)
			if err != nil {
				return eachWanting(err, form)
			}
			// Now, so that a problem quotes the file's words instead of the whole list.
			var wrong []error
			for _, one := range complaints((worker.Options{Schedules: list}).Validate()) {
				wrong = append(wrong, errors.New(scheduleWords.Replace(strings.ReplaceAll(one.Error(), "\n", "; "))))
			}
			if wrong == nil {
				*at(c) = list
			}
			return errors.Join(wrong...)
		},
		get:   func(c *Config) string { return printSchedules(*at(c)) },
		zero:  func(c *Config) bool { return len(*at(c)) == 0 },
		spoil: func(*Config) {},
	}
}

// scheduleWords are what a file calls the fields of a schedule.
var scheduleWords = strings.NewReplacer(
	"invalid Schedules: ", "", "invalid schedule Name", "name", "invalid topic", "topic", "invalid Cron", "cron", "invalid TimeZone", "time_zone",
	"TimeZone", "time_zone", "invalid Missed", "missed", "invalid Type", "type", "invalid Title", "title", "invalid Labels", "labels",
	"invalid label", "label", "invalid Queue", "queue", "invalid MaxAttempts", "max_attempts",
	"invalid Payload", "payload",
)

// scheduleFields are the members that a schedule may have.
var scheduleFields = func() (names []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[engine.Schedule]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}()

func parseSchedules(raw any) ([]engine.Schedule, error) {
	if text, ok := raw.(string); ok {
		raw = nil
		if err := yaml.Unmarshal([]byte(text), &raw); err != nil {
			return nil, errors.New("not YAML: " + strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", " "), "yaml: "))
		}
	}
	items, ok := raw.([]any)
	if !ok {
		return nil, errors.New("no list")
	}
	list := make([]engine.Schedule, len(items))
	var wrong []error
	for i, item := range items {
		var err error
		if list[i], err = parseSchedule(item); err != nil {
			wrong = append(wrong, fmt.Errorf("item %d: %w", i+1, err))
		}
	}
	return list, errors.Join(wrong...)
}

// parseSchedule reads an item by way of JSON, which knows which fields there are.
func parseSchedule(raw any) (engine.Schedule, error) {
	members, ok := raw.(map[string]any)
	if !ok {
		return engine.Schedule{}, errors.New("no schedule")
	}
	for _, key := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(scheduleFields, strings.ToLower(key)) {
			return engine.Schedule{}, fmt.Errorf("unknown field %q", clip(key, 40))
		}
	}
	text, err := json.Marshal(raw)
	if wrong := (*json.UnsupportedValueError)(nil); errors.As(err, &wrong) {
		return engine.Schedule{}, errors.New(wrong.Str + ", which is no number in JSON")
	}
	if err != nil {
		return engine.Schedule{}, errors.New("a key that is no text, which JSON does not have")
	}
	var s engine.Schedule
	if err := json.Unmarshal(text, &s); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			hint := ""
			if wrong.Type.Kind() == reflect.String {
				hint = " where a text is wanted; put it into quotes"
			}
			return engine.Schedule{}, fmt.Errorf("%s: a %s%s", wrong.Field, wrong.Value, hint)
		}
		return engine.Schedule{}, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return s, nil
}

// printSchedules gives the list as one line of JSON; "" for none.
func printSchedules(list []engine.Schedule) string {
	if len(list) == 0 {
		return ""
	}
	text, _ := json.Marshal(list) // the payloads are JSON already
	return string(text)
}
