package multipart

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/tidemark-dev/tidemark/internal/storefault"
)

// Errors to branch on. One about a state that is not there wraps fs.ErrNotExist; all others are the
// store's, without its text.
var (
	// ErrLost: another process holds the state, or has ended it.
	ErrLost = errors.New("another process has taken over")
	// ErrBusy: other writers have all memory. What has come is kept.
	ErrBusy = errors.New("too many bytes arrive at once")
	// ErrParts: the object's writers were lost so often that its part numbers are used up.
	ErrParts = errors.New("the part numbers are used up")
	// ErrVanished: the store has lost the parts, and the object begins anew.
	ErrVanished = errors.New("the store has dropped the parts")
	// ErrUnconditional: the store makes conditional writes whatever the condition.
	ErrUnconditional = errors.New("the store has no conditional writes")
)

const (
	minPartBytes = 8 << 20
	maxPartBytes = 64 << 20
	maxParts     = 10_000 // S3's bound
	// maxStateBytes is more than a state with all its parts has.
	maxStateBytes = 2 << 20
	// readings bounds how often an object is read whose answer is cut.
	readings = 3
	// plannedParts is how many parts an object has, the rest being for numbers that are left out.
	plannedParts = 9_000
	// MaxBytes is the largest object: 562.5 GiB.
	MaxBytes = plannedParts * maxPartBytes
)

// partBytes is the size of an object's parts.
func partBytes(size int64) int64 {
	const mib = 1 << 20
	return max(minPartBytes, ((size+plannedParts-1)/plannedParts+mib-1)/mib*mib)
}

// A State says what is durable of an object. Callers do not change it.
type State struct {
	Ticket json.RawMessage `json:"ticket"` // the caller's
	Target string          `json:"target"` // the object's key
	Size   int64           `json:"size"`   // bytes of the whole
	Offset int64           `json:"offset"` // bytes that are durable
	At     time.Time       `json:"at"`     // when they became so

	PartBytes int64  `json:"part_bytes"`
	Upload    string `json:"upload,omitempty"` // S3's ID
	Parts     []Part `json:"parts,omitempty"`
	Next      int32  `json:"next"` // the number of the next part
	Tail      *Tail  `json:"tail,omitempty"`
	// Base is the tail that the holder began with, which it may go back to.
	Base *Tail `json:"base,omitempty"`

	Fence  int64     `json:"fence"`
	Held   bool      `json:"held"`
	Asked  time.Time `json:"asked,omitzero"` // when another process asked for it
	Writer string    `json:"writer"`         // random with each change, but for those of Asked

	name, etag string
}

// A Part is one that counts.
type Part struct {
	Number int32  `json:"n"`
	ETag   string `json:"etag"`
}

// A Tail is an object of bytes that are no part yet.
type Tail struct {
	Key   string `json:"key"`
	Bytes int64  `json:"bytes"`
}

// A Store has the objects of a bucket that are not whole yet. Its methods may be called concurrently.
type Store struct {
	client   *s3.Client
	bucket   string
	dir      string
	log      *slog.Logger
	memory   memory
	patience time.Duration
}

// New makes a Store that keeps its states below dir.
func New(client *s3.Client, bucket, dir string, log *slog.Logger) *Store {
	return &Store{client: client, bucket: bucket, dir: dir, log: log, memory: newMemory(memoryBytes), patience: patience}
}

// Conditional checks that the store's conditional writes are conditional. Its error wraps
// ErrUnconditional, or is the store's.
func (s *Store) Conditional(ctx context.Context) error {
	key := "probes/" + rand.Text()
	defer func() { _ = s.remove(ctx, key) }() // or it stays, and harms nobody
	etag, err := s.put(ctx, key, []byte("1"), "")
	if err != nil {
		if code := codeOf(err); code == "NotImplemented" || code == "InvalidArgument" {
			return fmt.Errorf("%w: %w", ErrUnconditional, err)
		}
		return err
	}
	for condition, wrong := range map[string]string{"If-None-Match": "", "If-Match": `"00000000000000000000000000000000"`} {
		if _, err := s.put(ctx, key, []byte("2"), wrong); err == nil {
			return fmt.Errorf("%w: %s has no effect", ErrUnconditional, condition)
		} else if !conflict(err) {
			return err
		}
	}
	if _, err := s.put(ctx, key, []byte("3"), etag); conflict(err) {
		return fmt.Errorf("%w: If-Match refuses what matches", ErrUnconditional)
	} else if err != nil {
		return err
	}
	return nil
}

func (s *Store) key(name string) string { return s.dir + "/open/" + name + ".json" }

// Create makes a state of an object of size bytes, at most MaxBytes. The error wraps fs.ErrExist if
// there is one.
func (s *Store) Create(ctx context.Context, name, target string, size int64, ticket []byte) error {
	st := &State{Ticket: ticket, Target: target, Size: size, At: time.Now().UTC(), PartBytes: partBytes(size), Next: 1, name: name}
	_, err := s.swap(ctx, st)
	if errors.Is(err, ErrLost) {
		return fmt.Errorf("create the state of %s: %w", name, fs.ErrExist)
	}
	return err
}

// Read reads a state.
func (s *Store) Read(ctx context.Context, name string) (*State, error) {
	text, etag, err := s.get(ctx, s.key(name), "")
	if err != nil {
		return nil, err
	}
	st := &State{name: name, etag: etag}
	if err := json.Unmarshal(text, st); err != nil {
		return nil, fmt.Errorf("the state of %s is malformed", name)
	}
	return st, nil
}

// Remove deletes a state, and its tail, but not the object. There need be none.
func (s *Store) Remove(ctx context.Context, st *State) error {
	if err := s.remove(ctx, s.key(st.name)); err != nil {
		return err
	}
	return s.removeTails(ctx, st)
}

// Discard deletes the bytes of an object, whole or not. The state stays.
func (s *Store) Discard(ctx context.Context, st *State) error {
	if st.Upload != "" {
		if err := s.abort(ctx, st.Target, st.Upload); err != nil {
			return err
		}
	}
	return errors.Join(s.removeTails(ctx, st), s.remove(ctx, st.Target))
}

func (s *Store) removeTails(ctx context.Context, st *State) error {
	var err error
	for _, t := range []*Tail{st.Tail, st.Base} {
		if t != nil {
			err = errors.Join(err, s.remove(ctx, t.Key))
		}
	}
	return err
}

func (s *Store) abort(ctx context.Context, target, upload string) error {
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: &target, UploadId: &upload})
	if codeOf(err) == noSuchUpload {
		return nil
	}
	return said("abort a multipart upload", err)
}

// swap writes a state if it is as it was read; one without an ETag, if there is none. It returns
// the state as written, also when an earlier answer of the store was lost. Its error wraps ErrLost if another one was first.
func (s *Store) swap(ctx context.Context, next *State) (*State, error) {
	next.Writer = rand.Text()
	text, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	etag, err := s.put(ctx, s.key(next.name), text, next.etag)
	if err == nil {
		next.etag = etag
		return next, nil
	}
	if !conflict(err) {
		return nil, err
	}
	now, err := s.Read(ctx, next.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	case err != nil:
		return nil, err
	case now.Writer != next.Writer:
		return now, ErrLost
	}
	return now, nil
}

// put writes a small object if it has the ETag; "": if there is none.
func (s *Store) put(ctx context.Context, key string, text []byte, etag string) (string, error) {
	in := &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: bytes.NewReader(text)}
	if etag == "" {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = &etag
	}
	out, err := s.client.PutObject(ctx, in)
	if err != nil {
		return "", said("write a state", err)
	}
	return aws.ToString(out.ETag), nil
}

// get reads a small object, unless it has the ETag.
func (s *Store) get(ctx context.Context, key, unless string) (text []byte, etag string, err error) {
	etag, err = s.read(ctx, key, unless, func(r io.Reader) (err error) {
		text, err = io.ReadAll(io.LimitReader(r, maxStateBytes))
		return err
	})
	return text, etag, err
}

// read gives an object to a function, again from its beginning when the answer was cut: the SDK repeats
// requests alone.
func (s *Store) read(ctx context.Context, key, unless string, to func(io.Reader) error) (etag string, err error) {
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: &key}
	if unless != "" {
		in.IfNoneMatch = &unless
	}
	for try := 1; ; try++ {
		out, err := s.client.GetObject(ctx, in)
		if err != nil {
			return "", said("read", err)
		}
		err = errors.Join(to(out.Body), out.Body.Close())
		if err == nil {
			return aws.ToString(out.ETag), nil
		}
		if try == readings || errors.Is(err, ErrBusy) || ctx.Err() != nil {
			return "", said("read", err)
		}
	}
}

// remove deletes an object; there need be none.
func (s *Store) remove(ctx context.Context, key string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &key})
	if err = said("delete", err); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

const noSuchUpload = "NoSuchUpload"

func codeOf(err error) string {
	api := smithy.APIError(nil)
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// conflict reports whether a condition was not met.
func conflict(err error) bool {
	code := codeOf(err)
	return code == "PreconditionFailed" || code == "ConditionalRequestConflict" || errors.Is(err, fs.ErrNotExist)
}

// said words an error of the store.
func said(doing string, err error) error {
	switch code := codeOf(err); {
	case err == nil:
		return nil
	case code == "NoSuchKey", code == "NotFound":
		return fmt.Errorf("%s: %w", doing, errors.Join(fs.ErrNotExist, storefault.Of(err)))
	}
	return fmt.Errorf("%s: %w", doing, storefault.Of(err))
}

// tailKey is a new name for a tail.
func (s *Store) tailKey(st *State) string {
	return fmt.Sprintf("%s/tails/%s/%d-%s", s.dir, st.name, st.Fence, strings.ToLower(rand.Text()))
}
