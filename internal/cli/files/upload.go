package files

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

// sentAtOnce is how many files are sent at a time.
const sentAtOnce = 3

// UploadCommand makes the command that makes datasets of files.
func (a App) UploadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upload FILE…",
		Short: "Make datasets of CSV, NDJSON, XLSX or Parquet files",
		Long: `Make datasets of CSV, NDJSON, XLSX or Parquet files, packed or not: tables that exports name by the job's ID,
which is printed. docs/files.md says how they are read.

With --server the files are sent to that gateway, up to 3 at a time, and the command ends once they
are there; its workers make the datasets, and --follow waits for those. An upload that was cut goes
on by itself, and an interrupted one when the command is run again, if the file has the same content.
To tell, the file is read once before it is sent.

Without, they are taken into the data folder, and a worker of this process makes the datasets.`,
		Example: `  tidemark upload --server http://127.0.0.1:8080 orders.csv customers.ndjson.gz
  tidemark export --dataset "$(tidemark upload --follow orders.csv)" --output orders.parquet`,
		Args: cobra.MinimumNArgs(1),
	}
	follow := cmd.Flags().Bool("follow", false, "with --server: wait until the datasets are made")
	config.AddFlags(cmd.Flags(), "worker.concurrency")
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, "print progress and each file's job as lines of JSON")
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		return a.run(cmd, uploads, *asJSON, func(ctx context.Context, r *batch) (err error) {
			if r.session.Remote != nil {
				r.width, r.sendOnly = sentAtOnce, !*follow
			}
			all := r.all(ctx, files)
			if ctx.Err() != nil {
				err = r.left(all...)
			}
			r.close()
			return errors.Join(err, r.report(all, r.uploaded))
		})
	}
	return cmd
}

// uploaded prints the job of a file that is there.
func (r *batch) uploaded(i *item) error {
	if r.asJSON {
		screen.WriteLine(r.app.Out, struct {
			Type  string       `json:"type"`
			File  string       `json:"file"`
			Job   engine.JobID `json:"job"`
			State engine.State `json:"state"`
		}{"upload", i.name, i.id, i.job.State})
		return nil
	}
	_, err := fmt.Fprintln(r.app.Out, screen.OneLine(string(i.id)))
	return err
}
