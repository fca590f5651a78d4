package analysis

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// job stands in for a worker's run: it keeps what a run would commit.
type job struct {
	t         *testing.T
	every     int                  // a checkpoint is due at each so many asked
	stopAfter int                  // checkpoints until stop is called
	stop      func()               // ends the attempt, as a kill or a drain would
	asked     int                  // of CheckpointDue
	saved     []byte               // the last checkpoint
	calls     []string             // stages and unit, in order
	progress  map[string][][]int64 // by stage
	messages  []string
	result    []byte
	count     int // checkpoints
	files     map[string][]byte
}

func (j *job) WriteFile(_ context.Context, name string, data []byte) error {
	if j.files == nil {
		j.files = map[string][]byte{}
	}
	j.files[name] = data
	return nil
}

func (j *job) Topic() wire.Topic { return "user:42" }

func (j *job) Stage(name string)   { j.calls = append(j.calls, "stage "+name) }
func (j *job) Unit(unit string)    { j.calls = append(j.calls, "unit "+unit) }
func (j *job) Message(text string) { j.messages = append(j.messages, text) }

func (j *job) Progress(done, total int64) {
	stage := ""
	for _, c := range j.calls {
		if s, ok := strings.CutPrefix(c, "stage "); ok {
			stage = s
		}
	}
	if j.progress == nil {
		j.progress = make(map[string][][]int64)
	}
	j.progress[stage] = append(j.progress[stage], []int64{done, total})
}

func (j *job) CheckpointDue() bool {
	j.asked++
	return j.every > 0 && j.asked%j.every == 0
}

func (j *job) Checkpoint(state any) error {
	b, err := state.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return err
	}
	j.saved = b
	j.count++
	if j.count == j.stopAfter {
		j.stop()
	}
	return nil
}

func (j *job) Resume(state any) (bool, error) {
	if j.saved == nil {
		return false, nil
	}
	return true, state.(encoding.BinaryUnmarshaler).UnmarshalBinary(j.saved)
}

func (j *job) Result(v any) error {
	b, err := json.Marshal(v)
	j.result = b
	return err
}

func put(t *testing.T, bucket *blob.Bucket, key string, data []byte) Payload {
	t.Helper()
	if err := bucket.WriteAll(t.Context(), key, data, nil); err != nil {
		t.Fatal(err)
	}
	return Payload{Blob: key, Name: "orders.csv", Size: int64(len(data)), SHA256: "00"}
}

func buckets(t *testing.T) map[string]*blob.Bucket {
	t.Helper()
	files, err := fileblob.OpenBucket(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*blob.Bucket{"memory": memblob.OpenBucket(nil), "files": files}
	t.Cleanup(func() {
		for _, b := range all {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return all
}

func TestRunWritesTheProfileAndSummarizesIt(t *testing.T) {
	for name, bucket := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			data := orders(300 << 10)
			p := put(t, bucket, "uploads/o", data)
			j := &job{t: t}
			if err := Run(t.Context(), j, "0701JD", bucket, p, Options{}); err != nil {
				t.Fatal(err)
			}
			want, err := analyze(t, string(data), Payload{}).encode()
			if err != nil {
				t.Fatal(err)
			}
			got := j.files["profile.json"]
			if !bytes.Equal(got, want) {
				t.Fatalf("the profile differs:\n%s", got)
			}
			var s Summary
			if err := json.Unmarshal(j.result, &s); err != nil {
				t.Fatal(err)
			}
			if s.Rows != int64(bytes.Count(data, []byte("\n"))-1) || len(s.Columns) != 10 || s.Columns[3].Distinct != 8 ||
				s.Profile != (Artifact{ID: "0701JD.profile.json", Size: int64(len(got))}) ||
				s.Report != (Artifact{ID: "0701JD.report.html", Size: int64(len(j.files[ReportName]))}) {
				t.Errorf("summary %+v", s)
			}
			if !slices.Equal(j.calls, []string{"stage read", "unit bytes", "stage write"}) {
				t.Errorf("calls %q", j.calls)
			}
			read := j.progress[StageRead]
			if len(read) < 4 || !slices.IsSortedFunc(read, func(a, b []int64) int { return int(a[0] - b[0]) }) ||
				!slices.Equal(read[len(read)-1], []int64{p.Size, p.Size}) {
				t.Errorf("progress %v", read)
			}
		})
	}
}

func TestRunGoesOnFromItsCheckpointAfterEachStop(t *testing.T) {
	for name, bucket := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			p := put(t, bucket, "o", orders(2<<20))
			undisturbed := &job{t: t}
			if err := Run(t.Context(), undisturbed, "undisturbed", bucket, p, Options{}); err != nil {
				t.Fatal(err)
			}
			killed := errors.New("killed")
			j := &job{t: t, every: 3, stopAfter: 2}
			attempts, from := 0, int64(-1)
			for {
				attempts++
				ctx, cancel := context.WithCancelCause(t.Context())
				j.stop, j.count, j.calls, j.progress = func() { cancel(killed) }, 0, nil, nil
				err := Run(ctx, j, "stopped", bucket, p, Options{})
				cancel(nil)
				if first := j.progress[StageRead][0][0]; first <= from {
					t.Fatalf("attempt %d began at byte %d, the one before at %d", attempts, first, from)
				} else {
					from = first
				}
				if err == nil {
					break
				}
				if !errors.Is(err, killed) {
					t.Fatal(err)
				}
			}
			if attempts < 4 {
				t.Fatalf("took %d attempts, so nothing was interrupted", attempts)
			}
			for name, want := range undisturbed.files {
				if len(want) == 0 || !bytes.Equal(j.files[name], want) {
					t.Fatalf("after %d attempts %s differs", attempts, name)
				}
			}
		})
	}
}

func TestRunResumesAtTheVeryEnd(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { checkClose(t, bucket) })
	data := orders(100 << 10)
	p := put(t, bucket, "o", data)
	st := &State{file: fingerprint(p)}
	if err := st.read(t.Context(), bytes.NewReader(data), p, packed.None, mustOptions(t), nil); err != nil {
		t.Fatal(err)
	}
	saved, err := st.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	j := &job{t: t, saved: saved}
	if err := Run(t.Context(), j, "j", bucket, p, Options{}); err != nil {
		t.Fatal(err)
	}
	if got := j.progress[StageRead][0][0]; got != p.Size {
		t.Errorf("began at %d of %d", got, p.Size)
	}
}

func TestCheckpointOfAnotherFileIsNotUsed(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { checkClose(t, bucket) })
	j := &job{t: t, every: 1}
	if err := Run(t.Context(), j, "a", bucket, put(t, bucket, "a", orders(300<<10)), Options{}); err != nil {
		t.Fatal(err)
	}
	other := put(t, bucket, "b", wideCSV(3, 9000))
	next := &job{t: t, saved: j.saved}
	if err := Run(t.Context(), next, "b", bucket, other, Options{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(next.messages[0], "from the start") || !bytes.Contains(next.result, []byte(`"rows":9000`)) {
		t.Errorf("messages %q, result %s", next.messages, next.result)
	}
}

func TestRunErrors(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { checkClose(t, bucket) })
	good := put(t, bucket, "o", orders(1<<10))
	wrongSize := good
	wrongSize.Size++
	tests := []struct {
		name    string
		id      string
		payload Payload
		want    string
	}{
		{"missing blob", "j", Payload{Blob: "gone"}, "no longer there"},
		{"no blob", "j", Payload{}, "neither a blob nor a dataset"},
		{"job ID that leaves its folder", "../j", good, "one path segment"},
		{"size", "j", wrongSize, "Upload it again"},
		{"binary", "j", put(t, bucket, "bin", []byte("PK\x03\x04\x00")), "zip archive"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			permanent := errors.New("permanent")
			opts := Options{Permanent: func(err error) error { return fmt.Errorf("%w: %w", permanent, err) }}
			err := Run(t.Context(), &job{t: t}, tt.id, bucket, tt.payload, opts)
			if !errors.Is(err, ErrInput) || !errors.Is(err, permanent) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want a permanent ErrInput that says %q", err, tt.want)
			}
		})
	}
	t.Run("checkpoint that is damaged", func(t *testing.T) {
		err := Run(t.Context(), &job{t: t, saved: []byte{stateVersion, 1}}, "j", bucket, good, Options{})
		if !errors.Is(err, errDamaged) || errors.Is(err, ErrInput) {
			t.Errorf("error %v", err)
		}
	})
}

// After an update of the program, a job whose checkpoint is of the version before reads its file anew.
func TestCheckpointOfAnotherVersionIsNotUsed(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { checkClose(t, bucket) })
	p := put(t, bucket, "o", orders(30<<10))
	fresh, updated := &job{t: t}, &job{t: t, saved: []byte{stateVersion - 1, 1, 2, 3}}
	for _, j := range []*job{fresh, updated} {
		if err := Run(t.Context(), j, "j", bucket, p, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(fresh.files[ProfileName], updated.files[ProfileName]) || !strings.Contains(updated.messages[0], "of another version") {
		t.Errorf("messages %q, %d and %d bytes", updated.messages, len(fresh.files[ProfileName]), len(updated.files[ProfileName]))
	}
}

// What the store does not take as a name it will take never: the job fails at once, and its
// error, which goes into records and logs, does not have the name.
func TestNamesThatNoStoreTakes(t *testing.T) {
	const secret = "canary"
	long := strings.Repeat(secret, 1<<10)
	for store, bucket := range buckets(t) {
		put(t, bucket, secret, orders(1<<10))
		for name, p := range map[string]Payload{
			"of 6 KiB":              {Blob: long},
			"of one segment of 600": {Blob: "uploads/" + long[:600]},
			"below a file":          {Blob: secret + "/orders.csv"},
			"a folder":              {Blob: "."},
			"the store's own":       {Blob: secret + ".attrs"},
			"with a NUL":            {Blob: secret + "\x00"},
			"not UTF-8":             {Blob: secret + "\xff"},
			"that is not there":     {Blob: secret + ".csv"},
			"of another format":     {Blob: secret, Format: long},
			"delimiter":             {Blob: secret, Delimiter: long},
			"of no file":            {Blob: secret, Name: long, Size: 7},
		} {
			j := &job{t: t}
			err := Run(t.Context(), j, "j", bucket, p, Options{})
			if !errors.Is(err, ErrInput) || len(err.Error()) > 1<<10 || strings.Contains(err.Error(), secret) {
				t.Errorf("%s, a name %s: %.300v, want a short ErrInput without the name", store, name, err)
			}
			if strings.Contains(fmt.Sprint(j.messages), secret) {
				t.Errorf("%s, a name %s: messages %.300q", store, name, j.messages)
			}
		}
	}
}

// failing is a blob that breaks with an error which has its name.
type failing struct{}

func (failing) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: "canary", Err: syscall.EIO}
}

func TestErrorsOfTheStoreHaveNoNames(t *testing.T) {
	_, read := table.Wordless{Reader: failing{}}.Read(make([]byte, 8))
	for _, err := range []error{read, table.Missing(&fs.PathError{Op: "open", Path: "canary", Err: syscall.EIO}), table.Missing(errors.New("canary"))} {
		if err == nil || strings.Contains(err.Error(), "canary") || errors.Is(err, ErrInput) {
			t.Errorf("%v, want an error that may pass, without the name", err)
		}
	}
	if !errors.Is(read, syscall.EIO) {
		t.Errorf("%v has lost its cause", read)
	}
}

func TestSummaryStaysSmall(t *testing.T) {
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("%s%d", strings.Repeat("<&", 60), i))
	}
	p := analyze(t, strings.Join(names, ",")+"\n", Payload{})
	s := summarize(p, Artifact{ID: "artifacts/j/profile.json", Size: 1})
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 16<<10 || len(s.Columns) < 20 || len(s.Columns)+s.MoreColumns != 200 {
		t.Errorf("%d bytes, %d columns and %d more", len(b), len(s.Columns), s.MoreColumns)
	}
}

func checkClose(t *testing.T, c io.Closer) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// A paused or drained run keeps what it has read: its last checkpoint is where it stopped,
// although none was due before.
func TestRunCheckpointsWhereItIsStopped(t *testing.T) {
	bucket := buckets(t)["memory"]
	p := put(t, bucket, "o", orders(2<<20))
	stopped := errors.New("paused")
	ctx, cancel := context.WithCancelCause(t.Context())
	j := &stoppable{job: job{t: t}, ctx: ctx, at: p.Size / 3, cancel: func() { cancel(stopped) }}
	if err := Run(ctx, j, "stopped", bucket, p, Options{}); !errors.Is(err, stopped) {
		t.Fatal(err)
	}
	var kept State
	if found, err := j.Resume(&kept); !found || err != nil {
		t.Fatalf("a checkpoint: %t, %v", found, err)
	}
	if kept.offset < j.at || kept.offset > j.at+3*hookBytes {
		t.Errorf("it is kept at byte %d, and was stopped at %d", kept.offset, j.at)
	}
}

// stoppable is a job that is stopped at an offset, right after it was asked whether a
// checkpoint was due, and whose checkpoints are due from then on.
type stoppable struct {
	job
	ctx    context.Context //nolint:containedctx // the run's, whose end makes a checkpoint due
	at     int64
	done   int64
	cancel func()
}

func (s *stoppable) Progress(done, total int64) {
	s.job.Progress(done, total)
	s.done = done
}

func (s *stoppable) CheckpointDue() bool {
	due := s.ctx.Err() != nil
	if s.done >= s.at {
		s.cancel()
	}
	return due
}
