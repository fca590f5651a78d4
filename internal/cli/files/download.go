package files

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

// DownloadCommand makes the command that fetches a file that a job has written.
func (a App) DownloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "download ARTIFACT",
		Short: "Fetch a file that a job has written",
		Long: `Fetch a file that a job has written. "tidemark job JOB" lists a job's artifacts, each with its ID:
the job's, a dot and a name.

The bytes gather in OUT.part, and OUT appears once all are there and have the artifact's SHA-256. A
download over a broken connection goes on by itself, and an interrupted one when the command is run
again. If what an earlier run has left turns out to be of another file, the download begins anew.`,
		Example: `  tidemark download 0701JDG5CW2QK3V9Y7H4N8R6ZTXB.export.xlsx --server http://127.0.0.1:8080
  tidemark download 0701JDG5CW2QK3V9Y7H4N8R6ZTXB.profile.json --output profile.json --force`,
		Args: cobra.ExactArgs(1),
	}
	path := cmd.Flags().StringP("output", "o", "", "the `OUT` file (default the artifact's name, in this folder)")
	force := cmd.Flags().Bool("force", false, "replace OUT if it exists")
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, "print progress and the file as lines of JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		_, name, ok := blobs.ParseArtifactID(args[0])
		if !ok {
			return session.Usage("%q is no artifact's ID: want the job's, a dot and a name", screen.Cut(args[0], 80))
		}
		if *path != "" {
			name = *path
		}
		return a.download(cmd, args[0], name, *force, *asJSON)
	}
	return cmd
}

func (a App) download(cmd *cobra.Command, id, path string, force, asJSON bool) (err error) {
	ctx := cmd.Context()
	r := &batch{app: a, asJSON: asJSON}
	if r.session, err = session.OpenStore(cmd); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.session.Close()) }()
	r.board = screen.NewBoard(a.painter(asJSON))
	r.close = sync.OnceFunc(r.board.Close)
	defer r.close()
	if r.session.Remote != nil {
		r.place = &there{session: r.session, board: r.board}
	} else {
		if r.session.Blobs, err = session.OpenBlobs(ctx, r.session.Config); err != nil {
			return err
		}
		r.place = &here{session: r.session, board: r.board}
	}
	from, err := r.place.artifact(ctx, id, false)
	if err != nil {
		return err
	}
	out, err := openOutput(path, force)
	if err != nil {
		return err
	}
	err = r.fill(ctx, out, from)
	if kept := out.kept(); ctx.Err() != nil && kept > 0 {
		r.board.Note(fmt.Sprintf("%s: %s are in %s%s; run the same command again to go on", path, screen.BytesOf(kept), path, partSuffix))
	}
	err = errors.Join(err, out.close())
	r.close()
	if err != nil {
		return err
	}
	if asJSON {
		screen.WriteLine(a.Out, struct {
			Type     string `json:"type"`
			Output   string `json:"output"`
			Artifact string `json:"artifact"`
			Size     int64  `json:"size"`
			SHA256   string `json:"sha256"`
		}{"download", path, from.id, from.size, from.sha256})
		return nil
	}
	fmt.Fprintf(a.Out, "%s: %s, SHA-256 %s\n", screen.OneLine(path), screen.BytesOf(from.size), from.sha256)
	return nil
}

// fill brings a content into a file, and shows how far it is.
func (r *batch) fill(ctx context.Context, out *output, from content) error {
	if kept := out.kept(); kept > 0 {
		r.board.Note(fmt.Sprintf("%s: going on with the %s of %s%s", out.path, screen.BytesOf(kept), out.path, partSuffix))
	}
	return out.fill(ctx, from, func(done, total int64) { r.board.Taking(out.path, from.doing, done, total) }, func() {
		r.board.Note(fmt.Sprintf("%s: what an earlier run had left was of another file; beginning anew", out.path))
	})
}
