package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

func (a *app) removeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove JOB",
		Short: "Remove an ended job, with its children and files",
		Long: `Remove an ended job and its children: what Redis keeps of them, their artifacts, and their
uploads, which stay while another job or a schedule refers to them. The job cannot be tried
again, and its key is free. Without --server an upload goes when a gateway of the data folder
runs, within the hour.

The exit code is 0 when the job is removed, 3 when there is no such job any more, and 1 when
the job or one of its children has not ended, or when it is a child of one that has not.`,
		Example: `  tidemark remove 0701JDG5CW2QK3V9Y7H4N8R6ZTXB
  tidemark jobs --state failed --json | jq -r .id | xargs -n 1 tidemark remove`,
		Args: cobra.ExactArgs(1),
	}
	session.ServerFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		s, err := openJob(cmd, args[0])
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		return a.remove(cmd.Context(), s, engine.JobID(args[0]))
	}
	return cmd
}

func (a *app) remove(ctx context.Context, s *session.Session, id engine.JobID) error {
	if _, _, err := s.Job(ctx, id); err != nil {
		return err
	}
	switch err := s.Store.Remove(ctx, id); {
	case errors.Is(err, engine.ErrUnreplicated):
		fmt.Fprintln(a.err, "tidemark: "+screen.OneLine(err.Error())) // the job is removed
	case err != nil:
		return err
	}
	fmt.Fprintf(a.out, "%s is removed\n", id)
	if s.Remote != nil {
		return nil // whose gateway has deleted the files
	}
	blobs, err := session.OpenBlobs(ctx, s.Config)
	if err != nil {
		return fmt.Errorf("its artifacts are still there: %w", err)
	}
	return errors.Join(artifacts.Delete(ctx, blobs.Bucket, blobs.Dir, id, runtime.Of(s.Engine).ArtifactsPinned), blobs.Close())
}
