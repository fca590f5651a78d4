package option_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/internal/option"
)

func TestDefaultFillsOnlyWhatIsZero(t *testing.T) {
	zero, given := 0, 7
	option.Default(&zero, 3)
	option.Default(&given, 3)
	if zero != 3 || given != 7 {
		t.Errorf("a zero field became %d, one of 7 became %d", zero, given)
	}
}

func TestWithinNamesTheFieldAndTheBound(t *testing.T) {
	for _, v := range []time.Duration{time.Second, 2 * time.Second, time.Minute} {
		if err := option.Within("Lease", v, time.Second, time.Minute); err != nil {
			t.Error(err)
		}
	}
	for _, err := range []error{
		option.Within("Lease", time.Second-1, time.Second, time.Minute),
		option.Within("Lease", time.Minute+1, time.Second, time.Minute),
	} {
		if !errors.Is(err, option.ErrInvalid) || !strings.Contains(err.Error(), "Lease") || !strings.Contains(err.Error(), "1s to 1m0s") {
			t.Errorf("%v: want the field and its bounds", err)
		}
	}
	for _, err := range []error{option.Within("Lease", 3*time.Second, time.Minute, time.Hour), option.Invalid("Mode", "x", "want %s", "dev")} {
		var about *option.Error
		if !errors.As(fmt.Errorf("new worker: %w", errors.Join(err)), &about) || about.Field == "" || about.Value == nil || (about.Least == nil) != (about.Reason == "want dev") {
			t.Errorf("%v tells %+v", err, about)
		}
	}
	if err := option.Invalid("Mode", strings.Repeat("x", 1000), "want dev"); len(err.Error()) > 200 {
		t.Errorf("a long value is shown: %v", err)
	}
	if err := option.Within("RescuesPerSecond", math.NaN(), 0, 1); err == nil {
		t.Error("NaN is within bounds")
	}
}
