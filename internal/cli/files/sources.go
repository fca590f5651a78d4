package files

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
	"github.com/tidemark-dev/tidemark/worker/export"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// inspectTimeout bounds how long a source may take to tell its columns.
const inspectTimeout = 15 * time.Second

// SourcesCommand makes the command that lists SQL sources.
func (a App) SourcesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sources",
		Short: "List the SQL sources that exports may name",
		Long: `List the SQL sources of the configuration, and whether this machine reaches them: each is
connected to, and tells its columns. No rows are read. The key of a table is checked; that of a
view or a query is checked by an export.`,
		Example: `  tidemark sources
  tidemark sources --json | jq -r 'select(.error).name'`,
		Args: cobra.NoArgs,
	}
	asJSON := screen.JSONFlag(cmd, "print each source as a line of JSON, with its columns")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := session.Settings(cmd)
		if err != nil {
			return err
		}
		all := inspect(cmd.Context(), c.Sources)
		switch {
		case *asJSON:
			for _, s := range all {
				screen.WriteLine(a.Out, s)
			}
			return nil
		case len(all) == 0:
			fmt.Fprintf(a.Out, "No sources are configured. Name one under \"sources\" in %s, with a name, url, table and key; docs/configuration.md tells more.\n", config.DefaultFile)
			return nil
		}
		return writeSources(a.Out, all)
	}
	return cmd
}

// A sourceLine is a source as it is listed.
type sourceLine struct {
	Name    string                `json:"name"`
	Driver  string                `json:"driver,omitempty"`
	Key     []string              `json:"key"`
	Params  []string              `json:"params,omitempty"`
	Columns []export.SourceColumn `json:"columns,omitempty"`
	Error   string                `json:"error,omitempty"`
}

// inspect asks all sources at a time, in their order.
func inspect(ctx context.Context, sources []sqlsource.Source) []sourceLine {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	all := make([]sourceLine, len(sources))
	var asked sync.WaitGroup
	for i, s := range sources {
		asked.Go(func() {
			info, err := export.InspectSource(ctx, s)
			all[i] = sourceLine{Name: s.Name, Driver: info.Driver, Key: s.Key, Params: s.Params, Columns: info.Columns}
			if err != nil {
				all[i].Error = strings.TrimPrefix(err.Error(), "source "+s.Name+": ")
			}
		})
	}
	asked.Wait()
	return all
}

func writeSources(w io.Writer, all []sourceLine) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tDRIVER\tKEY\tPARAMS\tCOLUMNS\tSTATE")
	for _, s := range all {
		state, columns := "reachable", fmt.Sprint(len(s.Columns))
		if s.Error != "" {
			state, columns = s.Error, "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, dash(s.Driver), screen.OneLine(strings.Join(s.Key, ",")), dash(strings.Join(s.Params, ",")), columns, screen.OneLine(state))
	}
	return t.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
