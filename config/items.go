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
)

// fieldsOf are the members that an item of a list may have.
func fieldsOf[T any]() (names []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// parseItems reads a list of what, which a text has as one line of YAML or JSON, and returns the items
// that it can read.
func parseItems[T any](raw any, what string, fields []string) (list []T, err error) {
	if text, ok := raw.(string); ok {
		raw = nil
		if err := yaml.Unmarshal([]byte(text), &raw); err != nil {
			return nil, errors.New("not YAML: " + yamlFault(err))
		}
	}
	items, ok := raw.([]any)
	if !ok {
		return nil, errors.New("no list")
	}
	list = make([]T, 0, len(items))
	var wrong []error
	for i, item := range items {
		var into T
		problems := parseItem(item, &into, what, fields)
		for _, one := range problems {
			wrong = append(wrong, fmt.Errorf("item %d: %w", i+1, one))
		}
		if problems == nil {
			list = append(list, into)
		}
	}
	return list, errors.Join(wrong...)
}

// parseItem reads an item, member by member, by way of JSON, which knows which fields there are.
func parseItem(raw, into any, what string, fields []string) (problems []error) {
	members, ok := raw.(map[string]any)
	if !ok {
		return []error{errors.New("no " + what)}
	}
	for _, key := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(fields, strings.ToLower(key)) {
			problems = append(problems, fmt.Errorf("unknown field %q", clip(key, 40)))
		} else if err := parseMember(into, key, members[key]); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

func parseMember(into any, key string, value any) error {
	text, err := json.Marshal(map[string]any{key: value})
	if wrong := (*json.UnsupportedValueError)(nil); errors.As(err, &wrong) {
		return errors.New(wrong.Str + ", which is no number in JSON")
	}
	if err != nil {
		return errors.New("a key that is no text, which JSON does not have")
	}
	err = json.Unmarshal(text, into)
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
