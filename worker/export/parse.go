package export

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// ParseCondition reads a condition as people write it: the column, a word of Condition.Is and the value, with a
// space between: "total at_least 12.50", "name contains GmbH", "note is_null". The first word decides, so a
// column with such a word in its name has no such form.
func ParseCondition(text string) (Condition, error) {
	padded, first := text+" ", -1
	var c Condition
	for _, is := range slices.Sorted(maps.Keys(words())) {
		if i := strings.Index(padded, " "+is+" "); i > 0 && (first < 0 || i < first) {
			first = i
			c = Condition{Column: text[:i], Is: is, Value: strings.TrimSuffix(padded[i+len(is)+2:], " ")}
		}
	}
	if first < 0 {
		return c, errors.New(`want a column, a word and a value, such as "total at_least 12.50"; the words are ` + conditionWords)
	}
	return c, c.validate()
}

const conditionWords = "equal, not_equal, less, at_most, more, at_least, contains, is_null and not_null"

// words are those of Condition.Is.
func words() map[string]bool {
	all := map[string]bool{"contains": true, "is_null": true, "not_null": true}
	for is := range comparisons {
		all[is] = true
	}
	return all
}
