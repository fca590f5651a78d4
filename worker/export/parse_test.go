package export

import "testing"

func TestConditionsAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]Condition{
		"total at_least 12.50":    {"total", "at_least", "12.50"},
		"unit price less 3":       {"unit price", "less", "3"},
		"name equal  a b ":        {"name", "equal", " a b "},
		"name equal ":             {"name", "equal", ""},
		"note is_null":            {"note", "is_null", ""},
		"text contains less is 1": {"text", "contains", "less is 1"},
	} {
		if got, err := ParseCondition(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "total", "total over 3", " equal 3", "note is_null 3", "atotal at_leastx 3"} {
		if got, err := ParseCondition(text); err == nil {
			t.Errorf("%q is taken as %+v", text, got)
		}
	}
}
