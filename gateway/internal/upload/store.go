package upload

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/tidemark-dev/tidemark/engine/runtime"

	tus "github.com/tus/tusd/v2/pkg/handler"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

// An store is tusd's access to the folder and to the jobs. tusd calls it in the
// name of one request at a time for an upload, whose lock it holds, and finds the
// request's transfer in the context.
type store struct{ u *Server }

// announce tells tusd what was announced: it was checked already.
func (s *store) announce(e tus.HookEvent) (tus.HTTPResponse, tus.FileInfoChanges, error) {
	up := transferOf(e.Context).upload
	return tus.HTTPResponse{}, tus.FileInfoChanges{ID: string(up.Job), MetaData: up.Metadata}, nil
}

// NewUpload implements tus.DataStore: the files first, then the job, so that there is
// no job without files.
func (s *store) NewUpload(ctx context.Context, _ tus.FileInfo) (tus.Upload, error) {
	t := transferOf(ctx)
	up := t.upload
	if err := s.u.shelf.create(ctx, up); err != nil {
		return nil, t.fail(s.u.shelf.refused(err))
	}
	lasting := context.WithoutCancel(ctx)
	ctx, cancel := context.WithTimeout(lasting, s.u.opts.RequestTimeout)
	defer cancel()
	forget := func() error { return s.u.shelf.forget(lasting, up) }
	made, fence, err := s.u.runtime.Receive(ctx, up.Job, *t.spec, up.Share, s.u.opts.Idle, shown(up, 0, 0))
	switch {
	case err == nil && made.Existing:
		return nil, t.fail(errors.Join(errAnnounced, forget()))
	case err == nil, errors.Is(err, engine.ErrUnreplicated):
	case errors.Is(err, engine.ErrInvalid), errors.Is(err, engine.ErrInvalidTopic), errors.Is(err, engine.ErrOutOfMemory),
		errors.Is(err, engine.ErrLimit):
		return nil, t.fail(errors.Join(err, forget()))
	default:
		// There may be a job, of which the client will not know.
		_, moved := s.u.shelf.move(lasting, up, void)
		return nil, t.fail(errors.Join(err, moved))
	}
	t.created, t.known = true, true
	t.reception = runtime.Reception{Topic: up.Topic, Fence: fence, Share: up.Share}
	s.u.metrics.announced.Inc()
	return &file{u: s.u, upload: up}, nil
}

// GetUpload implements tus.DataStore.
func (s *store) GetUpload(ctx context.Context, _ string) (tus.Upload, error) {
	t := transferOf(ctx)
	// Again, since it may have been settled while the request waited for the lock.
	up, err := s.u.find(ctx, t.upload.Job)
	if err != nil {
		if !errors.Is(err, engine.ErrNotFound) {
			err = s.u.shelf.refused(err)
		}
		return nil, t.fail(err)
	}
	n, _, there, err := s.u.shelf.offset(ctx, up)
	if err != nil {
		return nil, t.fail(s.u.shelf.refused(err))
	}
	if up.place == settled && !there {
		return nil, t.fail(errGone)
	}
	return &file{u: s.u, upload: up, offset: n}, nil
}

// AsTerminatableUpload implements tus.TerminaterDataStore.
func (s *store) AsTerminatableUpload(up tus.Upload) tus.TerminatableUpload {
	return up.(*file)
}

// terminating cancels the job before the bytes go; one that is queued has a life of its
// own.
func (s *store) terminating(e tus.HookEvent) (tus.HTTPResponse, error) {
	t := transferOf(e.Context)
	ctx, cancel := context.WithTimeout(e.Context, s.u.opts.RequestTimeout)
	defer cancel()
	err := s.u.runtime.CancelReception(ctx, t.upload.Job)
	switch {
	case errors.Is(err, runtime.ErrSuperseded), errors.Is(err, engine.ErrEnded) && e.Upload.Offset >= e.Upload.Size:
		err = errQueued
	case errors.Is(err, engine.ErrEnded):
		err = errGone
	}
	return tus.HTTPResponse{}, t.fail(err)
}

// finished queues the job of an upload that is complete.
func (s *store) finished(e tus.HookEvent) (tus.HTTPResponse, error) {
	t := transferOf(e.Context)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.Context), s.u.opts.RequestTimeout)
	defer cancel()
	err := s.u.queue(ctx, t.upload)
	if err != nil && !errors.Is(err, errGone) {
		s.u.opts.Logger.Warn("an upload is complete and its job not queued yet; the sweep will do it", "job", t.upload.Job, "error", err)
		err = errNotQueued
	}
	return tus.HTTPResponse{}, t.fail(err)
}

// queue queues the job of an upload whose bytes are all there and safe, and settles it.
// Doing it again, from anywhere, is no error. Its error is errGone when the job has
// ended instead.
func (u *Server) queue(ctx context.Context, up *upload) error {
	last := shown(up, up.Size, 0)
	err := u.runtime.Received(ctx, up.Job, &last)
	switch {
	case err == nil, errors.Is(err, engine.ErrUnreplicated):
		moved, err := u.settle(ctx, up)
		if moved {
			u.metrics.finished.Inc()
		}
		return err
	case errors.Is(err, engine.ErrEnded):
		// It may have ended after it was queued, by another process. Then a retry reads the
		// bytes; they go as those of any other job do.
		_, err := u.settle(ctx, up)
		return errors.Join(errGone, err)
	}
	return err
}

// settle says that no more bytes are expected.
func (u *Server) settle(ctx context.Context, up *upload) (bool, error) {
	moved, err := u.shelf.move(ctx, up, settled)
	u.index.remove(up.Job)
	return moved, err
}

// discard removes the bytes of an upload whose job has ended. It keeps the ticket, by which the gateway
// answers the upload's owner.
func (u *Server) discard(ctx context.Context, up *upload) error {
	if err := u.shelf.drop(ctx, up); err != nil {
		return err
	}
	_, err := u.settle(ctx, up)
	return err
}

// An file is an upload as one request sees it.
type file struct {
	u      *Server
	upload *upload
	offset int64
}

// GetInfo implements tus.Upload.
func (f *file) GetInfo(context.Context) (tus.FileInfo, error) {
	return tus.FileInfo{ID: string(f.upload.Job), Size: f.upload.Size, Offset: f.offset, MetaData: f.upload.Metadata}, nil
}

// bufferBytes is how much a transfer reads at a time.
const bufferBytes = 256 << 10

// WriteChunk implements tus.Upload. What was written stays, whatever the error, unless
// the body is longer than what the upload lacks: then the client is wrong about the file,
// and nothing of the request stays.
func (f *file) WriteChunk(ctx context.Context, offset int64, src io.Reader) (int64, error) {
	t := transferOf(ctx)
	out, err := f.u.shelf.extend(ctx, f.upload, offset)
	if err != nil {
		return 0, t.fail(f.u.shelf.refused(err))
	}
	end := t.begin(ctx, offset)
	_, err = t.store(out, src, f.upload.Size-offset)
	if errors.Is(err, errTooLong) {
		err = errors.Join(err, out.undo())
	}
	n, closed := out.close()
	f.offset = offset + n
	t.offset.Store(f.offset)
	end()
	f.u.metrics.bytes.Add(float64(max(n, 0)))
	if err := errors.Join(err, closed); err != nil {
		return n, t.fail(f.u.shelf.refused(err))
	}
	return n, nil
}

// store writes a body of at most lacking bytes, which is at least one. The upload's last
// byte is written once the body has ended. Until then the upload is incomplete, so a body
// that goes on is never taken for the file, by no process and after no crash.
func (t *transfer) store(out io.Writer, src io.Reader, lacking int64) (int64, error) {
	to := counted{out, t}
	n, err := io.CopyBuffer(to, io.LimitReader(src, lacking-1), make([]byte, bufferBytes))
	if err != nil || n < lacking-1 {
		return n, err
	}
	var last [1]byte
	k, err := io.ReadFull(src, last[:])
	if k == 1 {
		// tusd ends the body here, whether it has ended or not. It asks for one byte more
		// than it gives, so that arrived tells.
		_, err = io.Copy(io.Discard, src)
	}
	switch {
	case t.arrived > lacking:
		return n, errTooLong
	case k == 0 || err != nil || !t.whole:
		return n, nil //nolint:nilerr // the body ended early, and tusd knows why
	}
	k, err = to.Write(last[:])
	return n + int64(k), err
}

// FinishUpload implements tus.Upload: a job is queued only for bytes that are safe.
func (f *file) FinishUpload(ctx context.Context) error {
	return transferOf(ctx).fail(f.u.shelf.refused(f.u.shelf.whole(context.WithoutCancel(ctx), f.upload)))
}

// Terminate implements tus.TerminatableUpload.
func (f *file) Terminate(ctx context.Context) error {
	return transferOf(ctx).fail(f.u.shelf.refused(f.u.discard(ctx, f.upload)))
}

// GetReader implements tus.Upload. Uploads are not given out.
func (f *file) GetReader(context.Context) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}

// fail keeps why a request fails for its answer, and gives tusd an error to pass on.
func (t *transfer) fail(err error) error {
	if err == nil {
		return nil
	}
	if t.err == nil {
		t.err = err
		if own := (*problem.Refusal)(nil); errors.As(err, &own) {
			t.err = own
		}
	}
	return tus.NewError("TIDEMARK", err.Error(), http.StatusInternalServerError)
}

// shown is what a job shows while its upload has received offset bytes.
func shown(up *upload, offset int64, eta time.Duration) runtime.Shown {
	return runtime.Shown{
		Progress: engine.Progress{Done: offset, Total: up.Size, Unit: "bytes"},
		Stage:    engine.Stage{Name: "receive"}, ETA: eta,
	}
}
