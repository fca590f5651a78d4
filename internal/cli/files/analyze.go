package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/worker/analysis"
)

// AnalyzeCommand makes the command that profiles files.
func (a App) AnalyzeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "analyze FILE…",
		Short: "Profile CSV, NDJSON, XLSX or Parquet files",
		Long: `Profile CSV, NDJSON, XLSX or Parquet files: rows, and of each column its type, nulls, distinct
values, range, mean, quantiles and most frequent values.

A file is first taken into the data folder, then analyzed by a job. A worker runs in
this process, beside whatever others there are. Interrupted or killed, the job goes
on from its checkpoint when the command is run again, or by any worker of the same
data folder. That needs a Redis that outlasts the process: redis-server or
valkey-server on this machine, or --redis.

With --server the file is sent to that gateway, whose workers analyze it. An upload
that was cut or interrupted goes on where it was when the command is run again, if the
file has the same content. To tell, the file is read once before it is sent.`,
		Example: `  tidemark analyze orders.csv
  tidemark analyze --json 2025-*.csv | jq 'select(.type == "profile").profile.rows'
  tidemark analyze --server http://127.0.0.1:8080 orders.csv
  tidemark analyze --set analysis.max_record_bytes=16MiB wide.csv`,
		Args: cobra.MinimumNArgs(1),
	}
	// Its worker serves one queue, so --queues would be a promise that it breaks.
	config.AddFlags(cmd.Flags(), "worker.concurrency")
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, "print progress and profiles as lines of JSON")
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		return a.run(cmd, analyses, *asJSON, func(ctx context.Context, r *batch) (err error) {
			all := r.all(ctx, files)
			if ctx.Err() != nil {
				err = r.left(all...)
			}
			r.close()
			return errors.Join(err, r.report(all, r.profile))
		})
	}
	return cmd
}

// checkedBytes is how much of a file shows whether it may be a table.
const checkedBytes = 4 << 10

// checkWith makes what refuses a file that is no table before it is taken or sent. What cannot be opened is for
// those who take or send it to say.
func checkWith(refuse func(name string, head []byte) error) func(file string) error {
	return func(file string) error { return check(file, refuse) }
}

func check(file string, refuse func(name string, head []byte) error) error {
	f, _, err := datadir.OpenRegular(file)
	if errors.Is(err, datadir.ErrEmpty) {
		return fmt.Errorf("%s: %w", file, refuse("", nil))
	}
	if err != nil {
		return nil
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, checkedBytes))
	if err != nil {
		return nil
	}
	if err := refuse(filepath.Base(file), head); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// profile prints what an analysis has found.
func (r *batch) profile(f *item) error {
	// Also after an interruption: what has been worked out is printed.
	text, where, err := r.place.profile(context.Background(), f)
	if err != nil {
		return err
	}
	if r.asJSON {
		screen.WriteLine(r.app.Out, struct {
			Type    string          `json:"type"`
			File    string          `json:"file"`
			Job     engine.JobID    `json:"job"`
			Path    string          `json:"path"`
			Profile json.RawMessage `json:"profile"`
		}{"profile", f.name, f.id, where, text})
		return nil
	}
	var p analysis.Profile
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("read the profile of %s in %s: %w", f.name, where, err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", screen.OneLine(f.name))
	if err := p.WriteText(&b); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nFull profile: %s\n\n", screen.OneLine(where))
	_, err = r.app.Out.Write(b.Bytes())
	return err
}
