package cli

import (
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

// filterFlags adds the flags that select jobs, and returns what reads them.
func filterFlags(cmd *cobra.Command) func() (engine.Filter, error) {
	parameters := map[string]*string{}
	for name, what := range map[string]string{
		"state": "only jobs in this `STATE`, such as running or failed", "type": "only jobs of this `TYPE`",
		"parent":       "only the children of this `JOB`, or, with none, jobs that are no children",
		"created-from": "only jobs created at this `TIME` or later, such as 2026-11-20T18:00:00Z",
		"created-to":   "only jobs created before this `TIME`",
	} {
		parameters[name] = cmd.Flags().String(name, "", what)
	}
	labels := cmd.Flags().StringArray("label", nil, "only jobs with this label, `NAME=VALUE`; given several times, with all of them")
	return func() (engine.Filter, error) {
		q := url.Values{}
		for name, value := range parameters {
			if *value != "" {
				q.Set(strings.ReplaceAll(name, "-", "_"), *value)
			}
		}
		for _, label := range *labels {
			name, value, ok := strings.Cut(label, "=")
			if !ok {
				return engine.Filter{}, session.Usage("--label %q: want NAME=VALUE", label)
			}
			q.Add("label", name+":"+value)
		}
		f, err := wire.ParseFilter(q)
		if err != nil {
			return f, session.Usage("%w", err)
		}
		return f, nil
	}
}
