package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/client"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/internal/storage"
)

// DatasetsCommand makes the command that lists datasets.
func (a App) DatasetsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "datasets",
		Short: "List the topic's datasets",
		Long: `List the datasets of the topic, the oldest first: those of the data folder, or, with --server, those
of that gateway. "tidemark upload" makes one of a file; its ID is the job's, and exports
name it.`,
		Example: `  tidemark datasets
  tidemark datasets --topic team:7 --json | jq -r 'select(.rejected > 0).id'`,
		Args: cobra.NoArgs,
	}
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, "print each dataset as a line of JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := session.Settings(cmd)
		if err != nil {
			return err
		}
		return a.listDatasets(cmd.Context(), c, *asJSON)
	}
	return cmd
}

func (a App) listDatasets(ctx context.Context, c *config.Config, asJSON bool) (err error) {
	remotely, err := session.ByServer(c)
	if err != nil {
		return err
	}
	var page func(after string) ([]dataset, string, error)
	switch _, none := os.Stat(datadir.BlobDir(c.Data.Dir)); {
	case remotely:
		s, failed := session.OpenServer(c)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		page = func(after string) ([]dataset, string, error) { return datasetsThere(ctx, s.Remote, c.Topic, after) }
	case c.Storage.URL == "" && errors.Is(none, fs.ErrNotExist):
		// Looking makes no data folder.
		page = func(string) ([]dataset, string, error) { return nil, "", nil }
	default:
		store, failed := session.OpenBlobs(ctx, c)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		page = func(after string) ([]dataset, string, error) { return datasetsHere(ctx, store, c.Topic, after) }
	}
	t := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	listed := 0
	for after, more := "", true; more; more = after != "" {
		var all []dataset
		if all, after, err = page(after); err != nil {
			return err
		}
		for _, d := range all {
			if listed++; asJSON {
				screen.WriteLine(a.Out, d.line)
				continue
			}
			if listed == 1 {
				fmt.Fprintln(t, "DATASET\tNAME\tROWS\tREJECTED\tCOLUMNS\tSIZE\tCREATED")
			}
			writeDataset(t, d)
		}
	}
	if listed == 0 && !asJSON {
		fmt.Fprintf(a.Out, "No datasets of %s. Make one with \"tidemark upload FILE\", or name another topic with --topic.\n", c.Topic)
	}
	return t.Flush()
}

// A dataset is one of a list.
type dataset struct {
	client.Dataset
	// line is what a line of JSON says of it.
	line any
}

// datasetsHere gives a page of the topic's datasets of a store.
func datasetsHere(ctx context.Context, store *storage.Store, topic engine.Topic, after string) ([]dataset, string, error) {
	page, err := datasets.List(ctx, store.Bucket, topic, after, datasets.MaxPage)
	if err != nil {
		return nil, "", err
	}
	all := make([]dataset, len(page.Datasets))
	for i, m := range page.Datasets {
		all[i] = dataset{client.Dataset{
			ID: m.ID, Name: m.Name, Size: m.Size, SHA256: m.SHA256, MediaType: m.MediaType, Format: m.Format,
			Rows: m.Rows, Rejected: m.Rejected, Columns: len(m.Columns), CreatedAt: m.CreatedAt,
		}, m}
	}
	return all, page.Next, nil
}

// datasetsThere gives a page of those that a server has.
func datasetsThere(ctx context.Context, c *client.Client, topic engine.Topic, after string) ([]dataset, string, error) {
	page, next, err := c.Datasets(ctx, topic, after)
	all := make([]dataset, len(page))
	for i, d := range page {
		all[i] = dataset{d, d}
	}
	return all, next, err
}

func writeDataset(w io.Writer, d dataset) {
	name := "-"
	if d.Name != "" {
		name = screen.Cut(d.Name, 40)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, name, screen.Grouped(d.Rows), screen.Grouped(d.Rejected), strconv.Itoa(d.Columns),
		screen.BytesOf(d.Size), d.CreatedAt.Local().Format(time.DateTime))
}
