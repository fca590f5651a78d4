package upload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/memtest"
)

// benchBytes is how large the file of a benchmark is; the environment may say otherwise, in MiB.
func benchBytes(b *testing.B) int64 {
	b.Helper()
	text := os.Getenv("TIDEMARK_BENCH_UPLOAD_MIB")
	if text == "" {
		text = "128"
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n << 20
}

// benchFile puts a CSV of 10 columns into a store of files.
func benchFile(b *testing.B) (*blob.Bucket, Payload) {
	b.Helper()
	bucket, err := fileblob.OpenBucket(b.TempDir(), &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := bucket.Close(); err != nil {
			b.Error(err)
		}
	})
	p := Payload{Blob: blobs.Upload("user:42", jobID), Name: "orders.csv"}
	w, err := bucket.NewWriter(b.Context(), p.Blob, &blob.WriterOptions{ContentType: "text/csv"})
	if err != nil {
		b.Fatal(err)
	}
	var block bytes.Buffer
	fmt.Fprintln(&block, "id,customer,city,status,amount,quantity,created,paid,email,note")
	for i := 0; p.Size < benchBytes(b); i++ {
		fmt.Fprintf(&block, "%d,C-%06d,%s,%s,%d.%02d,%d,2026-%02d-%02d,%t,user%d@example.org,\"order, number %d\"\n", i, i%99991,
			[]string{"Berlin", "Paris", "Zürich", "Oslo"}[i%4], []string{"open", "paid", "sent"}[i%3], i%5000, i%100, i%17, i%12+1, i%28+1, i%2 == 0, i, i)
		if block.Len() >= 1<<20 || p.Size+int64(block.Len()) >= benchBytes(b) {
			p.Size += int64(block.Len())
			if _, err := block.WriteTo(w); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return bucket, p
}

// idle is a job that nobody looks at.
type idle struct{ *job }

func (idle) Progress(int64, int64) {}
func (idle) CheckpointDue() bool   { return false }
func (idle) Checkpoint(any) error  { return nil }
func (idle) Open(context.Context, string, bool) (io.WriteCloser, error) {
	return nil, io.ErrClosedPipe
}

// BenchmarkUpload compares the making of a dataset with SHA-256 of the same file, and nothing else. What
// counts is the ratio of their MB/s, and the peak of the process's memory above what it had before.
func BenchmarkUpload(b *testing.B) {
	bucket, p := benchFile(b)
	b.Run("baseline=sha256", func(b *testing.B) { benchHashing(b, bucket, p) })
	b.Run("reading", func(b *testing.B) { benchReading(b, bucket, p) })
	b.Run("upload", func(b *testing.B) { benchUpload(b, bucket, p) })
}

func benchHashing(b *testing.B, bucket *blob.Bucket, p Payload) {
	b.SetBytes(p.Size)
	for b.Loop() {
		r, err := bucket.NewReader(b.Context(), p.Blob, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{sha256.New()}, struct{ io.Reader }{r}, make([]byte, 256<<10)); err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func benchUpload(b *testing.B, bucket *blob.Bucket, p Payload) {
	b.SetBytes(p.Size)
	memtest.ReportPeak(b, func() {
		for b.Loop() {
			if err := Run(b.Context(), idle{&job{id: jobID}}, bucket, p, Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// benchReading is benchUpload without keeping the file.
func benchReading(b *testing.B, bucket *blob.Bucket, p Payload) {
	b.SetBytes(p.Size)
	for b.Loop() {
		u := &upload{run: idle{&job{id: jobID}}, bucket: bucket, p: p, o: Options{}.Defaults(), size: p.Size}
		if err := u.resume(); err != nil {
			b.Fatal(err)
		}
		sum, err := newDigest(nil, 0)
		if err != nil {
			b.Fatal(err)
		}
		u.sum = sum
		m, err := u.read(b.Context())
		sum.stop()
		if err != nil || m.Rows == 0 {
			b.Fatal(m, err)
		}
	}
}
