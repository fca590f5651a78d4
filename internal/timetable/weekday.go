package timetable

import (
	"slices"
	"strconv"
	"strings"
)

// weekdays writes the last field of a cron expression so that Sunday is 0 in it, which is
// all that the parser knows: crontab takes 7 for Sunday too, also as the end of a range, and
// a name for either. What is not about that stays as it is, also what is wrong.
func weekdays(expression string) string {
	fields := strings.Fields(expression)
	if len(fields) != 5 {
		return expression
	}
	parts := strings.Split(fields[4], ",")
	for i, part := range parts {
		parts[i] = sundayAsZero(part)
	}
	fields[4] = strings.Join(parts, ",")
	return strings.Join(fields, " ")
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// dayOf reads a day of the week, 0 to 7.
func dayOf(text string) (int, bool) {
	if i := slices.Index(dayNames, strings.ToLower(text)); i >= 0 {
		return i, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0 && n <= 7 && len(text) == 1
}

// sundayAsZero lists the days of a part that is 7, or a range that ends with Sunday.
func sundayAsZero(part string) string {
	span, stepText, stepped := strings.Cut(part, "/")
	from, to, isRange := strings.Cut(span, "-")
	first, ok := dayOf(from)
	if !ok {
		return part
	}
	last := first
	if isRange {
		if last, ok = dayOf(to); !ok {
			return part
		}
		if last == 0 && first > 0 {
			last = 7
		}
	}
	step := 1
	if stepped {
		n, err := strconv.Atoi(stepText)
		if err != nil || n <= 0 {
			return part
		}
		step = n
	}
	if last != 7 || first > last {
		return part
	}
	var days []string
	for day := first; day <= last; day += step {
		days = append(days, strconv.Itoa(day%7))
	}
	return strings.Join(days, ",")
}
