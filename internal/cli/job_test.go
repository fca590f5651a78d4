package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
)

func TestNobodyResumesFromNothing(t *testing.T) {
	for from, want := range map[float64]string{0: "Attempt  2\n", 58.9: "Attempt  2, resumed from 58.9%\n"} {
		j := engine.Job{ID: "a", State: engine.Running, Percent: 62, Attempt: 2, ResumedFrom: &from}
		var out strings.Builder
		if err := writeJob(&out, j, nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %q:\n%s", want, out.String())
		}
	}
}
