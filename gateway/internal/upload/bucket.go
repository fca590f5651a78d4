package upload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	tus "github.com/tus/tusd/v2/pkg/handler"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/multipart"
	"github.com/tidemark-dev/tidemark/internal/storefault"
)

// A bucket is where uploads stand that any gateway may receive. Package multipart keeps those that are
// open, with their bytes.
//
//	incoming/<topic>/<job>                       the bytes, once all have arrived
//	incoming/.uploads/open/<job>.json            the ticket and what has arrived, while bytes are expected
//	incoming/.uploads/tails/<job>/…              what has arrived and is less than a part
//	incoming/.uploads/{settled,orphaned,void}/<job>.json   as in a folder
//
// A ticket is moved by writing the new one and deleting the old one. After a crash in between both are there,
// and the sweep moves it again.
type bucket struct {
	blobs *blob.Bucket
	parts *multipart.Store
	log   *slog.Logger

	mu     *sync.Mutex
	claims map[engine.JobID]*multipart.Hold // of this process
	warned *time.Time
}

const (
	shelfKey = blobs.Incoming + "/.uploads"
	// checkTimeout bounds the check of a bucket, workTimeout what must not end with its request.
	checkTimeout = 30 * time.Second
	workTimeout  = 2 * time.Minute
	// warnInterval is the time between two logs about a store that fails requests.
	warnInterval = 10 * time.Second
)

// openShelf opens the folder, or the bucket.
func openShelf(o Options) (shelf, error) {
	if o.Dir != "" {
		return openFolder(o.Dir)
	}
	client := (*s3.Client)(nil)
	if !o.Blobs.As(&client) {
		return nil, errors.New("prepare uploads: the blob store is no bucket of S3")
	}
	if o.MaxBytes > multipart.MaxBytes {
		return nil, fmt.Errorf("%w UploadBytes %d: in a bucket of S3 an upload has at most %d bytes", engine.ErrInvalid, o.MaxBytes, int64(multipart.MaxBytes))
	}
	b := &bucket{
		blobs: o.Blobs, parts: multipart.New(client, o.Bucket, shelfKey, o.Logger), log: o.Logger,
		mu: &sync.Mutex{}, claims: map[engine.JobID]*multipart.Hold{}, warned: &time.Time{},
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	if err := b.parts.Conditional(ctx); err != nil {
		return nil, fmt.Errorf("prepare uploads: %w", err)
	}
	return b, nil
}

func ticketKey(p place, job engine.JobID) string {
	return shelfKey + "/" + string(p) + "/" + string(job) + ticketSuffix
}

func (b *bucket) create(ctx context.Context, up *upload) error {
	text, err := json.Marshal(up)
	if err != nil {
		return err
	}
	return b.parts.Create(context.WithoutCancel(ctx), string(up.Job), b.object(up), up.Size, text)
}

// object is the key under which S3 has the blob with blobKey: gocloud's driver escapes as a folder's does.
func (b *bucket) object(up *upload) string {
	return blobs.Incoming + "/" + filepath.ToSlash(dataPath(up))
}

func (b *bucket) read(ctx context.Context, p place, job engine.JobID) (*upload, error) {
	up := &upload{place: p}
	var text []byte
	var err error
	if p == open {
		if h := b.claimed(job); h != nil {
			up.state = h.State()
		} else if up.state, err = b.parts.Read(ctx, string(job)); err != nil {
			return nil, err
		}
		text = up.state.Ticket
	} else if text, err = b.blobs.ReadAll(ctx, ticketKey(p, job)); err != nil {
		return nil, stored("read a ticket", err)
	}
	return up, up.decode(text, job)
}

func (b *bucket) claimed(job engine.JobID) *multipart.Hold {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.claims[job]
}

func (b *bucket) list(ctx context.Context, p place) ([]engine.JobID, error) {
	prefix := shelfKey + "/" + string(p) + "/"
	objects := b.blobs.List(&blob.ListOptions{Prefix: prefix})
	var jobs []engine.JobID
	for {
		o, err := objects.Next(ctx)
		if errors.Is(err, io.EOF) {
			return jobs, nil
		}
		if err != nil {
			return nil, stored("list uploads", err)
		}
		text, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, prefix), ticketSuffix)
		if job, err := engine.ParseJobID(text); ok && err == nil {
			jobs = append(jobs, job)
		}
	}
}

func (b *bucket) offset(ctx context.Context, up *upload) (int64, time.Time, bool, error) {
	if up.state != nil {
		return up.state.Offset, up.state.At, true, nil
	}
	a, err := b.blobs.Attributes(ctx, blobKey(up))
	switch {
	case gcerrors.Code(err) == gcerrors.NotFound:
		return 0, up.Created, false, nil
	case err != nil:
		return 0, time.Time{}, false, stored("look at an upload", err)
	}
	return a.Size, a.ModTime, true, nil
}

func (b *bucket) extend(ctx context.Context, up *upload, offset int64) (sink, error) {
	h := b.claimed(up.Job)
	if h == nil || h.State().Offset != offset {
		return nil, multipart.ErrLost
	}
	w, err := h.Writer(ctx)
	if err != nil {
		return nil, err
	}
	return bucketEnd{w}, nil
}

type bucketEnd struct{ *multipart.Writer }

func (e bucketEnd) undo() error           { return e.Undo() }
func (e bucketEnd) close() (int64, error) { return e.Close() }

func (b *bucket) whole(ctx context.Context, up *upload) error {
	h := b.claimed(up.Job)
	if h == nil {
		return multipart.ErrLost
	}
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	return h.Complete(ctx)
}

func (b *bucket) age(ctx context.Context, p place, job engine.JobID, now time.Time) time.Duration {
	up, err := b.read(ctx, p, job)
	if err != nil {
		return 0 // another gateway was faster, or the next look tells
	}
	return now.Sub(up.Touched)
}

func (b *bucket) touch(ctx context.Context, up *upload, now time.Time) error {
	_, err := b.write(ctx, up, up.place, now, false)
	return err
}

// write writes a ticket; false if it is to be new and is not.
func (b *bucket) write(ctx context.Context, up *upload, to place, now time.Time, fresh bool) (bool, error) {
	ticket := *up
	ticket.Touched = now
	text, err := json.Marshal(ticket)
	if err != nil {
		return false, err
	}
	err = b.blobs.WriteAll(ctx, ticketKey(to, up.Job), text, &blob.WriterOptions{IfNotExist: fresh})
	if fresh && gcerrors.Code(err) == gcerrors.FailedPrecondition {
		return false, nil
	}
	return err == nil, stored("write a ticket", err)
}

func (b *bucket) move(ctx context.Context, up *upload, to place) (bool, error) {
	moved, err := b.write(ctx, up, to, time.Now().UTC(), true)
	if err != nil {
		return false, err
	}
	return moved, b.remove(ctx, up)
}

// remove deletes the ticket.
func (b *bucket) remove(ctx context.Context, up *upload) error {
	if up.place == open {
		st, err := b.state(ctx, up)
		if err != nil {
			return gone(err)
		}
		return b.parts.Remove(ctx, st)
	}
	return gone(stored("delete a ticket", b.blobs.Delete(ctx, ticketKey(up.place, up.Job))))
}

// state is of an open upload, as it is now.
func (b *bucket) state(ctx context.Context, up *upload) (*multipart.State, error) {
	if h := b.claimed(up.Job); h != nil {
		return h.State(), nil
	}
	return b.parts.Read(ctx, string(up.Job))
}

func (b *bucket) drop(ctx context.Context, up *upload) error {
	if up.place != open {
		return gone(stored("delete an upload", b.blobs.Delete(ctx, blobKey(up))))
	}
	st, err := b.state(ctx, up)
	if err != nil {
		return gone(err)
	}
	return b.parts.Discard(ctx, st)
}

func (b *bucket) forget(ctx context.Context, up *upload) error {
	if err := b.drop(ctx, up); err != nil {
		return err
	}
	return b.remove(ctx, up)
}

// jobIDBytes is the length of a job's ID, which every object's key ends with.
const jobIDBytes = 28

func (b *bucket) tidy(ctx context.Context, before time.Time) error {
	return b.parts.Sweep(ctx, blobs.Incoming+"/", before, func(object string) (string, bool) {
		job, err := engine.ParseJobID(object[max(0, len(object)-jobIDBytes):])
		return string(job), err == nil
	})
}

// A turn is a claim on an open upload.
type turn struct {
	b   *bucket
	job engine.JobID
	h   *multipart.Hold
}

// No process has a settled upload to itself: none changes its bytes.
type shared struct{}

func (shared) watch(context.Context, func()) {}
func (shared) release() error                { return nil }

func (b *bucket) claim(ctx context.Context, job engine.JobID, reader bool, stopping <-chan struct{}) (claim, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-stopping:
			cancel(tus.ErrServerShutdown)
		case <-ctx.Done():
		}
	}()
	lock := b.parts.Lock
	if reader {
		lock = b.parts.Quiet
	}
	h, err := lock(ctx, string(job))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		there, err := b.blobs.Exists(ctx, ticketKey(settled, job))
		switch {
		case err != nil:
			return nil, stored("look for a ticket", err)
		case !there:
			return nil, tus.ErrNotFound
		}
		return shared{}, nil
	case errors.Is(context.Cause(ctx), tus.ErrServerShutdown):
		return nil, tus.ErrServerShutdown
	case ctx.Err() != nil:
		return nil, tus.ErrLockTimeout
	case err != nil:
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims[job] = h
	return &turn{b, job, h}, nil
}

func (t *turn) watch(ctx context.Context, wanted func()) { t.h.Watch(ctx, wanted) }

func (t *turn) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), workTimeout)
	defer cancel()
	err := t.h.Release(ctx)
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	delete(t.b.claims, t.job)
	return err
}

func (b *bucket) refused(err error) error {
	own := (*problem.Refusal)(nil)
	switch {
	case err == nil || errors.As(err, &own):
		return err
	case errors.Is(err, multipart.ErrLost):
		return errInterrupted
	case errors.Is(err, multipart.ErrBusy):
		return errCrowded
	case errors.Is(err, multipart.ErrParts):
		return errInterrupts
	case errors.Is(err, multipart.ErrVanished):
		return errBegunAnew
	}
	b.mu.Lock()
	if now := time.Now(); now.Sub(*b.warned) > warnInterval {
		*b.warned = now
		b.log.Warn("the store of files failed a request about an upload; clients try again", "error", err)
	}
	b.mu.Unlock()
	if storefault.Full(err) {
		return errDiskFull
	}
	return errStorage
}

// stored words an error of the blob store.
func stored(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case gcerrors.Code(err) == gcerrors.NotFound:
		return fmt.Errorf("%s: %w", doing, errors.Join(fs.ErrNotExist, storefault.Of(err)))
	}
	return fmt.Errorf("%s: %w", doing, storefault.Of(err))
}
