package worker

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gocloud.dev/blob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/internal/artifacts"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// ErrArtifactFull says that an artifact has as many parts as it may have, or the job as many artifacts.
var ErrArtifactFull = artifacts.ErrFull

// ArtifactOptions say what kind of file an artifact is. The zero value works.
type ArtifactOptions struct {
	// Type is the media type, such as "text/csv", at most 70 bytes. Defaults to that of the name's
	// extension, and to application/octet-stream.
	Type string
	// Expires is how long after Close the file may be deleted, 1 minute to 10 years. Defaults to no
	// expiry.
	Expires time.Duration
	// FromStart drops what earlier attempts have written. A handler that begins anew although there
	// is a checkpoint sets it.
	FromStart bool
}

func (o ArtifactOptions) validate() error {
	if o.Expires != 0 {
		if err := option.Within("Expires", o.Expires, time.Minute, 10*365*24*time.Hour); err != nil {
			return err
		}
	}
	if _, _, err := mime.ParseMediaType(o.Type); err != nil || len(strconv.Quote(o.Type)) > engine.MaxArtifactTypeBytes+2 || strings.ContainsAny(o.Type, "{}<>&") {
		return fmt.Errorf("%w Type %.80q: want a media type of at most %d bytes, such as text/csv", engine.ErrInvalid, o.Type, engine.MaxArtifactTypeBytes)
	}
	return nil
}

// An ArtifactWriter writes an artifact of a run. It holds up to 8 MiB of it. Its methods may be called
// concurrently. Errors to branch on, of all of them: ErrSuperseded and ErrArtifactFull.
type ArtifactWriter struct {
	run     *Run
	name    string
	options ArtifactOptions
	w       *artifacts.Writer

	// kept says that an earlier attempt has closed the artifact: what is written is dropped, and counted
	// in size.
	kept bool
	size atomic.Int64

	mu   sync.Mutex
	done bool
}

// Artifact opens a file that the job writes: name is [A-Za-z0-9_-][A-Za-z0-9._-]{0,127}, and a job has at
// most 16. Nobody sees it before Close has returned nil. From then on it is in the job's view with its size
// and SHA-256, a gateway serves it, and its bytes never change.
//
// The file survives its worker. Checkpoint makes what was written durable and commits it with the
// handler's state, so the next attempt finds the file as it was at the last checkpoint: it resumes its
// state, opens the artifact, and goes on at Size. A retry of the job does, too. Bytes after the
// checkpoint are gone, whichever attempt wrote them. Of a handler that writes the same bytes from the same state, the
// file has the same bytes however often its worker dies.
//
// An attempt may be lost between Close and the job's end. The next one opens the artifact again and writes
// the rest again; what it writes is dropped, and Close returns nil. Artifacts tells which are closed.
//
// A file has at most 10,000 parts of 1 to 8 MiB: at least 10 GB, and 80 GB if it is written at once.
//
// ctx bounds the opening alone: like Checkpoint, an artifact can be written until the grace period ends.
// Errors to branch on: engine.ErrInvalid, also where the worker has no Options.Blobs, ErrArtifactFull for a
// job that has its 16, and ErrSuperseded.
func (r *Run) Artifact(ctx context.Context, name string, o ArtifactOptions) (*ArtifactWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("artifact %s of job %s: %w", name, r.job, context.Cause(ctx))
	}
	option.Default(&o.Type, artifacts.TypeOf(name))
	w, err := r.files.writer(ctx, name, o)
	if err != nil {
		return nil, fmt.Errorf("artifact %.128q of job %s: %w", name, r.job, err)
	}
	return w, nil
}

// Artifacts returns the artifacts that the job has closed, in this attempt or in earlier ones.
func (r *Run) Artifacts() []engine.Artifact {
	r.files.mu.Lock()
	defer r.files.mu.Unlock()
	return slices.Clone(r.files.closed)
}

// Name returns the artifact's name.
func (w *ArtifactWriter) Name() string { return w.name }

// Size returns how many bytes the artifact has so far: of a new ArtifactWriter, those that the last
// checkpoint has. The next Write goes there.
func (w *ArtifactWriter) Size() int64 {
	if w.kept {
		return w.size.Load()
	}
	return w.w.Size()
}

// Write takes all of p or returns an error. Most calls copy; one in 8 MiB waits for the blob store. After
// an error of the store only another attempt can go on, so the handler returns it.
func (w *ArtifactWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var n int
	var err error
	switch {
	case w.done:
		err = errArtifactClosed
	case w.kept:
		n = len(p)
		w.size.Add(int64(n))
	default:
		n, err = w.w.Write(p)
	}
	if err != nil {
		return n, w.failed("write", err)
	}
	return n, nil
}

// Close ends the artifact and makes it visible: it returns nil once that is committed. It is not for
// cleaning up, and does not belong into a defer: an artifact that is not closed stays invisible, and the
// next attempt goes on with it. Calling it again does nothing.
func (w *ArtifactWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return nil
	}
	if !w.kept {
		if err := w.run.files.seal(w); err != nil {
			return w.failed("close", err)
		}
	}
	w.done = true
	return nil
}

var (
	errArtifactClosed = errors.New("it is closed")
	errNoBlobs        = fmt.Errorf("%w Blobs: the worker has no blob store; give it one with Options.Blobs", engine.ErrInvalid)
)

func (w *ArtifactWriter) failed(what string, err error) error {
	return fmt.Errorf("%s artifact %s of job %s: %w", what, w.name, w.run.job, err)
}

// files are the artifacts of a run. blobs and run are fixed once it is open.
type files struct {
	run   *Run
	blobs *blob.Bucket

	// saving is held while a checkpoint or a Close is made, so that the states of all artifacts go
	// together.
	saving sync.Mutex
	mu     sync.Mutex
	// states are those of the last checkpoint, by name, of artifacts that are not open.
	states map[string]artifacts.State
	broken error // why states cannot be read
	opened map[string]*ArtifactWriter
	closed []engine.Artifact
	halts  []context.CancelFunc
	over   bool
}

func (f *files) open(r *Run, bucket *blob.Bucket) {
	f.run, f.blobs = r, bucket
	f.states, f.opened = map[string]artifacts.State{}, map[string]*ArtifactWriter{}
	f.closed = slices.Clone(r.started.Artifacts)
	states, err := artifacts.DecodeStates(r.started.ArtifactState)
	f.broken = err
	for _, s := range states {
		f.states[s.Name] = s
	}
}

// stop ends what the blob store is asked for.
func (f *files) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	for _, halt := range f.halts {
		halt()
	}
	f.halts = nil
}

// scope is a context that ends with the run, and not with the handler's.
func (f *files) scope(ctx context.Context) (context.Context, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return nil, errOver
	}
	ctx, halt := context.WithCancel(context.WithoutCancel(ctx))
	f.halts = append(f.halts, halt)
	return ctx, nil
}

func (f *files) place(name string) artifacts.Place {
	return artifacts.Place{Topic: f.run.topic, Job: f.run.job, Name: name}
}

// by is the attempt in keys of the blob store.
func (f *files) by() string {
	return strconv.Itoa(f.run.fence.Attempt) + "." + f.run.fence.Token
}

// writer opens an artifact.
func (f *files) writer(ctx context.Context, name string, o ArtifactOptions) (*ArtifactWriter, error) {
	switch {
	case f.run == nil || f.run.detached:
		return nil, fmt.Errorf("%w call: there is no job, so nothing can show a file of it", engine.ErrInvalid)
	case f.blobs == nil:
		return nil, errNoBlobs
	case !blobs.ValidArtifactName(name):
		return nil, fmt.Errorf("%w name: want %s", engine.ErrInvalid, blobs.ArtifactNameForm)
	case f.broken != nil:
		return nil, f.broken
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	ctx, err := f.scope(ctx)
	if err != nil {
		return nil, err
	}
	f.saving.Lock()
	defer f.saving.Unlock()
	f.mu.Lock()
	state, had := f.states[name]
	err = f.admit(name)
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	w := &ArtifactWriter{run: f.run, name: name, options: o}
	if o.FromStart {
		state, had = artifacts.State{Name: name}, false
	}
	switch closed := f.find(name); {
	case closed != nil:
		m, err := artifacts.Find(ctx, f.blobs, f.place(name), *closed)
		if err != nil {
			return nil, err
		}
		w.kept = true
		w.size.Store(state.Size)
		state.Name, state.Spans, state.Tail, state.Hash, state.Closed = name, m.Spans, nil, nil, closed
	case had && state.Closed == nil:
		w.w, err = artifacts.NewWriter(ctx, f.blobs, f.place(name), f.by(), &state)
	default:
		w.w, err = artifacts.NewWriter(ctx, f.blobs, f.place(name), f.by(), nil)
	}
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened[name] = w
	if w.kept {
		f.states[name] = state
	}
	return w, nil
}

// find returns an artifact that is closed; nil for none.
func (f *files) find(name string) *engine.Artifact {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.closed {
		if a.Name == name {
			return &a
		}
	}
	return nil
}

// admit refuses a name that is open, and one too many. The caller holds the lock.
func (f *files) admit(name string) error {
	names := map[string]bool{name: true}
	for _, a := range f.closed {
		names[a.Name] = true
	}
	for n := range f.states {
		names[n] = true
	}
	for n := range f.opened {
		names[n] = true
	}
	if f.opened[name] != nil {
		return fmt.Errorf("%w name: this attempt has opened it already", engine.ErrInvalid)
	}
	for n := range names {
		// Some stores of files take the two for one.
		if n != name && strings.EqualFold(n, name) {
			return fmt.Errorf("%w name: the job has %s, which differs only in case", engine.ErrInvalid, n)
		}
	}
	if len(names) > engine.MaxArtifacts {
		return fmt.Errorf("%w: the job has %d, which is the most", ErrArtifactFull, engine.MaxArtifacts)
	}
	return nil
}

// checkpoint makes what was written durable, and has commit commit the states of all artifacts.
func (f *files) checkpoint(commit func(states []byte) error) error {
	f.saving.Lock()
	defer f.saving.Unlock()
	f.mu.Lock()
	states, opened := make(map[string]artifacts.State, len(f.states)), make([]*ArtifactWriter, 0, len(f.opened))
	for name, s := range f.states {
		states[name] = s
	}
	for name, w := range f.opened {
		switch s := states[name]; {
		case w.kept:
			s.Size = w.size.Load()
			states[name] = s
		case s.Closed == nil:
			opened = append(opened, w)
		}
	}
	f.mu.Unlock()
	for _, w := range opened {
		s, err := w.w.Keep()
		if err != nil {
			return w.failed("keep", err)
		}
		states[w.name] = s
	}
	b, err := artifacts.EncodeStates(sorted(states))
	if err == nil && len(b) > engine.MaxCheckpointBytes {
		err = fmt.Errorf("%w state of the artifacts, of %d bytes: at most %d; write fewer at a time", engine.ErrInvalid, len(b), engine.MaxCheckpointBytes)
	}
	if err == nil {
		err = commit(b)
	}
	if err != nil {
		return err
	}
	for _, w := range opened {
		w.w.Kept()
	}
	return nil
}

func sorted(states map[string]artifacts.State) []artifacts.State {
	all := make([]artifacts.State, 0, len(states))
	for _, s := range states {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b artifacts.State) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// seal closes an artifact: durable, then committed, then published.
func (f *files) seal(w *ArtifactWriter) error {
	f.saving.Lock()
	defer f.saving.Unlock()
	now := f.run.jobs.Now()
	var expires time.Time
	if w.options.Expires > 0 {
		expires = now.Add(w.options.Expires)
	}
	m, err := w.w.Seal(w.options.Type, now, expires)
	if err != nil {
		return err
	}
	return f.name(m, m.Size)
}

// name commits an artifact to the job and publishes its manifest. size is where the handler is in it.
func (f *files) name(m *artifacts.Manifest, size int64) error {
	if err := f.run.out.Ask(runtime.Report{Type: engine.JobArtifact, Artifacts: []engine.Artifact{m.Artifact}}); err != nil {
		return err
	}
	f.mu.Lock()
	f.closed = append(f.closed, m.Artifact)
	f.states[m.Name] = artifacts.State{Name: m.Name, Spans: m.Spans, Size: size, Closed: &m.Artifact}
	f.mu.Unlock()
	ctx, err := f.scope(context.Background())
	if err == nil {
		err = artifacts.Publish(ctx, f.blobs, m)
	}
	if err != nil { // the artifact is visible nevertheless: who reads it publishes it
		f.run.logger.Warn("cannot publish the manifest of an artifact; the first reader does", "artifact", m.ID, "error", err)
	}
	return nil
}

// adopt makes what the job of which this one is the retry had closed by the checkpoint this one's own.
func (f *files) adopt(ctx context.Context) error {
	for _, s := range sorted(f.states) {
		if s.Closed == nil || f.find(s.Name) != nil {
			continue
		}
		if err := f.takeOver(ctx, s); err != nil {
			return fmt.Errorf("take over artifact %s of the job that job %s is the retry of: %w", s.Name, f.run.job, err)
		}
	}
	return nil
}

func (f *files) takeOver(ctx context.Context, s artifacts.State) error {
	if f.blobs == nil {
		return errNoBlobs
	}
	ctx, err := f.scope(ctx)
	if err != nil {
		return err
	}
	w, err := artifacts.NewWriter(ctx, f.blobs, f.place(s.Name), f.by(), nil)
	if err != nil {
		return err
	}
	m, err := w.Reseal(s)
	if err != nil {
		return err
	}
	return f.name(m, s.Size)
}
