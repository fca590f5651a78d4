package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A codec carries a setting between its text and its field.
type codec struct {
	// form is what a value looks like.
	form string
	// verbatim says that a file's value is taken as it is written there: viper would write
	// all its keys in lower case.
	verbatim bool
	// set parses what viper found: a string from a flag or a variable, any of
	// YAML's types from a file.
	set func(c *Config, raw any) error
	// get gives the text that set would take.
	get func(c *Config) string
	// show gives the text of a secret for people, if it is no URL, which Mask knows.
	show func(c *Config) string
	// zero reports whether the field holds its type's zero value, which the parts'
	// Options take for "not set".
	zero func(c *Config) bool
	// spoil sets what no part accepts, to hear what it would.
	spoil func(c *Config)
	// unset sets the zero value, and returns what takes that back.
	unset func(c *Config) (restore func())
}

// fieldCodec makes a codec of a parser, a printer and a value that is out of bounds.
func fieldCodec[T comparable](form string, at func(*Config) *T, parse func(string) (T, error), print func(T) string, bad T) codec {
	var zero T
	return codec{
		form: form,
		set: func(c *Config, raw any) error {
			switch raw.(type) {
			case map[string]any, []any:
				return fmt.Errorf("want %s", form)
			}
			value, err := parse(fmt.Sprint(raw))
			if err != nil {
				return fmt.Errorf("want %s", form)
			}
			*at(c) = value
			return nil
		},
		get:   func(c *Config) string { return print(*at(c)) },
		zero:  func(c *Config) bool { return *at(c) == zero },
		spoil: func(c *Config) { *at(c) = bad },
		unset: func(c *Config) func() {
			was := *at(c)
			*at(c) = zero
			return func() { *at(c) = was }
		},
	}
}

func duration(at func(*Config) *time.Duration) codec {
	return fieldCodec("a duration, such as 500ms, 4s, 2h or 7d", at, parseDuration, printDuration, -1)
}

// count is a whole number. Its bad value is one that no bound reaches.
func count(at func(*Config) *int) codec {
	return fieldCodec("a whole number", at, strconv.Atoi, strconv.Itoa, math.MinInt32)
}

func decimal(at func(*Config) *float64) codec {
	return fieldCodec("a number", at,
		func(s string) (float64, error) {
			v, err := strconv.ParseFloat(s, 64)
			if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
				err = errForm
			}
			return v, err
		},
		func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }, -1)
}

func size[T int | int64](at func(*Config) *T) codec {
	return fieldCodec("a size, such as 1MiB, 64KiB or a number of bytes", at,
		func(s string) (T, error) { v, err := parseSize(s); return T(v), err },
		func(v T) string { return printSize(int64(v)) }, -1)
}

func word[T ~string](form string, at func(*Config) *T) codec {
	return fieldCodec(form, at,
		func(s string) (T, error) { return T(s), nil },
		func(v T) string { return string(v) }, "\x00")
}

// fallback is datadir's pair of switches as one word.
func fallback() codec {
	const form = "auto, always or never"
	return codec{
		form: form,
		set: func(c *Config, raw any) error {
			switch fmt.Sprint(raw) {
			case "auto":
				c.Data.Embedded, c.Data.NeverEmbedded = false, false
			case "always":
				c.Data.Embedded, c.Data.NeverEmbedded = true, false
			case "never":
				c.Data.Embedded, c.Data.NeverEmbedded = false, true
			default:
				return errors.New("want " + form)
			}
			return nil
		},
		get: func(c *Config) string {
			switch {
			case c.Data.Embedded:
				return "always"
			case c.Data.NeverEmbedded:
				return "never"
			}
			return "auto"
		},
		zero:  func(*Config) bool { return false },
		spoil: func(*Config) {},
	}
}

// queues is a list of names with weights. It is a list, not a map, in the file too:
// viper would write the names of a map in lower case.
func queues(names func(*Config) *[]string, weights func(*Config) *map[string]int) codec {
	const form = "a list of queues with a name and a weight, or NAME=WEIGHT,… in a flag or variable"
	return codec{
		form: form,
		set: func(c *Config, raw any) error {
			list, weight, err := parseQueues(raw)
			if err != nil {
				return eachWanting(err, form)
			}
			*names(c), *weights(c) = list, weight
			return nil
		},
		get: func(c *Config) string {
			var b strings.Builder
			for i, q := range *names(c) {
				if i > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, "%s=%d", q, cmp.Or((*weights(c))[q], 1))
			}
			return b.String()
		},
		zero:  func(c *Config) bool { return len(*names(c)) == 0 },
		spoil: func(*Config) {},
	}
}

func origins(at func(*Config) *[]string) codec {
	return texts("a list of origins, each as scheme://host[:port], or ORIGIN,… in a flag or variable", at)
}

// texts is a list in the file, and with commas elsewhere.
func texts(form string, at func(*Config) *[]string) codec {
	return codec{
		form: form,
		set: func(c *Config, raw any) error {
			var list []string
			var wrong []error
			switch raw := raw.(type) {
			case string:
				for item := range strings.SplitSeq(raw, ",") {
					list = append(list, strings.TrimSpace(item))
				}
			case []any:
				for i, item := range raw {
					text, ok := item.(string)
					if !ok {
						wrong = append(wrong, fmt.Errorf("item %d is no text", i+1))
					}
					list = append(list, text)
				}
			default:
				return errors.New("want " + form)
			}
			if wrong != nil {
				return eachWanting(errors.Join(wrong...), form)
			}
			*at(c) = list
			return nil
		},
		get:   func(c *Config) string { return strings.Join(*at(c), ",") },
		zero:  func(c *Config) bool { return len(*at(c)) == 0 },
		spoil: func(*Config) {},
	}
}

// eachWanting says to each of joined errors what a list looks like.
func eachWanting(err error, form string) error {
	var all []error
	for _, one := range complaints(err) {
		all = append(all, fmt.Errorf("%w; want %s", one, form))
	}
	return errors.Join(all...)
}

var errForm = errors.New("not of that form")

// parseQueues gives the names of a list of queues, and the weights of those that have one.
func parseQueues(raw any) (names []string, weights map[string]int, err error) {
	weights = map[string]int{}
	var wrong []error
	switch raw := raw.(type) {
	case string:
		for item := range strings.SplitSeq(raw, ",") {
			name, weight, weighted := strings.Cut(strings.TrimSpace(item), "=")
			names = append(names, name)
			if !weighted {
				continue
			}
			if weights[name], err = strconv.Atoi(weight); err != nil {
				wrong = append(wrong, fmt.Errorf("weight %q of queue %q is no whole number", clip(weight, 40), clip(name, 40)))
			}
		}
	case []any:
		for i, item := range raw {
			name, weight, err := parseQueue(item)
			for _, one := range complaints(err) {
				wrong = append(wrong, fmt.Errorf("item %d%w", i+1, one))
			}
			names, weights[name] = append(names, name), weight
		}
	default:
		return nil, nil, errors.New("no list")
	}
	return names, weights, errors.Join(wrong...)
}

// parseQueue reads an item of a list. Its errors follow the item's number.
func parseQueue(item any) (name string, weight int, err error) {
	members, ok := item.(map[string]any)
	if !ok {
		return "", 0, errors.New(" is no queue")
	}
	weight = 1
	var wrong []error
	for _, key := range slices.Sorted(maps.Keys(members)) {
		value := members[key]
		text, isText := value.(string)
		number, isNumber := value.(int)
		switch {
		case key == "name" && isText:
			name = text
		case key == "weight" && isNumber:
			weight = number
		default:
			wrong = append(wrong, fmt.Errorf(": %s %q", clip(key, 40), clip(fmt.Sprint(value), 40)))
		}
	}
	return name, weight, errors.Join(wrong...)
}

// parseDuration is time.ParseDuration with days.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		if err != nil || n > 100_000 || n < -100_000 {
			return 0, errForm
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	if s == "0" {
		return 0, errForm // a bare number has no unit, this one included
	}
	return time.ParseDuration(s)
}

func printDuration(d time.Duration) string {
	if d != 0 && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	return shortened(d.String())
}

// shortened takes the zeros off that Duration.String ends with.
func shortened(s string) string {
	if t, ok := strings.CutSuffix(s, "m0s"); ok {
		s = t + "m"
	}
	if t, ok := strings.CutSuffix(s, "h0m"); ok {
		s = t + "h"
	}
	return s
}

var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func parseSize(s string) (int64, error) {
	for _, u := range units {
		if number, ok := strings.CutSuffix(s, u.name); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
			if err != nil || n > math.MaxInt64/u.bytes || n < math.MinInt64/u.bytes {
				return 0, errForm
			}
			return n * u.bytes, nil
		}
	}
	return strconv.ParseInt(s, 10, 64)
}

func printSize(n int64) string {
	for _, u := range units[:4] {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
