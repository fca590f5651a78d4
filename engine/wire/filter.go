package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/internal/jsonerr"
)

// A Filter selects jobs of a topic, and their records. All of its non-zero fields must match. State
// selects jobs in lists and in snapshots. Of records State selects ticks only: milestones match in
// any state, so a reader sees that a job leaves the state. A notification belongs to no job: it
// matches a Filter that has no field but State.
//
// In JSON the fields have the names of ParseFilter, and labels are an object.
type Filter struct {
	Job JobID `json:"job,omitempty"`
	// Parent selects the children of a job. NoParent selects jobs without a parent.
	Parent JobID  `json:"parent,omitempty"`
	Type   string `json:"type,omitempty"`
	State  State  `json:"state,omitempty"`
	// Labels must all be on the job, with these values; the job may have others. At most 16.
	Labels map[string]string `json:"labels,omitempty"`
	// CreatedFrom and CreatedTo select jobs created at or after the former and before the latter.
	// Jobs' times of creation are whole milliseconds.
	CreatedFrom time.Time `json:"created_from,omitzero"`
	CreatedTo   time.Time `json:"created_to,omitzero"`
}

// NoParent is the Parent of a Filter that selects jobs without a parent.
const NoParent JobID = "none"

// FilterParameters are the parameters that ParseFilter knows.
var FilterParameters = []string{"job", "parent", "type", "state", "label", "created_from", "created_to"}

// createdForm is the format of a job's time of creation in a view.
const createdForm = "2006-01-02T15:04:05.000Z"

// ParseFilter parses a Filter from FilterParameters. Each may occur once, but label, as
// "name:value", once for each label. created_from and created_to have the form of RFC 3339. Its
// error wraps ErrInvalid and names the parameter.
func ParseFilter(q url.Values) (Filter, error) {
	var f Filter
	for _, name := range slices.Sorted(maps.Keys(q)) {
		values := q[name]
		wrong := func(want string) error {
			return fmt.Errorf("%w %s %q: want %s", ErrInvalid, clip(name, 80), clip(strings.Join(values, ","), 80), want)
		}
		if !slices.Contains(FilterParameters, name) {
			return Filter{}, fmt.Errorf("%w parameter %q: want %s", ErrInvalid, clip(name, 80), strings.Join(FilterParameters, ", "))
		}
		if name != "label" && len(values) != 1 || slices.Contains(values, "") {
			return Filter{}, wrong("one value")
		}
		switch value := values[0]; name {
		case "job":
			f.Job = JobID(value)
		case "parent":
			f.Parent = JobID(value)
		case "type":
			f.Type = value
		case "state":
			f.State = State(value)
		case "label":
			f.Labels = make(map[string]string, len(values))
			for _, v := range values {
				label, value, named := strings.Cut(v, ":")
				if _, again := f.Labels[label]; again || !named {
					return Filter{}, wrong("name:value, each name once")
				}
				f.Labels[label] = value
			}
		default:
			at, err := time.Parse(time.RFC3339, value)
			if err != nil {
				return Filter{}, wrong("a time like 2026-11-20T18:02:33Z")
			}
			if name == "created_from" {
				f.CreatedFrom = at.UTC() // an offset of 24 hours is read, and cannot be written
			} else {
				f.CreatedTo = at.UTC()
			}
		}
	}
	return f, f.Validate()
}

// String is the canonical form: the parameters as the query of a URL, sorted. Filters with equal
// conditions have equal strings.
func (f Filter) String() string { return f.Values().Encode() }

// Values returns the filter's parameters, as ParseFilter reads them.
func (f Filter) Values() url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("job", string(f.Job))
	set("parent", string(f.Parent))
	set("type", f.Type)
	set("state", string(f.State))
	for _, name := range slices.Sorted(maps.Keys(f.Labels)) {
		q.Add("label", name+":"+f.Labels[name])
	}
	from, to := f.Created()
	set("created_from", from)
	set("created_to", to)
	return q
}

// Created returns CreatedFrom and CreatedTo in the format of views, rounded up to milliseconds, and
// "" where a bound is unset. Such texts sort like their times.
func (f Filter) Created() (from, to string) { return bound(f.CreatedFrom), bound(f.CreatedTo) }

func bound(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Add(time.Millisecond - 1).UTC().Format(createdForm)
}

// UnmarshalJSON refuses members that a Filter does not have. Its error wraps ErrInvalid.
func (f *Filter) UnmarshalJSON(b []byte) error {
	type plain Filter
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode((*plain)(f)); err != nil {
		if name := jsonerr.UnknownField(err); name != "" {
			return fmt.Errorf("%w filter: unknown field %q", ErrInvalid, clip(name, 80))
		}
		return fmt.Errorf("%w filter: %s", ErrInvalid, clip(jsonerr.Why(err), 200))
	}
	return f.Validate()
}

// IsZero reports whether the filter selects everything.
func (f Filter) IsZero() bool {
	return f.Job == "" && f.Parent == "" && f.Type == "" && f.State == "" && !f.constant()
}

// constant reports whether the filter needs fields that an Entry's Subject does not have.
func (f Filter) constant() bool {
	return len(f.Labels) > 0 || !f.CreatedFrom.IsZero() || !f.CreatedTo.IsZero()
}

// Validate checks the filter's fields. Its error wraps ErrInvalid, and for a job ID ErrInvalidJobID
// too. It names the field.
func (f Filter) Validate() error {
	if f.Job != "" {
		if _, err := ParseJobID(string(f.Job)); err != nil {
			return fmt.Errorf("%w job: %w", ErrInvalid, err)
		}
	}
	if f.Parent != "" && f.Parent != NoParent {
		if _, err := ParseJobID(string(f.Parent)); err != nil {
			return fmt.Errorf("%w parent: %w, or %s", ErrInvalid, err, NoParent)
		}
	}
	if f.Type != "" {
		if err := CheckName("type", f.Type); err != nil {
			return err
		}
	}
	switch f.State {
	case "", Receiving, Queued, Running, Awaiting, Paused, Retrying, Succeeded, Failed, Canceled:
	default:
		return fmt.Errorf("%w state %q: want one of a job's states", ErrInvalid, clip(string(f.State), 80))
	}
	for _, at := range []time.Time{f.CreatedFrom, f.CreatedTo} {
		if !at.IsZero() && len(bound(at)) != len(createdForm) {
			return fmt.Errorf("%w created_from or created_to: want a year up to 9999", ErrInvalid)
		}
	}
	return checkLabels(f.Labels)
}

// Match reports whether a record matches the filter, which must be valid.
func (f Filter) Match(e Entry) bool {
	if f.IsZero() {
		return true
	}
	s := e.Subject
	var c constants
	if s == nil || f.constant() {
		var read Subject
		read, c = readSubject(e.JSON)
		s = &read
	}
	switch {
	case s.Job == "":
		return f.Job == "" && f.Parent == "" && f.Type == "" && !f.constant()
	case f.Job != "" && s.Job != f.Job, f.Type != "" && s.Type != f.Type:
		return false
	case f.Parent == NoParent && s.Parent != "", f.Parent != "" && f.Parent != NoParent && s.Parent != f.Parent:
		return false
	case f.State != "" && s.State != f.State && e.Type().Tick():
		return false
	}
	from, to := f.Created()
	if from != "" && c.created < from || to != "" && c.created >= to {
		return false
	}
	for name, value := range f.Labels {
		if has, there := c.label(name); !there || has != value {
			return false
		}
	}
	return true
}
