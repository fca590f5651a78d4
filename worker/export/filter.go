package export

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

// A Condition is about one column. Of null, only is_null holds.
type Condition struct {
	// Column by its name. Required.
	Column string `json:"column"`
	// Is says how the column's values compare with Value: equal, not_equal, less, at_most, more or
	// at_least; contains, of a text; is_null or not_null, which have no Value. Required.
	Is string `json:"is"`
	// Value is as a CSV file has it: 12.50, true, 2006-01-02, 2006-01-02T15:04:05Z. At most 4 KiB.
	Value string `json:"value,omitempty"`
}

const maxValueBytes = 4 << 10

// comparisons are what each word says about how a value compares with the condition's.
var comparisons = map[string]func(order int) bool{
	"equal":     func(o int) bool { return o == 0 },
	"not_equal": func(o int) bool { return o != 0 },
	"less":      func(o int) bool { return o < 0 },
	"at_most":   func(o int) bool { return o <= 0 },
	"more":      func(o int) bool { return o > 0 },
	"at_least":  func(o int) bool { return o >= 0 },
}

func (c Condition) validate() error {
	if len(c.Value) > maxValueBytes {
		return fmt.Errorf("value: %d bytes, at most %d", len(c.Value), maxValueBytes)
	}
	switch c.Is {
	case "is_null", "not_null":
		if c.Value != "" {
			return fmt.Errorf("value: %s has none", c.Is)
		}
	case "contains":
	default:
		if comparisons[c.Is] == nil {
			return fmt.Errorf("is: %.20q, want equal, not_equal, less, at_most, more, at_least, contains, is_null or not_null", c.Is)
		}
	}
	return nil
}

// A predicate says whether a row is selected.
type predicate func(row []rows.Value) bool

// predicate is the condition for the source's column at a place.
func (c Condition) predicate(at int, k rows.Kind) (predicate, error) {
	switch c.Is {
	case "is_null":
		return func(row []rows.Value) bool { return row[at].Kind == rows.Null }, nil
	case "not_null":
		return func(row []rows.Value) bool { return row[at].Kind != rows.Null }, nil
	case "contains":
		if k != rows.Text {
			return nil, fmt.Errorf("is: contains is for text, and the column is of kind %s", k)
		}
		part := []byte(c.Value)
		return func(row []rows.Value) bool { return row[at].Kind != rows.Null && bytes.Contains(row[at].Data, part) }, nil
	}
	want, err := parse(c.Value, k)
	if err != nil {
		return nil, fmt.Errorf("value: %w", err)
	}
	holds := comparisons[c.Is]
	return func(row []rows.Value) bool {
		return row[at].Kind != rows.Null && holds(compare(&row[at], &want))
	}, nil
}

// parse reads a value of a kind. Its error quotes nothing of the value, which may be private.
func parse(s string, k rows.Kind) (rows.Value, error) {
	v := rows.Value{Kind: k, Data: []byte(s)}
	var err error
	switch k {
	case rows.Text:
	case rows.Int:
		v.Int, err = strconv.ParseInt(s, 10, 64)
	case rows.Float:
		v.Float, err = strconv.ParseFloat(s, 64)
	case rows.Decimal:
		digits := strings.Replace(strings.TrimPrefix(s, "-"), ".", "", 1)
		if digits == "" || strings.Trim(digits, "0123456789") != "" {
			err = errors.New("no decimal")
		}
	case rows.Bool:
		if s != "true" && s != "false" {
			err = errors.New("no boolean")
		}
		if s == "true" {
			v.Int = 1
		}
	case rows.Date:
		var t time.Time
		t, err = time.Parse(time.DateOnly, s)
		v.Int = t.Unix() / 86_400
		if t.Unix()%86_400 < 0 {
			v.Int--
		}
	case rows.Timestamp:
		var t time.Time
		t, err = time.Parse(time.RFC3339, s)
		v.Int = t.UnixMicro()
	default:
		return v, fmt.Errorf("a column of kind %s is compared with nothing; it may be is_null or not_null", k)
	}
	if err != nil {
		return v, fmt.Errorf("it is no %s", k)
	}
	return v, nil
}

// compare orders two values of one kind. NaN comes before all numbers.
func compare(a, b *rows.Value) int {
	switch a.Kind {
	case rows.Text:
		return bytes.Compare(a.Data, b.Data)
	case rows.Float:
		return cmp.Compare(a.Float, b.Float)
	case rows.Decimal:
		return compareDecimals(a.Data, b.Data)
	default:
		return cmp.Compare(a.Int, b.Int)
	}
}

// compareDecimals compares exactly, however many digits there are.
func compareDecimals(a, b []byte) int {
	aWhole, aFraction, aSign := split(a)
	bWhole, bFraction, bSign := split(b)
	if aSign != bSign {
		return cmp.Compare(aSign, bSign)
	}
	return aSign * cmp.Or(cmp.Compare(len(aWhole), len(bWhole)), bytes.Compare(aWhole, bWhole), bytes.Compare(aFraction, bFraction))
}

// split takes a decimal apart, without zeros that mean nothing; sign is 0 of zero.
func split(d []byte) (whole, fraction []byte, sign int) {
	sign = 1
	if len(d) > 0 && d[0] == '-' {
		d, sign = d[1:], -1
	}
	whole, fraction, _ = bytes.Cut(d, []byte("."))
	whole, fraction = bytes.TrimLeft(whole, "0"), bytes.TrimRight(fraction, "0")
	if len(whole)+len(fraction) == 0 {
		sign = 0
	}
	return whole, fraction, sign
}
