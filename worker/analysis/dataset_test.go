package analysis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/blobs"
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const datasetID = wire.JobID("0701JD8V3QZ4T9M2K6W0X5Y7B1CA")

// keep makes a dataset of a table, as an upload does.
func keep(t *testing.T, bucket *blob.Bucket, topic wire.Topic, format string, text []byte) {
	t.Helper()
	m := &datasets.Manifest{
		ID: datasetID, Topic: topic, Size: int64(len(text)), UnpackedSize: int64(len(text)), MaxRecordBytes: 1 << 20,
		Format: format, Dialect: datasets.Dialect{Encoding: "utf-8"}, SHA256: "00",
	}
	if format == table.CSV {
		m.Dialect.Delimiter, m.Dialect.Header = ",", true
	}
	if err := bucket.WriteAll(t.Context(), blobs.Dataset(topic, m.ID, blobs.DatasetBytes), text, nil); err != nil {
		t.Fatal(err)
	}
	s, names, err := dataset.Start(t.Context(), bytes.NewReader(text), table.Options{Format: format})
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
		if found != dataset.Row {
			continue
		}
		if format == table.CSV {
			schema.Fields(s.Fields)
		} else if err := schema.Members(s.Members); err != nil {
			t.Fatal(err)
		}
	}
	m.Rows, m.Columns = schema.Rows(), schema.Columns(m.Format)
	if err := datasets.Write(t.Context(), bucket, m); err != nil {
		t.Fatal(err)
	}
}

// A dataset's profile is that of its file, where the file says the same, and a run that is killed again and again
// ends with the bytes of one that is left alone.
func TestDatasetHasTheProfileOfItsFile(t *testing.T) {
	for format, data := range map[string][]byte{table.CSV: orders(1 << 20), table.NDJSON: ordersNDJSON(8000)} {
		t.Run(format, func(t *testing.T) {
			bucket := memblob.OpenBucket(nil)
			t.Cleanup(func() { checkClose(t, bucket) })
			keep(t, bucket, "user:42", format, data)
			p := Payload{Dataset: datasetID, Name: "orders"}
			undisturbed := &job{t: t}
			if err := Run(t.Context(), undisturbed, "undisturbed", bucket, p, Options{}); err != nil {
				t.Fatal(err)
			}
			var got Profile
			if err := json.Unmarshal(undisturbed.files[ProfileName], &got); err != nil {
				t.Fatal(err)
			}
			want := analyze(t, string(data), Payload{Format: format})
			for _, p := range []*Profile{&got, want} {
				p.Duplicates, p.Warnings = Duplicates{}, nil
				for i := range p.Columns {
					if !p.Columns[i].DistinctExact {
						p.Columns[i].Distinct = 0 // an estimate by other hashes
					}
				}
			}
			for i := range want.Columns {
				if !reflect.DeepEqual(got.Columns[i], want.Columns[i]) {
					t.Errorf("%+v\nwant\n%+v", got.Columns[i], want.Columns[i])
				}
			}
			if got.Columns = want.Columns; !reflect.DeepEqual(&got, want) {
				t.Errorf("%+v\nwant\n%+v", got, want)
			}

			// The job holds the dataset, so its attempts go on while somebody deletes it.
			m, err := datasets.Get(t.Context(), bucket, "user:42", datasetID)
			if err != nil {
				t.Fatal(err)
			}
			m.Deleting = true
			if err := datasets.Write(t.Context(), bucket, m); err != nil {
				t.Fatal(err)
			}
			killed := errors.New("killed")
			j := &job{t: t, every: 3, stopAfter: 1}
			for attempt := 1; ; attempt++ {
				ctx, cancel := context.WithCancelCause(t.Context())
				j.stop, j.count = func() { cancel(killed) }, 0
				err := Run(ctx, j, "killed", bucket, p, Options{})
				cancel(nil)
				if err == nil && attempt < 3 {
					t.Errorf("took %d attempts", attempt)
				}
				if err == nil {
					break
				}
				if !errors.Is(err, killed) || attempt > 100 {
					t.Fatal(err)
				}
			}
			for name, want := range undisturbed.files {
				if !bytes.Equal(j.files[name], want) {
					t.Errorf("%s of the killed run differs", name)
				}
			}
		})
	}
}

// ordersNDJSON has each kind of value.
func ordersNDJSON(rows int) []byte {
	var b bytes.Buffer
	for i := range rows {
		line, _ := json.Marshal(map[string]any{
			"id": i, "price": json.Number([]string{"1.50", "7.25", "12.05"}[i%3]), "name": "n" + strings.Repeat("é", i%5), "paid": i%2 == 0,
			"day": []string{"2026-11-30", "1969-02-01"}[i%2], "nested": []int{i}, "ratio": float64(i+1) * 1e-9,
		})
		b.Write(append(line, '\n'))
	}
	return b.Bytes()
}

func TestDatasetsThatAnAnalysisMayNotRead(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { checkClose(t, bucket) })
	keep(t, bucket, "user:7", table.CSV, orders(1<<10))
	var texts []string
	for _, p := range []Payload{{Dataset: datasetID}, {Dataset: "0701JD8V3QZ4T9M2K6W0X5Y7B1CB"}, {Dataset: "../x"}} {
		err := Run(t.Context(), &job{t: t}, "j", bucket, p, Options{})
		if !errors.Is(err, ErrInput) {
			t.Errorf("%+v: %v", p, err)
			continue
		}
		texts = append(texts, err.Error())
	}
	if len(texts) != 3 || texts[0] != texts[1] || texts[1] != texts[2] {
		t.Errorf("the texts tell another topic's dataset, an unknown one and none apart: %q", texts)
	}
	err := Run(t.Context(), &job{t: t}, "j", bucket, Payload{Dataset: datasetID, Format: "csv"}, Options{})
	if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "says more") {
		t.Errorf("a dataset with a format: %v", err)
	}
}
