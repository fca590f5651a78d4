package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/client"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/worker/export"
)

// sourceLabel is the label by which the upload of a file is found again.
const sourceLabel = "source"

// maxProfileBytes is far more than a profile has.
const maxProfileBytes = 64 << 20

// there is the place of a command that speaks to a server.
type there struct {
	session *session.Session
	board   *screen.Board
}

func openThere(_ context.Context, c *config.Config, b *screen.Board, _ []string) (*session.Session, place, func() error, error) {
	s, err := session.OpenServer(c)
	if err != nil {
		return nil, nil, nil, err
	}
	return s, &there{session: s, board: b}, func() error { return nil }, nil
}

// submit announces a file's upload, or finds one that the same file has begun.
func (t *there) submit(ctx context.Context, file string, k kind) (found submitted, err error) {
	fail := func(err error) (submitted, error) {
		return submitted{}, fmt.Errorf("sending %s to the server: %w", file, err)
	}
	f, size, err := datadir.OpenRegular(file)
	if err != nil {
		return fail(err)
	}
	defer func() {
		if found.send == nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	sum, err := datadir.Sum(ctx, f, size, func(done, total int64) { t.board.Taking(file, "reading", done, total) })
	if err != nil {
		return fail(err)
	}
	source, err := sourceOf(file, sum)
	if err != nil {
		return fail(err)
	}
	s := t.session
	live, err := liveJob(ctx, s, k.jobType, sourceLabel, source, func(j engine.Job) bool {
		if j.State != engine.Receiving {
			return true
		}
		// Only who has begun an upload can go on with it.
		_, err := s.Remote.Received(ctx, j.ID)
		return err == nil
	})
	if err != nil {
		return fail(err)
	}
	id := live.ID
	switch {
	case id == "":
		id, err = s.Remote.Announce(ctx, client.Upload{
			Topic: s.Config.Topic, Type: k.jobType, Name: filepath.Base(file), SizeBytes: size,
			Labels: map[string]string{sourceLabel: source},
		})
		if err != nil {
			return fail(err)
		}
	case live.State == engine.Receiving:
		t.board.Note(fmt.Sprintf("%s: going on with the upload of job %s", file, id))
	default:
		t.board.Note(fmt.Sprintf("%s: going on with job %s", file, id))
		return submitted{job: id}, nil
	}
	return submitted{job: id, send: func(ctx context.Context) error {
		defer f.Close()
		return t.send(ctx, file, f, info, id)
	}}, nil
}

// send brings a file to its job, over cuts, which are shown.
func (t *there) send(ctx context.Context, file string, f *os.File, before fs.FileInfo, id engine.JobID) error {
	err := t.session.Remote.Send(ctx, id, unchanged{f, before}, before.Size(), func(why error) {
		t.board.Note(fmt.Sprintf("%s: the upload is interrupted and will go on: %v", file, why))
	})
	if !errors.Is(err, datadir.ErrChanged) {
		return err
	}
	// What the server has is a part of no state of the file.
	if canceled := t.session.Remote.Cancel(ctx, id); !errors.Is(canceled, engine.ErrEnded) {
		err = errors.Join(err, canceled)
	}
	return err
}

// An unchanged file is read only while it is as it was before. So what is of two states of
// a file, or shorter than announced, never arrives whole.
type unchanged struct {
	*os.File
	before fs.FileInfo
}

func (f unchanged) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	after, failed := f.Stat()
	if failed != nil {
		return 0, failed
	}
	if after.Size() != f.before.Size() || !after.ModTime().Equal(f.before.ModTime()) {
		return 0, datadir.ErrChanged
	}
	return n, err
}

// sourceOf marks a file with the SHA-256 sum: another place or content is another source.
// The size and the time of change alone are the same for files that differ.
func sourceOf(file, sum string) (string, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("this machine's name, by which an upload is found again: %w", err)
	}
	mark := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s", host, path, sum))
	return hex.EncodeToString(mark[:16]), nil
}

func (t *there) profile(ctx context.Context, i *item) ([]byte, string, error) {
	id := string(i.id) + ".profile.json"
	text, err := t.session.Remote.Artifact(ctx, id, maxProfileBytes)
	if err != nil {
		return nil, "", fmt.Errorf("read the profile of %s: %w", i.name, err)
	}
	return text, t.session.Remote.ArtifactURL(id), nil
}

func (t *there) artifact(ctx context.Context, id string, written bool) (content, error) {
	away := func(why error) {
		t.board.Note(fmt.Sprintf("%s: the download is interrupted and will go on: %v", id, why))
	}
	stat := t.session.Remote.StatArtifact
	if written {
		stat = func(ctx context.Context, id string) (client.ArtifactInfo, error) {
			return t.session.Remote.AwaitArtifact(ctx, id, away)
		}
	}
	f, err := stat(ctx, id)
	if errors.Is(err, engine.ErrNotFound) {
		err = fmt.Errorf("artifact %s: %w", id, session.ErrNoArtifact)
	}
	if err != nil {
		return content{}, err
	}
	return content{id: id, doing: "downloading", size: f.Size, sha256: f.SHA256, open: func(ctx context.Context, from int64) (io.ReadCloser, error) {
		return t.session.Remote.OpenArtifact(ctx, f, from, away), nil
	}}, nil
}

func (t *there) datasets(ctx context.Context, after string) ([]dataset, string, error) {
	return datasetsThere(ctx, t.session.Remote, t.session.Config.Topic, after)
}

func (t *there) goOn(j engine.Job) string {
	if j.State == engine.Receiving || j.ID == "" {
		return "what has arrived is kept: run the same command again to send the rest"
	}
	if j.Type == export.JobType {
		return fmt.Sprintf("it goes on at the server; run the same command again before it ends, or see \"tidemark job %s\" for what to download", j.ID)
	}
	return "it goes on at the server; run the same command again to see it"
}
