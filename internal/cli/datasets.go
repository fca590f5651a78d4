package cli

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
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/internal/datasets"
)

func (a *app) datasetsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "datasets",
		Short: "List the topic's datasets",
		Long: `List the datasets of the topic in the data folder, the oldest first. A job of type "upload" makes
one of an uploaded CSV or NDJSON file; its ID is the job's, and exports name it.`,
		Example: `  tidemark datasets
  tidemark datasets --topic team:7 --json | jq -r 'select(.rejected > 0).id'`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd, "print each dataset as a line of JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := settings(cmd)
		if err != nil {
			return err
		}
		return a.listDatasets(cmd.Context(), c, *asJSON)
	}
	return cmd
}

func (a *app) listDatasets(ctx context.Context, c *config.Config, asJSON bool) (err error) {
	none := func() {
		if !asJSON {
			fmt.Fprintf(a.out, "No datasets of %s. A job of type \"upload\" makes one of an uploaded file; or name another topic with --topic.\n", c.Topic)
		}
	}
	// Looking makes no data folder.
	if _, err := os.Stat(datadir.BlobDir(c.Data.Dir)); c.Storage.URL == "" && errors.Is(err, fs.ErrNotExist) {
		none()
		return nil
	}
	bucket, err := openBlobs(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bucket.Close()) }()
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	listed := 0
	for after := ""; ; {
		page, err := datasets.List(ctx, bucket.Bucket, c.Topic, after, datasets.MaxPage)
		if err != nil {
			return err
		}
		for _, m := range page.Datasets {
			if listed++; asJSON {
				writeLine(a.out, m)
				continue
			}
			if listed == 1 {
				fmt.Fprintln(t, "DATASET\tNAME\tROWS\tREJECTED\tCOLUMNS\tSIZE\tCREATED")
			}
			writeDataset(t, m)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if listed == 0 {
		none()
	}
	return t.Flush()
}

func writeDataset(w io.Writer, m *datasets.Manifest) {
	name := "-"
	if m.Name != "" {
		name = cut(oneLine(m.Name), 40)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, name, grouped(m.Rows), grouped(m.Rejected), strconv.Itoa(len(m.Columns)),
		bytesOf(m.Size), m.CreatedAt.Local().Format(time.DateTime))
}
