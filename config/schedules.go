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
			wrong := complaints(eachWanting(err, form))
			// Now, so that a problem quotes the file's words instead of the whole list.
			for _, one := range complaints((worker.Options{Schedules: list}).Validate()) {
				wrong = append(wrong, errors.New(scheduleWords.Replace(one.Error())))
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

// parseSchedules reads the items of a list, and returns those that it can read.
func parseSchedules(raw any) (list []engine.Schedule, err error) {
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
	list = make([]engine.Schedule, 0, len(items))
	var wrong []error
	for i, item := range items {
		s, problems := parseSchedule(item)
		for _, one := range problems {
			wrong = append(wrong, fmt.Errorf("item %d: %w", i+1, one))
		}
		if problems == nil {
			list = append(list, s)
		}
	}
	return list, errors.Join(wrong...)
}

// parseSchedule reads an item, member by member, by way of JSON, which knows which fields there are.
func parseSchedule(raw any) (s engine.Schedule, problems []error) {
	members, ok := raw.(map[string]any)
	if !ok {
		return s, []error{errors.New("no schedule")}
	}
	for _, key := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(scheduleFields, strings.ToLower(key)) {
			problems = append(problems, fmt.Errorf("unknown field %q", clip(key, 40)))
		} else if err := parseMember(&s, key, members[key]); err != nil {
			problems = append(problems, err)
		}
	}
	return s, problems
}

func parseMember(s *engine.Schedule, key string, value any) error {
	text, err := json.Marshal(map[string]any{key: value})
	if wrong := (*json.UnsupportedValueError)(nil); errors.As(err, &wrong) {
		return errors.New(wrong.Str + ", which is no number in JSON")
	}
	if err != nil {
		return errors.New("a key that is no text, which JSON does not have")
	}
	err = json.Unmarshal(text, s)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		hint := ""
		if wrong.Type.Kind() == reflect.String {
			hint = " where a text is wanted; put it into quotes"
		}
		return fmt.Errorf("%s: a %s%s", wrong.Field, wrong.Value, hint)
	}
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// printSchedules gives the list as one line of JSON; "" for none.
func printSchedules(list []engine.Schedule) string {
	if len(list) == 0 {
		return ""
	}
	text, _ := json.Marshal(list) // the payloads are JSON already
	return string(text)
}
