package config

import (
	"encoding/json"
	"errors"
	"strings"

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
			list, err := parseItems[engine.Schedule](raw, "schedule", scheduleFields)
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
var scheduleFields = fieldsOf[engine.Schedule]()

// printSchedules gives the list as one line of JSON; "" for none.
func printSchedules(list []engine.Schedule) string {
	if len(list) == 0 {
		return ""
	}
	text, _ := json.Marshal(list) // the payloads are JSON already
	return string(text)
}
