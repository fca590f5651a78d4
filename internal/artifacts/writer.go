package artifacts

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"
	"time"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/durable"
)

// tailsKept is how long a tail is kept after a commit has named a later one. A failover of Redis may
// take the job back to the earlier checkpoint.
const tailsKept = 10 * time.Second

// ErrFull says that an artifact has MaxParts parts, or the job has MaxArtifacts.
var ErrFull = errors.New("the artifact is full")

var errSealed = errors.New("the artifact is closed")

// A Writer writes an artifact from where the last checkpoint had come. It holds up to PartBytes.
// Its methods may be called concurrently. After an error of the store every call returns that error: only
// another attempt knows what is durable.
type Writer struct {
	at    Place
	by    string
	put   func(file string, data []byte) error
	copy  func(from wire.JobID, file string, size int) error
	drop  func(file string)
	grace time.Duration // tailsKept

	mu    sync.Mutex
	state State  // without its hash
	own   int    // the place in state.Spans of this attempt's; -1 while there is none
	tails int    // written by this attempt
	buf   []byte // what follows the last part
	fresh bool   // buf has what state.Tail has not
	hash  hash.Hash
	old   []oldTail
	err   error
}

// An oldTail was replaced; since is zero until the commit that replaces it.
type oldTail struct {
	file  string
	since time.Time
}

// NewWriter opens an artifact for the attempt by, "<number>.<token>". from is its state at the last
// checkpoint, nil for none. ctx is for the whole life of the Writer.
func NewWriter(ctx context.Context, bucket *blob.Bucket, at Place, by string, from *State) (*Writer, error) {
	w := &Writer{at: at, by: by, own: -1, hash: sha256.New(), state: State{Name: at.Name}, grace: tailsKept}
	named := false
	w.put = func(file string, data []byte) error {
		if !named {
			if err := durable.Put(ctx, bucket, blobs.Owner(at.Job), octets, []byte(at.Topic)); err != nil {
				return durable.Bare(err)
			}
			named = true
		}
		return durable.Bare(durable.Put(ctx, bucket, at.key(file), octets, data))
	}
	w.copy = func(from wire.JobID, file string, size int) error {
		return durable.Bare(copyPart(ctx, bucket, Place{at.Topic, from, at.Name}.key(file), at.key(file), size))
	}
	w.drop = func(file string) { _ = bucket.Delete(ctx, at.key(file)) } // it goes with its job otherwise
	if from == nil {
		return w, nil
	}
	w.state.Spans, w.state.Tail, w.state.Size = slices.Clone(from.Spans), from.Tail, from.Size
	if err := w.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(from.Hash); err != nil {
		return nil, fmt.Errorf("the checkpoint's hash: %w", err)
	}
	if t := from.Tail; t != nil {
		data, err := bucket.ReadAll(ctx, Place{at.Topic, t.Job, at.Name}.key(t.file()))
		if err != nil {
			return nil, fmt.Errorf("read what the last checkpoint has of it: %w", durable.Bare(err))
		}
		if len(data) != t.Size {
			return nil, fmt.Errorf("the last checkpoint has %d bytes behind its parts, and the blob store %d", t.Size, len(data))
		}
		w.buf = data
	}
	return w, nil
}

const octets = "application/octet-stream"

// copyPart gives this job a part of another's, unless it is there.
func copyPart(ctx context.Context, bucket *blob.Bucket, from, to string, size int) error {
	if a, err := bucket.Attributes(ctx, to); err == nil && a.Size == int64(size) {
		return nil
	}
	if linked, err := durable.Link(ctx, bucket, to, from); linked || err != nil {
		return err
	}
	r, err := bucket.NewReader(ctx, from, nil)
	if err != nil {
		return err
	}
	err = durable.Write(ctx, bucket, to, octets, int64(size), func(w io.Writer) error {
		n, err := io.Copy(w, r)
		if err == nil && n != int64(size) {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
	return errors.Join(err, r.Close())
}

// Write takes all of p, or returns an error.
func (w *Writer) Write(p []byte) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(p) > 0 && w.err == nil {
		some := p[:min(len(p), PartBytes-len(w.buf))]
		w.buf = append(w.buf, some...)
		w.hash.Write(some)
		w.state.Size += int64(len(some))
		w.fresh = true
		n, p = n+len(some), p[len(some):]
		if len(w.buf) == PartBytes {
			w.cut()
		}
	}
	return n, w.err
}

// Size is the number of bytes so far, those of earlier attempts included.
func (w *Writer) Size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.Size
}

// cut makes a part of what is there. The caller holds the lock.
func (w *Writer) cut() {
	count := 0
	for _, s := range w.state.Spans {
		count += len(s.Sizes)
	}
	if count >= MaxParts {
		w.err = fmt.Errorf("%w: it has %d parts of 1 to 8 MiB, which is the most; write several", ErrFull, MaxParts)
		return
	}
	if w.own < 0 {
		w.own = len(w.state.Spans)
		w.state.Spans = append(w.state.Spans, Span{Job: w.at.Job, By: w.by})
	}
	own := &w.state.Spans[w.own]
	if w.err = w.put(partFile(w.by, len(own.Sizes)), w.buf); w.err != nil {
		return
	}
	own.Sizes = append(own.Sizes, len(w.buf))
	w.buf, w.fresh = w.buf[:0], false
	w.replace(nil)
}

// replace puts a tail in the place of the one that there is. The caller holds the lock.
func (w *Writer) replace(t *Tail) {
	if was := w.state.Tail; was != nil && was.By == w.by {
		w.old = append(w.old, oldTail{file: was.file()})
	}
	w.state.Tail = t
}

// Keep makes everything written durable and returns the state to commit.
func (w *Writer) Keep() (State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.buf) >= leastPartBytes && w.err == nil {
		w.cut()
	}
	if w.fresh && w.err == nil {
		t := &Tail{Job: w.at.Job, By: w.by, Index: w.tails, Size: len(w.buf)}
		if w.err = w.put(t.file(), w.buf); w.err == nil {
			w.tails++
			w.fresh = false
			w.replace(t)
		}
	}
	if w.err != nil {
		return State{}, w.err
	}
	kept := w.state
	kept.Spans = slices.Clone(w.state.Spans)
	var err error
	kept.Hash, err = w.hash.(encoding.BinaryMarshaler).MarshalBinary()
	return kept, err
}

// Kept says that what Keep returned last is committed. It deletes tails that no checkpoint needs.
func (w *Writer) Kept() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.old = slices.DeleteFunc(w.old, func(t oldTail) bool {
		if t.since.IsZero() || now.Sub(t.since) < w.grace {
			return false
		}
		w.drop(t.file)
		return true
	})
	for i := range w.old {
		if w.old[i].since.IsZero() {
			w.old[i].since = now
		}
	}
}

// Seal ends the artifact: it makes all of it durable, under its own job, and writes the manifest of this
// attempt, which a commit is to name. The Writer takes nothing more.
func (w *Writer) Seal(mediaType string, now, expires time.Time) (*Manifest, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.buf) > 0 && w.err == nil {
		w.cut()
	}
	m := &Manifest{
		Artifact: wire.Artifact{
			ID: blobs.ArtifactID(w.at.Job, w.at.Name), Name: w.at.Name, Size: w.state.Size, Type: mediaType,
			SHA256: hex.EncodeToString(w.hash.Sum(nil)),
		},
		Topic: w.at.Topic, Job: w.at.Job, Spans: slices.Clone(w.state.Spans), ClosedAt: now.UTC(),
	}
	if !expires.IsZero() {
		expires = expires.UTC().Truncate(time.Millisecond)
		m.ExpiresAt = &expires
	}
	if w.err == nil {
		w.err = w.adopt(m)
	}
	if w.err != nil {
		return nil, w.err
	}
	w.err = errSealed
	return m, nil
}

// adopt brings the parts of other jobs under the artifact's own, which may outlive them, and writes the
// attempt's manifest.
func (w *Writer) adopt(m *Manifest) error {
	for i, s := range m.Spans {
		if s.Job == m.Job {
			continue
		}
		for k, size := range s.Sizes {
			if err := w.copy(s.Job, partFile(s.By, k), size); err != nil {
				return err
			}
		}
		m.Spans[i].Job = m.Job
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return w.put(w.by+manifestSuffix, text)
}

// Reseal is Seal for an artifact that a job had closed of which this one is the retry: it makes a manifest
// of that one's parts.
func (w *Writer) Reseal(from State) (*Manifest, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &Manifest{Artifact: *from.Closed, Topic: w.at.Topic, Job: w.at.Job, Spans: slices.Clone(from.Spans), ClosedAt: time.Now().UTC()}
	m.ID = blobs.ArtifactID(w.at.Job, w.at.Name)
	if err := w.adopt(m); err != nil {
		return nil, err
	}
	w.err = errSealed
	return m, nil
}
