package export

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
	"github.com/tidemark-dev/tidemark/worker/workertest"
)

const (
	owner  = engine.Topic("user:42")
	upload = engine.JobID("0701JD8V3QZ4T9M2K6W0X5Y7B1CA")
)

// keep makes a dataset of a table, as an upload does.
func keep(t *testing.T, bucket *blob.Bucket, text string) {
	t.Helper()
	m := &datasets.Manifest{ID: upload, Topic: owner, Size: int64(len(text)), UnpackedSize: int64(len(text)), MaxRecordBytes: 1 << 20, Format: table.CSV}
	if err := bucket.WriteAll(t.Context(), blobs.Dataset(owner, upload, blobs.DatasetBytes), []byte(text), nil); err != nil {
		t.Fatal(err)
	}
	s, names, err := dataset.Start(t.Context(), strings.NewReader(text), table.Options{Name: "orders.csv"})
	if err != nil {
		t.Fatal(err)
	}
	m.Start = s.AppendPosition(nil)
	schema := dataset.NewSchema(names, nil, 0)
	for {
		found, err := s.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if found == dataset.Row {
			schema.Fields(s.Fields)
		}
	}
	m.Rows, m.Columns = schema.Rows(), schema.Columns(m.Format)
	if err := datasets.Write(t.Context(), bucket, m); err != nil {
		t.Fatal(err)
	}
}

// A table that is written as exports write tables is exported as it is, also by several attempts.
func TestDatasetIsExportedAsItIs(t *testing.T) {
	t.Parallel()
	bucket := memblob.OpenBucket(nil)
	defer func() {
		if err := bucket.Close(); err != nil {
			t.Error(err)
		}
	}()
	var table strings.Builder
	table.WriteString("id,name,price,paid,day,at,note\n")
	for i := range 60_000 {
		fmt.Fprintf(&table, "%d,\"name, %d\",%d.50,%t,2026-11-%02d,2026-11-30T10:00:%02d.5Z,\n", i, i%100, i%7, i%2 == 0, 1+i%30, i%60)
	}
	keep(t, bucket, table.String())
	export := func(p Payload, options ...workertest.Option) *workertest.Recording {
		return workertest.Run(t.Context(), t, (&handler{bucket: bucket}).run, p, options...)
	}
	of := workertest.Spec(engine.Spec{Topic: owner})
	p := Payload{Dataset: upload, Request: Request{Format: "csv"}}
	rec := export(p, of, workertest.Interrupt(worker.ErrDraining, func(r *workertest.Recording) bool { return len(r.Checkpoints) > 0 }))
	// The dataset is deleted, and the job that holds it goes on.
	m, err := datasets.Get(t.Context(), bucket, owner, upload)
	if err != nil {
		t.Fatal(err)
	}
	m.Deleting = true
	if err := datasets.Write(t.Context(), bucket, m); err != nil {
		t.Fatal(err)
	}
	for attempt := 1; ; attempt++ {
		if rec.State == engine.Succeeded {
			if attempt < 3 {
				t.Errorf("it took %d attempts", attempt)
			}
			break
		}
		if rec.State != engine.Queued || len(rec.Artifacts) > 0 {
			t.Fatalf("attempt %d: the job is %s with %d artifacts: %v", attempt, rec.State, len(rec.Artifacts), rec.Err)
		}
		before := len(rec.Checkpoints)
		rec = export(p, of, workertest.Resume(rec), workertest.Interrupt(worker.ErrDraining, func(r *workertest.Recording) bool { return len(r.Checkpoints) > before }))
	}
	file, s := exported(t, rec)
	if string(file) != table.String() {
		t.Errorf("the file has %d bytes and other ones, the table %d", len(file), table.Len())
	}
	if s.Rows != 60_000 || s.Read != 60_000 || s.Columns != 7 {
		t.Errorf("%+v", s)
	}

	p.Dataset = "0701JD8V3QZ4T9M2K6W0X5Y7B1CB"
	unknown := export(p, of)
	p.Dataset = upload
	foreign := export(p, workertest.Spec(engine.Spec{Topic: "user:7"}))
	for _, rec := range []*workertest.Recording{unknown, foreign} {
		if rec.State != engine.Failed || rec.Error.Code != engine.CodePermanent || rec.Err.Error() != unknown.Err.Error() {
			t.Errorf("the job is %s: %v", rec.State, rec.Err)
		}
	}
}
