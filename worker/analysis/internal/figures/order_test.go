package figures

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestOrderSorts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shift := rapid.IntRange(0, 63).Draw(t, "shift")
		values := rapid.SliceOfN(rapid.Uint64(), 0, 512).Draw(t, "values")
		for i := range values {
			values[i] >>= shift
		}
		want := slices.Clone(values)
		slices.Sort(want)
		Order(values, make([]uint64, len(values)))
		if !slices.Equal(values, want) {
			t.Fatalf("got %v", values)
		}
	})
}
