package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ErrChanged says that what an address has is not what was read of it before.
var ErrChanged = errors.New("the artifact is another one than before")

// An ArtifactInfo is an artifact as the gateway has it.
type ArtifactInfo struct {
	// ID is "<job>.<name>".
	ID string
	// Size in bytes, and SHA256 in lower-case hex, are those of the whole.
	Size   int64
	SHA256 string
}

// StatArtifact asks what an artifact is, by its ID. Errors to branch on: wire.ErrNotFound: there is none that this
// user may read; wire.ErrEnded: it is no longer kept; ErrRefused, wire.ErrUnreachable, ErrProtocol.
func (c *Client) StatArtifact(ctx context.Context, id string) (ArtifactInfo, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.RequestTimeout, errTook)
	defer cancel()
	// A byte of it, since an answer to HEAD would not say why there is none.
	answer, err := c.artifact(ctx, id, "bytes=0-0", "")
	if err != nil {
		return ArtifactInfo{}, fmt.Errorf("artifact %s: %w", id, err)
	}
	defer answer.Body.Close()
	f := ArtifactInfo{ID: id, Size: answer.ContentLength, SHA256: tagOf(answer)}
	if answer.StatusCode == http.StatusPartialContent {
		_, f.Size = rangeOf(answer)
	}
	if f.Size < 0 || !sha256Hex.MatchString(f.SHA256) {
		return ArtifactInfo{}, fmt.Errorf("artifact %s: %w: its size or its SHA-256 is missing", id, ErrProtocol)
	}
	return f, nil
}

// AwaitArtifact is StatArtifact that tries again while the gateway cannot be reached or has no room, for as long as
// ctx lasts; away is called once, with the reason. It returns the cause of ctx when that ends.
func (c *Client) AwaitArtifact(ctx context.Context, id string, away func(error)) (ArtifactInfo, error) {
	delay := time.Duration(0)
	for {
		f, err := c.StatArtifact(ctx, id)
		switch {
		case err == nil:
			return f, nil
		case ctx.Err() != nil:
			return ArtifactInfo{}, context.Cause(ctx)
		case !passing(err):
			return ArtifactInfo{}, err
		}
		if delay == 0 {
			delay = c.opts.BackoffMin
			away(err)
		}
		if err := pause(ctx, rand.N(delay)); err != nil {
			return ArtifactInfo{}, err
		}
		delay = min(2*delay, c.opts.BackoffMax)
	}
}

// OpenArtifact reads an artifact from a byte on. The reader goes on over cuts, for as long as ctx lasts; away is
// called once for each time that nothing could be read, with the reason. It never gives bytes of another
// artifact, and no byte twice. The reader is for one goroutine, and the caller closes it. Errors to branch on
// of its Read: those of StatArtifact but wire.ErrUnreachable, ErrChanged, and the cause of ctx.
func (c *Client) OpenArtifact(ctx context.Context, f ArtifactInfo, from int64, away func(error)) io.ReadCloser {
	d := &artifactReader{file: f, at: from, timeout: c.opts.StallTimeout, least: c.opts.BackoffMin, most: c.opts.BackoffMax, away: away}
	d.open = func(from int64) (*rest, error) { return c.rest(ctx, f, from) }
	d.pause = func(t time.Duration) error { return pause(ctx, t) }
	return d
}

// An artifactReader reads an artifact over as many requests as it takes.
type artifactReader struct {
	file  ArtifactInfo
	at    int64
	rest  *rest         // nil while there is no answer
	delay time.Duration // of which a random part is waited next; 0: the gateway is there

	timeout     time.Duration
	least, most time.Duration
	away        func(error)
	open        func(from int64) (*rest, error)
	pause       func(time.Duration) error
}

// The rest of an artifact is the answer to one request.
type rest struct {
	body io.ReadCloser
	end  func()            // ends the request
	why  func(error) error // says why the body could not be read
}

// Read implements io.Reader.
func (d *artifactReader) Read(p []byte) (int, error) {
	for d.at < d.file.Size {
		n, err := d.read(p[:min(int64(len(p)), d.file.Size-d.at)])
		if n > 0 || len(p) == 0 {
			d.at, d.delay = d.at+int64(n), 0
			return n, nil // an error comes again with the next request
		}
		if err == nil {
			continue
		}
		if !passing(err) {
			return 0, fmt.Errorf("artifact %s: %w", d.file.ID, err)
		}
		if d.delay == 0 {
			d.delay = d.least
			d.away(err)
		}
		if err := d.pause(rand.N(d.delay)); err != nil {
			return 0, err
		}
		d.delay = min(2*d.delay, d.most)
	}
	return 0, io.EOF
}

// read reads of the answer that there is, or of a new one.
func (d *artifactReader) read(p []byte) (int, error) {
	if d.rest == nil {
		var err error
		if d.rest, err = d.open(d.at); err != nil {
			return 0, err
		}
	}
	stall := time.AfterFunc(d.timeout, d.rest.end)
	n, err := d.rest.body.Read(p)
	stall.Stop()
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // or there is nothing left to read
	}
	return n, errors.Join(d.rest.why(err), d.Close())
}

// Close implements io.Closer.
func (d *artifactReader) Close() error {
	if d.rest == nil {
		return nil
	}
	r := d.rest
	d.rest = nil
	r.end()
	return r.body.Close()
}

// rest asks for an artifact's bytes from one on.
func (c *Client) rest(ctx context.Context, f ArtifactInfo, from int64) (*rest, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(c.opts.RequestTimeout, func() { cancel(errTook) })
	answer, err := c.artifact(ctx, f.ID, "bytes="+strconv.FormatInt(from, 10)+"-", f.SHA256)
	late.Stop()
	if err == nil {
		at, size := rangeOf(answer)
		switch {
		case tagOf(answer) != f.SHA256:
			err = ErrChanged
		case answer.StatusCode == http.StatusOK && from == 0 && answer.ContentLength == f.Size:
		case answer.StatusCode != http.StatusPartialContent || at != from || size != f.Size:
			err = fmt.Errorf("%w: other bytes than were asked for", ErrProtocol)
		}
		if err != nil {
			err = errors.Join(err, answer.Body.Close())
		}
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return &rest{
		body: answer.Body, end: func() { cancel(errTook) },
		why: func(err error) error { return c.unreachable(ctx, err) },
	}, nil
}

// artifact asks for a range of an artifact, if it is still the one with the sum; "" for any.
func (c *Client) artifact(ctx context.Context, id, bytes, sum string) (*http.Response, error) {
	r, err := c.request(ctx, http.MethodGet, c.ArtifactURL(id), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Range", bytes)
	r.Header.Set("Accept-Encoding", "identity") // ranges are of the bytes themselves
	if sum != "" {
		r.Header.Set("If-Range", `"`+sum+`"`)
	}
	return c.send(r)
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// tagOf is the sum in an answer's strong ETag, or "".
func tagOf(answer *http.Response) string {
	tag := answer.Header.Get("ETag")
	if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		return ""
	}
	return tag[1 : len(tag)-1]
}

// rangeOf is the first byte of an answer's range and the size of the whole; -1 for what is not there.
func rangeOf(answer *http.Response) (from, size int64) {
	text, ok := strings.CutPrefix(answer.Header.Get("Content-Range"), "bytes ")
	span, whole, _ := strings.Cut(text, "/")
	first, _, _ := strings.Cut(span, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	if err != nil || !ok {
		from = -1
	}
	if size, err = strconv.ParseInt(whole, 10, 64); err != nil || !ok {
		size = -1
	}
	return from, size
}
