package runtime

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/tidemark-dev/tidemark/engine/internal/ground"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Bounds of a fan-out. The sum of the weights times a thousand tenths, twice over, stays
// a whole number in a double, in which the script counts.
const (
	MaxChildren      = 100_000
	MaxChildWeight   = 10_000
	MaxChildDepth    = 8
	maxChildNameSize = 128
)

var fanOutForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// A Child is a job that a run makes for a part of its own work.
type Child struct {
	// Name tells the child from its siblings. A repeated fan-out finds the child by it: 1 to 128
	// bytes. Required.
	Name string
	// Spec is the job. Its Topic is the parent's, and may be left out; it has no Key. Its
	// Queue defaults to the parent's.
	Spec wire.Spec
	// Weight is its share of the fan-out's part of the bar against its siblings', 1 to
	// 10,000. Defaults to 1.
	Weight int
	// Optional lets the parent go on when the child fails or is canceled. Otherwise the
	// parent fails with it, with code "child_failed", and its siblings are canceled.
	Optional bool

	place int // among its siblings
}

// A FanOut is the plan of a run's children. Redis keeps it before Spawn creates the first of them, so
// that what a child adds to the bar never changes.
type FanOut struct {
	// Name: [a-z0-9][a-z0-9._-]{0,63}. The next fan-out of a job has another one.
	Name string
	// Count is how many children there will be, Weight the sum of their weights.
	Count, Weight int
	// From and To, in tenths, are where in the parent's bar the children begin and end.
	From, To int
	// Names is a hash of the children's names, in any order. By it the worker notices a later
	// attempt that names others.
	Names string
}

func (f *FanOut) validate() error {
	if !fanOutForm.MatchString(f.Name) {
		return fmt.Errorf("%w fan-out name %q: want [a-z0-9][a-z0-9._-]{0,63}", wire.ErrInvalid, excerpt.Of(f.Name, 80))
	}
	return errors.Join(
		option.Within("number of children", f.Count, 1, MaxChildren),
		option.Within("sum of weights", f.Weight, f.Count, f.Count*MaxChildWeight),
		option.Within("From", f.From, 0, f.To),
		option.Within("To", f.To, 0, 1000),
	)
}

func (f *FanOut) encode() string {
	return fmt.Sprintf("%s %d %d %d %d %s", f.Name, f.Count, f.Weight, f.From, f.To, f.Names)
}

// hashNames is FanOut's Names. A length before each name keeps two names apart from one.
func hashNames(children []Child) string {
	names := make([]string, len(children))
	for i, c := range children {
		names[i] = c.Name
	}
	slices.Sort(names)
	h := sha256.New()
	for _, name := range names {
		fmt.Fprintf(h, "%d:%s", len(name), name)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// PlanFanOut checks children, completes them with defaults and their parent's topic and queue, and
// returns them with the plan of their fan-out. The caller sets the plan's From and To. The error
// wraps ErrInvalid or ErrInvalidTopic, and names the child.
func PlanFanOut(name string, topic wire.Topic, queue string, children []Child) ([]Child, FanOut, error) {
	plan := FanOut{Name: name, Count: len(children)}
	complete := make([]Child, len(children))
	names := make(map[string]bool, len(children))
	for i, c := range children {
		fail := func(err error) ([]Child, FanOut, error) {
			return nil, FanOut{}, fmt.Errorf("child %d, %q: %w", i, excerpt.Of(c.Name, 80), err)
		}
		option.Default(&c.Weight, 1)
		option.Default(&c.Spec.Topic, topic)
		option.Default(&c.Spec.Queue, queue)
		if err := errors.Join(
			option.Within("length of Name in bytes", len(c.Name), 1, maxChildNameSize),
			option.Within("Weight", c.Weight, 1, MaxChildWeight),
		); err != nil {
			return fail(err)
		}
		switch {
		case names[c.Name]:
			return fail(fmt.Errorf("%w Name: another child has it", wire.ErrInvalid))
		case c.Spec.Topic != topic:
			return fail(fmt.Errorf("%w Topic %q: want the parent's, %s, or none", wire.ErrInvalid, excerpt.Of(string(c.Spec.Topic), 80), topic))
		case c.Spec.Key != "":
			return fail(fmt.Errorf("%w Key: a child's name is its key", wire.ErrInvalid))
		}
		// A deadline may have passed when a run repeats its fan-out. Spawn refuses it for a child
		// that does not exist.
		timeless := c.Spec
		timeless.Deadline = time.Time{}
		if err := timeless.Validate(); err != nil {
			return fail(err)
		}
		c.place = i
		names[c.Name] = true
		plan.Weight += c.Weight
		complete[i] = c
	}
	plan.To, plan.Names = 1000, hashNames(complete)
	return complete, plan, plan.validate()
}

// ChildID is the ID of a parent's child. The parent, the fan-out and the child's name decide it, so a
// repeated fan-out creates no child twice. parent must be well-formed.
func ChildID(parent wire.JobID, fanOut, name string) wire.JobID {
	return ground.DerivedJobID(parent.Shard(), parent.Time(), "child\x00"+string(parent)+"\x00"+fanOut+"\x00"+name)
}
