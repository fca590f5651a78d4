package config

import (
	"errors"
	"slices"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/option"
)

// What a part complains of without naming a setting is said under the part's name, and
// not dropped.
func TestComplaintThatNamesNoSetting(t *testing.T) {
	t.Chdir(t.TempDir())
	before := parts
	t.Cleanup(func() { parts = before })
	parts = append(slices.Clone(parts), part{"worker", "Worker", func(*Config) error {
		return errors.Join(errors.New("the moon is full"), option.Invalid("Lease", nil, "want 2s"))
	}})
	_, err := Load(nil)
	const want = "worker: the moon is full\ndefault: worker.lease \"0s\": want 2s"
	if err == nil || err.Error() != want {
		t.Errorf("the problems are\n%v\nwant\n%s", err, want)
	}
}
