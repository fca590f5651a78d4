package upload

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset"
	"github.com/tidemark-dev/tidemark/worker/internal/format"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

const jobID = "0701JD8V3QZ4T9M2K6W0X5Y7B1CA"

// job stands in for a worker's run: it keeps what a run would commit, the artifact with it.
type job struct {
	t         *testing.T
	id        wire.JobID
	every     int    // a checkpoint is due at each so many asked
	stopAfter int    // checkpoints until stop is called
	stop      func() // ends the attempt, as a kill or a drain would
	asked     int
	count     int
	saved     []byte
	result    []byte
	file      []byte // the artifact
	savedFile int    // how much of it the checkpoint has
	visible   bool
	begins    []int64 // progress at each attempt's first
	fresh     bool
}

func (j *job) ID() wire.JobID    { return j.id }
func (j *job) Topic() wire.Topic { return "user:42" }
func (j *job) Stage(string)      {}
func (j *job) Unit(string)       {}
func (j *job) Message(string)    {}

func (j *job) Progress(done, _ int64) {
	if j.fresh {
		j.begins = append(j.begins, done)
		j.fresh = false
	}
}

func (j *job) CheckpointDue() bool {
	j.asked++
	return j.every > 0 && j.asked%j.every == 0
}

func (j *job) Checkpoint(state any) error {
	b, err := json.Marshal(state)
	if err != nil || len(b) > 1<<20 {
		return fmt.Errorf("a checkpoint of %d bytes: %w", len(b), err)
	}
	j.saved, j.savedFile = b, len(j.file)
	if j.count++; j.count == j.stopAfter {
		j.stop()
	}
	return nil
}

func (j *job) Resume(state any) (bool, error) {
	j.fresh = true
	j.file = j.file[:j.savedFile]
	if j.saved == nil {
		return false, nil
	}
	return true, json.Unmarshal(j.saved, state)
}

func (j *job) Result(v any) (err error) {
	if j.result, err = json.Marshal(v); len(j.result) > 16<<10 {
		j.t.Errorf("a result of %d bytes", len(j.result))
	}
	return err
}

func (j *job) Open(_ context.Context, name string, fromStart bool) (io.WriteCloser, error) {
	if name != RejectedName {
		j.t.Errorf("an artifact %s is opened", name)
	}
	if fromStart {
		j.file = nil
	}
	return artifact{j}, nil
}

type artifact struct{ j *job }

func (a artifact) Write(p []byte) (int, error) {
	a.j.file = append(a.j.file, p...)
	return len(p), nil
}

func (a artifact) Close() error {
	a.j.visible = true
	return nil
}

// nobody holds a dataset.
type nobody struct{}

func (nobody) DoomDataset(context.Context, wire.Topic, wire.JobID) error { return nil }

func (nobody) DatasetPinned(context.Context, wire.Topic, wire.JobID) (bool, error) { return false, nil }

func stores(t *testing.T) map[string]*blob.Bucket {
	t.Helper()
	files, err := fileblob.OpenBucket(t.TempDir(), &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
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

func put(t *testing.T, bucket *blob.Bucket, name string, data []byte) Payload {
	t.Helper()
	key := blobs.Upload("user:42", jobID)
	if err := bucket.WriteAll(t.Context(), key, data, nil); err != nil {
		t.Fatal(err)
	}
	return Payload{Blob: key, Name: name, Size: int64(len(data))}
}

func pack(t *testing.T, packing string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch packing {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zstd":
		w, err = zstd.NewWriter(&b)
	case "zip":
		z := zip.NewWriter(&b)
		f, failed := z.Create("orders.csv")
		_, written := f.Write(data)
		if err := errors.Join(failed, written, z.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	default:
		return data
	}
	if err == nil {
		_, err = w.Write(data)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// orders is a CSV of about size bytes, of which one row in 40 is rejected.
func orders(size int) []byte {
	var b bytes.Buffer
	b.WriteString("id,city,amount,paid,day,note\n")
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%d,Zürich,%d.%02d,%t,2026-03-%02d,\"a \"\"note\"\"\nof %d\"\n", i, i%1000, i%100, i%3 == 0, i%28+1, i)
		if i%40 == 7 {
			fmt.Fprintf(&b, "%d,too few\n", i)
		}
	}
	return b.Bytes()
}

func manifest(t *testing.T, bucket *blob.Bucket) *datasets.Manifest {
	t.Helper()
	m, err := datasets.Get(t.Context(), bucket, "user:42", jobID)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAnUploadBecomesADataset(t *testing.T) {
	t.Parallel()
	data := orders(300 << 10)
	for store, bucket := range stores(t) {
		// What a run that was killed while it kept the bytes has left.
		stray := blobs.Dataset("user:42", jobID, "data7.tmp")
		if err := bucket.WriteAll(t.Context(), stray, []byte("half of it"), nil); err != nil {
			t.Fatal(err)
		}
		for _, packing := range []string{"", "gzip", "zstd", "zip"} {
			file := pack(t, packing, data)
			p := put(t, bucket, "orders.csv."+packing, file)
			j := &job{t: t, id: jobID}
			if err := Run(t.Context(), j, bucket, p, Options{}); err != nil {
				t.Fatal(store, packing, err)
			}
			m := manifest(t, bucket)
			sum := sha256.Sum256(file)
			if m.SHA256 != hex.EncodeToString(sum[:]) || m.Size != int64(len(file)) || m.UnpackedSize != int64(len(data)) || m.Packing != packing {
				t.Errorf("%s, %q: %+v", store, packing, m)
			}
			var kinds []string
			for _, c := range m.Columns {
				kinds = append(kinds, c.Name+" "+c.Kind)
			}
			if got := strings.Join(kinds, ", "); got != "id integer, city text, amount decimal, paid boolean, day date, note text" {
				t.Errorf("%s, %q: %s", store, packing, got)
			}
			n := bytes.Count(data, []byte("Zürich"))
			if m.Rows != int64(n) || m.Rejected != int64(bytes.Count(data, []byte("too few"))) || len(m.Rejections) != int(min(100, m.Rejected)) || len(m.Preview) != 20 {
				t.Errorf("%s, %q: %d rows, %d rejected, %d shown, %d in the preview, of %d rows", store, packing, m.Rows, m.Rejected, len(m.Rejections), len(m.Preview), n)
			}
			if first := m.Rejections[0]; first.Line != 18 || !strings.Contains(first.Reason, "2 fields") {
				t.Errorf("%s, %q: the first rejected row is %+v", store, packing, first)
			}
			if got, want := bytes.Count(j.file, []byte("\n")), int(m.Rejected); got != want || !j.visible || !bytes.HasPrefix(j.file, []byte(`{"line":18,"reason":"it has 2 fields, and the table has 6 columns","text":"7,too few"}`)) {
				t.Errorf("%s, %q: the artifact has %d lines, want %d; %.200s", store, packing, got, want, j.file)
			}
			kept, err := bucket.ReadAll(t.Context(), blobs.Dataset("user:42", jobID, blobs.DatasetBytes))
			if err != nil || !bytes.Equal(kept, file) {
				t.Errorf("%s, %q: %d bytes are kept, %v", store, packing, len(kept), err)
			}
			var r Result
			if err := json.Unmarshal(j.result, &r); err != nil || r.Dataset != jobID || r.Rows != m.Rows || len(r.Columns) != 6 {
				t.Errorf("%s, %q: %s, %v", store, packing, j.result, err)
			}
			if there, err := bucket.Exists(t.Context(), stray); there || err != nil {
				t.Errorf("%s, %q: what a killed run has left is there: %t, %v", store, packing, there, err)
			}
			if got := count(t, bucket, m); got != m.Rows {
				t.Errorf("%s, %q: %d rows are read again, want %d", store, packing, got, m.Rows)
			}
		}
	}
}

// Without a header the first row of a sheet is data, also where it looks like a title or a comment.
func TestSheetsWithoutAHeader(t *testing.T) {
	t.Parallel()
	bucket := stores(t)["memory"]
	var b bytes.Buffer
	w, err := format.New(&b, []rows.Column{{Name: "# a", Kind: rows.Int}, {Kind: rows.Int}, {Kind: rows.Int}}, format.Options{Format: format.XLSX})
	for i := 0; err == nil && i < 3; i++ {
		err = w.Write([]rows.Value{{Kind: rows.Int, Int: 1}, {Kind: rows.Int, Int: 2}, {Kind: rows.Int, Int: 3}})
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	p := put(t, bucket, "book.xlsx", b.Bytes())
	p.NoHeader = true
	if err := Run(t.Context(), &job{t: t, id: jobID}, bucket, p, Options{}); err != nil {
		t.Fatal(err)
	}
	m := manifest(t, bucket)
	if got := count(t, bucket, m); m.Rows != 4 || got != 4 || len(m.Columns) != 3 {
		t.Errorf("%d rows of %d columns, and %d again; want 4 of 3", m.Rows, len(m.Columns), got)
	}
}

// count reads the dataset's rows.
func count(t *testing.T, bucket *blob.Bucket, m *datasets.Manifest) (n int64) {
	t.Helper()
	s, err := dataset.Open(t.Context(), bucket, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]rows.Value, len(m.Columns))
	for ; err == nil; n++ {
		err = s.Next(t.Context(), row)
	}
	if err := errors.Join(s.Close()); err != nil {
		t.Error(err)
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	return n - 1
}

func TestAStoppedUploadEndsWithTheSameBytes(t *testing.T) {
	t.Parallel()
	endless := []byte("a,b\n1,2\n" + strings.Repeat("x", 12<<20) + "\n3,4\n" + strings.Repeat("5,6\n", 300_000))
	for store, bucket := range stores(t) {
		for name, file := range map[string][]byte{
			"plain": orders(3 << 19), "gzip": pack(t, "gzip", orders(3<<19)), "zstd": pack(t, "zstd", orders(3<<19)),
			"zip": pack(t, "zip", orders(3<<19)), "endless": endless,
			"ndjson": []byte(strings.Repeat("{\"a\":1,\"b\":\"x\"}\n{\"b\":\"ü\",\"c\":[1]}\n{\"a\":\n", 60_000)),
		} {
			p := put(t, bucket, name, file)
			undisturbed := &job{t: t, id: jobID}
			o := Options{MaxRejectedPercent: 50}
			if err := Run(t.Context(), undisturbed, bucket, p, o); err != nil {
				t.Fatal(store, name, err)
			}
			key := blobs.Dataset("user:42", jobID, blobs.DatasetManifest)
			want, err := bucket.ReadAll(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := datasets.Delete(t.Context(), bucket, nobody{}, "user:42", jobID); err != nil {
				t.Fatal(err)
			}
			killed := errors.New("killed")
			j := &job{t: t, id: jobID, every: 5, stopAfter: 2}
			if name == "endless" {
				j.every, j.stopAfter = 2, 1 // within the line
			}
			attempts := 0
			for ; ; attempts++ {
				ctx, cancel := context.WithCancelCause(t.Context())
				j.stop, j.count = func() { cancel(killed) }, 0
				err := Run(ctx, j, bucket, p, o)
				cancel(nil)
				if err == nil {
					break
				}
				if !errors.Is(err, killed) || attempts > 100 {
					t.Fatal(store, name, err)
				}
				if _, err := datasets.Get(t.Context(), bucket, "user:42", jobID); !errors.Is(err, datasets.ErrNotFound) {
					t.Errorf("%s, %s: half a dataset is visible: %v", store, name, err)
				}
			}
			if attempts < 2 {
				t.Errorf("%s, %s: stopped %d times", store, name, attempts)
			}
			if got, err := bucket.ReadAll(t.Context(), key); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %s: after %d stops the manifest is\n%.600s\n%v, want\n%.600s", store, name, attempts, got, err, want)
			}
			if !bytes.Equal(j.file, undisturbed.file) || !bytes.Equal(j.result, undisturbed.result) {
				t.Errorf("%s, %s: the artifact of %d bytes has %d; the result is %s, want %s", store, name, len(undisturbed.file), len(j.file), j.result, undisturbed.result)
			}
		}
	}
}

func TestTooManyRejectedRowsAreFatal(t *testing.T) {
	t.Parallel()
	bucket := stores(t)["memory"]
	for name, c := range map[string]struct {
		data    string
		percent int
		want    string
	}{
		"none of 10":        {"a,b\n" + strings.Repeat("1,2\n", 10), -1, ""},
		"one of 10":         {"a,b\n1\n" + strings.Repeat("1,2\n", 9), 0, ""},
		"two of 10":         {"a,b\n1\n2\n" + strings.Repeat("1,2\n", 8), 0, "2 of 10 rows are rejected, which is more than 10 percent. The first is at line 2"},
		"one where none is": {"a,b\n1\n" + strings.Repeat("1,2\n", 900), -1, "1 of 901 rows are rejected"},
		"only rejected":     {"a,b\n1\n2\n", 99, "2 of 2 rows"},
		"all is allowed":    {"a,b\n1\n2\n", 100, ""},
	} {
		permanent := errors.New("permanent")
		j := &job{t: t, id: jobID}
		err := Run(t.Context(), j, bucket, put(t, bucket, "a.csv", []byte(c.data)), Options{
			MaxRejectedPercent: c.percent, Permanent: func(err error) error { return fmt.Errorf("%w: %w", permanent, err) },
		})
		switch {
		case c.want == "" && err != nil, c.want != "" && (!errors.Is(err, ErrInput) || !errors.Is(err, permanent) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		case strings.Contains(c.data, "\n1\n") && !j.visible:
			t.Errorf("%s: the rejected rows are not shown", name)
		}
		if _, err := datasets.Get(t.Context(), bucket, "user:42", jobID); (err == nil) != (c.want == "") {
			t.Errorf("%s: the dataset: %v", name, err)
		}
		_, _ = datasets.Delete(t.Context(), bucket, nobody{}, "user:42", jobID)
	}
}

func TestUploadsThatAreRefused(t *testing.T) {
	t.Parallel()
	const secret = "canary"
	bucket := stores(t)["memory"]
	good := put(t, bucket, secret+".csv", orders(1<<10))
	with := func(change func(*Payload)) Payload {
		p := good
		change(&p)
		return p
	}
	for want, p := range map[string]Payload{
		"no longer there":    with(func(p *Payload) { p.Blob = secret }),
		"names no blob":      with(func(p *Payload) { p.Blob = "" }),
		"plain segments":     with(func(p *Payload) { p.Blob = "../" + secret }),
		"were announced":     with(func(p *Payload) { p.Size++ }),
		"is not known":       with(func(p *Payload) { p.Format = secret }),
		"64 digits":          with(func(p *Payload) { p.SHA256 = secret }),
		"damaged on its way": with(func(p *Payload) { p.SHA256 = strings.Repeat("ab", 32) }),
	} {
		err := Run(t.Context(), &job{t: t, id: jobID}, bucket, p, Options{})
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v, want an ErrInput that says %q and not what the payload says", err, want)
		}
	}
	for want, file := range map[string][]byte{
		"header has 10001 columns":            []byte(strings.Repeat("x,", 10_000) + "\n"),
		"In the gzip file: This is a zip":     pack(t, "gzip", pack(t, "zip", []byte("a,b\n1,2\n"))),
		"This file is empty":                  {},
		"In the gzip file: This file is empt": pack(t, "gzip", nil),
		"zero byte":                           []byte("a,b\n1,\x002\n"),
		"cut off":                             pack(t, "gzip", orders(1<<20))[:30_000],
		"200 times":                           pack(t, "gzip", bytes.Repeat([]byte("1,2\n"), 10<<20)),
		"more than 1048576 bytes":             pack(t, "zip", orders(2<<20)),
	} {
		o := Options{}
		if strings.Contains(want, "1048576") {
			o.MaxUnpackedBytes = 1 << 20
		}
		err := Run(t.Context(), &job{t: t, id: jobID}, bucket, put(t, bucket, "x", file), o)
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.300v, want an ErrInput that says %q", err, want)
		}
		if _, err := datasets.Get(t.Context(), bucket, "user:42", jobID); !errors.Is(err, datasets.ErrNotFound) {
			t.Errorf("%s: a dataset is there: %v", want, err)
		}
	}
}

// Whatever the columns, cells and reasons are, a checkpoint, a manifest and a result keep their bounds.
func TestBoundsHoldForTheWidestTable(t *testing.T) {
	t.Parallel()
	bucket := stores(t)["memory"]
	var b strings.Builder
	for i := range dataset.MaxColumns {
		fmt.Fprintf(&b, "\x01<&%d%s,", i, strings.Repeat("<", 20))
	}
	b.WriteString("\n")
	for range 300 {
		b.WriteString(strings.Repeat("<\x01>,", dataset.MaxColumns) + "\nfew\n")
	}
	data := strings.ReplaceAll(b.String(), ",\n", "\n")
	j := &job{t: t, id: jobID, every: 1}
	if err := Run(t.Context(), j, bucket, put(t, bucket, "wide.csv", []byte(data)), Options{MaxRejectedPercent: 100}); err != nil {
		t.Fatal(err)
	}
	m := manifest(t, bucket)
	var r Result
	if err := json.Unmarshal(j.result, &r); err != nil {
		t.Fatal(err)
	}
	if len(m.Columns) != dataset.MaxColumns || len(m.Rejections) != 100 || j.count == 0 || len(r.Columns)+r.MoreColumns != dataset.MaxColumns || len(r.Rejections) == 0 {
		t.Errorf("%d columns, %d rejections, %d checkpoints; the result has %d and %d columns, %d rejections",
			len(m.Columns), len(m.Rejections), j.count, len(r.Columns), r.MoreColumns, len(r.Rejections))
	}
}
