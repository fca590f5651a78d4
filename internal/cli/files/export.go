package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/worker/export"
)

// ExportCommand makes the command that writes tables as files.
func (a App) ExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write a table as a CSV, NDJSON, XLSX or Parquet file",
		Long: `Write a table as a CSV, NDJSON, XLSX or Parquet file: a FILE of one of those, packed or not, or
a dataset, or a SQL source of the configuration. The format is that of --output's ending, or --format; without --output the file gets a
name in this folder. What is in the files, and which rows a filter selects, docs/files.md says.

FILE is first made a dataset, which is used again when the same content is exported again. Then a
job writes the file, and OUT appears once all its bytes are there and have the job's SHA-256. Until
then they gather in OUT.part. A worker runs in this process, beside whatever others there are.
Interrupted or killed, the command goes on with its jobs when it is run again. Once the export's job
has ended, "tidemark download" goes on with OUT.part; an interrupted command says how. That needs a Redis
that outlasts the process: redis-server or valkey-server on this machine, or --redis.

With --server the file is sent to that gateway, whose workers export it, and downloaded.`,
		Example: `  tidemark export orders.csv --output orders.xlsx
  tidemark export orders.csv.gz --format parquet --columns id,total --filter "total at_least 12.50"
  tidemark export --dataset 0701JDG5CW2QK3V9Y7H4N8R6ZTXB --output orders.ndjson.zst
  tidemark export --source orders --param year=2025 --output orders-2025.csv
  tidemark export --server http://127.0.0.1:8080 orders.csv --format xlsx --limit 1000`,
		Args: cobra.MaximumNArgs(1),
	}
	x := &exporting{}
	x.flags(cmd)
	config.AddFlags(cmd.Flags(), "worker.concurrency")
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, "print progress and the file as lines of JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := x.complete(args); err != nil {
			return err
		}
		return a.run(cmd, uploads, *asJSON, func(ctx context.Context, r *batch) error {
			x.batch = r
			err := x.run(ctx)
			r.close()
			if err != nil {
				return err
			}
			return x.report()
		})
	}
	return cmd
}

// An exporting is one run of the command.
type exporting struct {
	*batch
	file    string
	filter  []string // as written
	params  []string // as written
	payload export.Payload
	output  string
	force   bool

	items []*item // the dataset's job, if there is one, and the export's
	from  content // what the export has written
	// written is the artifact's ID, once its job has ended.
	written string
}

// run does it, and says how to go on if it is interrupted before OUT is there.
func (x *exporting) run(ctx context.Context) error {
	err := x.do(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	if errors.Is(err, session.ErrInterrupted) {
		err = nil // it is said once
	}
	err = errors.Join(x.left(x.items...), err)
	x.leftFile()
	return err
}

// do makes a dataset of the file, exports it, and brings what was written here.
func (x *exporting) do(ctx context.Context) (err error) {
	out, err := openOutput(x.output, x.force)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.close()) }()
	if x.file != "" {
		if x.payload.Dataset, err = x.dataset(ctx); err != nil {
			return err
		}
	}
	written, err := x.export(ctx)
	if err != nil {
		return err
	}
	var summary export.Summary
	if err := json.Unmarshal(written.Result, &summary); err != nil {
		return fmt.Errorf("read the result of job %s: %w", written.ID, err)
	}
	x.written = blobs.ArtifactID(written.ID, summary.Artifact)
	if x.from, err = x.place.artifact(ctx, x.written, true); err != nil {
		return err
	}
	return x.fill(ctx, out, x.from)
}

// leftFile says how to go on with a file that is written, and not yet here. The job has ended, so the same command
// would make another one.
func (x *exporting) leftFile() {
	if x.written == "" {
		return
	}
	how := fmt.Sprintf("tidemark download %s --output %s", x.written, x.output)
	if x.session.Redis != nil && x.session.Redis.Kind() == datadir.Embedded {
		how = "the same command" // no other one can see its job
	}
	x.board.Note(fmt.Sprintf("%s: the file is written, and not yet here; to go on, run %s", x.output, how))
}

// dataset gives the ID of a dataset of the file, and makes it if there is none.
func (x *exporting) dataset(ctx context.Context) (engine.JobID, error) {
	i := &item{name: x.file}
	x.items = []*item{i}
	sum, err := x.sum(ctx, x.file)
	if err != nil {
		i.err = err
		return "", fmt.Errorf("read %s: %w", x.file, err)
	}
	if id, err := x.find(ctx, sum); id != "" || err != nil {
		x.items = nil
		return id, err
	}
	x.items = x.all(ctx, []string{x.file})
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return x.items[0].id, x.items[0].failure()
}

// sum is the SHA-256 of a file.
func (x *exporting) sum(ctx context.Context, file string) (string, error) {
	f, size, err := datadir.OpenRegular(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return datadir.Sum(ctx, f, size, func(done, total int64) { x.board.Taking(file, "reading", done, total) })
}

// searchedPages bounds the search for a dataset of the same content. Beyond it a file is made a dataset again.
const searchedPages = 20

// find finds the dataset of a content that has the name of the file, whose ending may decide its format.
func (x *exporting) find(ctx context.Context, sum string) (engine.JobID, error) {
	after := ""
	for range searchedPages {
		page, next, err := x.place.datasets(ctx, after)
		if err != nil {
			return "", err
		}
		for _, d := range page {
			if d.SHA256 == sum && d.Name == filepath.Base(x.file) {
				return d.ID, nil
			}
		}
		if after = next; after == "" {
			break
		}
	}
	return "", nil
}

// export makes the export's job, or finds the one that an earlier run has begun, and follows it to its end.
func (x *exporting) export(ctx context.Context) (engine.Job, error) {
	payload, err := json.Marshal(x.payload)
	if err != nil {
		return engine.Job{}, err
	}
	key := sha256.Sum256(payload)
	made, err := x.session.Store.Enqueue(ctx, engine.Spec{
		Topic: x.session.Config.Topic, Type: export.JobType, Queue: export.Queue, Title: screen.Cut(filepath.Base(x.output), engine.MaxTitleRunes),
		Payload: json.RawMessage(payload), Key: "export " + hex.EncodeToString(key[:]), KeyLife: engine.KeyWhileLive,
	})
	if errors.Is(err, engine.ErrUnreplicated) {
		x.board.Note(fmt.Sprintf("%s: %v", x.output, err))
		err = nil
	}
	if err != nil {
		return engine.Job{}, err
	}
	if made.Existing {
		x.board.Note(fmt.Sprintf("%s: going on with job %s", x.output, made.ID))
	}
	i := &item{name: x.output, id: made.ID}
	x.items = append(x.items, i)
	if i.err = x.follow(ctx, i, func() {}); ctx.Err() != nil {
		return engine.Job{}, context.Cause(ctx)
	}
	return i.job, i.failure()
}

// report says what was written.
func (x *exporting) report() error {
	i := x.items[len(x.items)-1]
	var s export.Summary
	if err := json.Unmarshal(i.job.Result, &s); err != nil {
		return fmt.Errorf("read the result of job %s: %w", i.id, err)
	}
	if x.asJSON {
		screen.WriteLine(x.app.Out, struct {
			Type     string       `json:"type"`
			Output   string       `json:"output"`
			Job      engine.JobID `json:"job"`
			Dataset  engine.JobID `json:"dataset,omitempty"`
			Source   string       `json:"source,omitempty"`
			Artifact string       `json:"artifact"`
			Size     int64        `json:"size"`
			SHA256   string       `json:"sha256"`
			Rows     int64        `json:"rows"`
			Columns  int          `json:"columns"`
			Clipped  int64        `json:"clipped,omitempty"`
		}{"export", x.output, i.id, x.payload.Dataset, x.payload.Source, x.from.id, x.from.size, x.from.sha256, s.Rows, s.Columns, s.Clipped})
		return nil
	}
	fmt.Fprintf(x.app.Out, "%s: %s rows, %s, SHA-256 %s\n", screen.OneLine(x.output), screen.Grouped(s.Rows), screen.BytesOf(x.from.size), x.from.sha256)
	if s.Clipped > 0 {
		fmt.Fprintf(x.app.Out, "%s texts are longer than a cell of XLSX may be and were cut.\n", screen.Grouped(s.Clipped))
	}
	return nil
}
