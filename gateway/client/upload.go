package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// An Upload is a file to be sent, and the job that it is.
type Upload struct {
	// Topic and Type are the job's. Required.
	Topic wire.Topic
	Type  string
	// Name is the file's, without folders. Required.
	Name string
	// SizeBytes is the file's length.
	SizeBytes int64
	// Labels are the job's.
	Labels map[string]string
}

// tusVersion is the version of the tus protocol that is spoken.
const tusVersion = "1.0.0"

// Announce makes the job of an upload, which is receiving from then on. Errors to
// branch on: wire.ErrInvalid, ErrRefused, wire.ErrUnreachable, after which it may or
// may not have been made.
func (c *Client) Announce(ctx context.Context, u Upload) (wire.JobID, error) {
	fail := func(err error) (wire.JobID, error) {
		return "", fmt.Errorf("announce the upload of %s: %w", u.Name, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.RequestTimeout, errTook)
	defer cancel()
	r, err := c.tus(ctx, http.MethodPost, "/v1/uploads", nil)
	if err != nil {
		return fail(err)
	}
	pairs := []string{"topic", string(u.Topic), "type", u.Type, "filename", u.Name}
	if len(u.Labels) > 0 {
		labels, err := json.Marshal(u.Labels)
		if err != nil {
			return fail(err)
		}
		pairs = append(pairs, "labels", string(labels))
	}
	var metadata []string
	for i := 0; i < len(pairs); i += 2 {
		metadata = append(metadata, pairs[i]+" "+base64.StdEncoding.EncodeToString([]byte(pairs[i+1])))
	}
	r.Header.Set("Upload-Metadata", strings.Join(metadata, ","))
	r.Header.Set("Upload-Length", strconv.FormatInt(u.SizeBytes, 10))
	answer, err := c.send(r)
	if err != nil {
		return fail(err)
	}
	defer answer.Body.Close()
	id, err := wire.ParseJobID(path.Base(answer.Header.Get("Location")))
	if err != nil {
		return fail(fmt.Errorf("%w: the upload's address: %w", ErrProtocol, err))
	}
	return id, nil
}

// Send sends what the gateway does not yet have of an upload's content, and returns
// when it has all of it. Cuts are gone on from, for as long as ctx lasts; away is called
// once for each time that nothing could be sent, with the reason. If a proxy in front of
// the gateway refuses a request for its size, Send sends parts that pass. When ctx ends it
// returns the cause, and the upload can be gone on with by another Send, in this process
// or another.
//
// Errors to branch on: wire.ErrNotFound: there is no such upload, or it is another
// user's; wire.ErrEnded: its job was canceled or has failed; wire.ErrState: it was cut
// so often that it cannot go on; wire.ErrInvalid,
// ErrRefused, ErrProtocol; io.ErrUnexpectedEOF: the content is shorter than sizeBytes.
func (c *Client) Send(ctx context.Context, job wire.JobID, content io.ReaderAt, sizeBytes int64, away func(error)) error {
	var delay time.Duration
	last := int64(-1)
	parts := parts{most: c.partBytes.Load()}
	for {
		offset, err := c.Received(ctx, job)
		if err == nil && offset > last {
			last, delay = offset, 0
		}
		if err == nil && offset < sizeBytes {
			err = c.sendFrom(ctx, job, content, offset, sizeBytes, &parts)
			if err == nil {
				continue // HEAD has the last word
			}
		} else if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if parts.failed(err) {
			c.partBytes.Store(parts.most)
			continue
		}
		if !passing(err) {
			return fmt.Errorf("upload to job %s: %w", job, err)
		}
		if delay == 0 {
			delay = c.opts.BackoffMin
			away(err)
		}
		if err := pause(ctx, rand.N(delay)); err != nil {
			return err
		}
		delay = min(2*delay, c.opts.BackoffMax)
	}
}

// passing reports whether another try of an upload may do.
func passing(err error) bool {
	var p *Error
	if errors.As(err, &p) && p.Code != codeSpent {
		switch p.Status {
		case http.StatusConflict, http.StatusLocked, http.StatusTooManyRequests:
			// Another request of the same upload is at work, or has just been.
			return true
		}
	}
	return errors.Is(err, wire.ErrUnreachable)
}

// Received asks how many bytes of an upload have arrived. Errors to branch on are those
// of Send, and wire.ErrUnreachable.
func (c *Client) Received(ctx context.Context, job wire.JobID) (int64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.RequestTimeout, errTook)
	defer cancel()
	r, err := c.tus(ctx, http.MethodHead, "/v1/uploads/"+string(job), nil)
	if err != nil {
		return 0, err
	}
	answer, err := c.send(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	return offsetOf(answer)
}

// sendFrom sends the content from the offset on, part by part, for as long as the gateway's
// answers say that it has each.
func (c *Client) sendFrom(ctx context.Context, job wire.JobID, content io.ReaderAt, offset, sizeBytes int64, parts *parts) error {
	for offset < sizeBytes {
		part := parts.next(offset, sizeBytes-offset)
		received, err := c.patch(ctx, job, io.NewSectionReader(content, offset, part), offset)
		if err != nil || received != offset+part {
			return err
		}
		offset = received
	}
	return nil
}

// patch sends a part of an upload, which begins at offset, for as long as bytes move. It
// returns how many bytes of the upload the gateway then has.
func (c *Client) patch(ctx context.Context, job wire.JobID, part *io.SectionReader, offset int64) (received int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(c.opts.StallTimeout, func() { cancel(errTook) })
	defer stall.Stop()
	body := &moving{from: part, left: part.Size(), moved: func() { stall.Reset(c.opts.StallTimeout) }}
	r, err := c.tus(ctx, http.MethodPatch, "/v1/uploads/"+string(job), body)
	if err != nil {
		return 0, err
	}
	r.ContentLength = part.Size()
	r.Header.Set("Content-Type", "application/offset+octet-stream")
	r.Header.Set("Upload-Offset", strconv.FormatInt(offset, 10))
	answer, err := c.send(r)
	// Why the content could not be read is no fault of the gateway.
	if reading := body.failure.Load(); reading != nil {
		err = *reading
	}
	if err != nil {
		return 0, err
	}
	received, err = offsetOf(answer)
	return received, errors.Join(err, answer.Body.Close())
}

func offsetOf(answer *http.Response) (int64, error) {
	offset, err := strconv.ParseInt(answer.Header.Get("Upload-Offset"), 10, 64)
	if err != nil || offset < 0 {
		return 0, fmt.Errorf("%w: an upload without an offset", ErrProtocol)
	}
	return offset, nil
}

func (c *Client) tus(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	r, err := c.request(ctx, method, c.at(path), body)
	if err == nil {
		r.Header.Set("Tus-Resumable", tusVersion)
	}
	return r, err
}

// moving is a body that tells whenever some of it is taken. The transport reads it in
// a goroutine of its own, possibly after the request has ended.
type moving struct {
	from    io.Reader
	left    int64
	moved   func()
	failure atomic.Pointer[error]
}

func (m *moving) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.left -= int64(n)
	if errors.Is(err, io.EOF) && m.left > 0 {
		err = fmt.Errorf("the file became shorter: %w", io.ErrUnexpectedEOF)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		m.failure.Store(&err)
	}
	if n > 0 {
		m.moved()
	}
	return n, err
}
