package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/datasets"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// Users see the datasets of topics that they may read. One of another topic and one that does not exist
// look the same.
func TestDatasetsAreTheirTopics(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer func() {
		if err := bucket.Close(); err != nil {
			t.Error(err)
		}
	}()
	e := open(t, redistest.Server(t).URL(), nil)
	s := serve(t, e, func(o *gateway.Options) {
		o.Blobs, o.BlobDir = bucket, t.TempDir()
		o.Auth = tokens{
			"reader": {Subject: "r", Grants: []auth.Grant{{Topics: string(topic), Rights: auth.Read}}},
			"writer": {Subject: "w", Grants: []auth.Grant{{Topics: string(topic), Rights: auth.Enqueue}}},
		}
	})
	id := func(n int) engine.JobID { return engine.JobID(fmt.Sprintf("0701JD8V3QZ4T9M2K6W0X5Y7B%03d", n)) }
	for n, of := range []engine.Topic{topic, topic, topic, "user:secret"} {
		cell := "1"
		err := datasets.Write(t.Context(), bucket, &datasets.Manifest{
			ID: id(n), Topic: of, Name: string(of) + ".csv", Rows: 7, Rejected: 1, Columns: []datasets.Column{{Name: "a", Kind: "integer"}},
			Preview: [][]*string{{&cell}}, CreatedAt: time.Unix(1, 0).UTC(), Start: []byte("start"), MaxRecordBytes: 9,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	get := func(who, path string) answer {
		t.Helper()
		return s.ask(t, http.MethodGet, path, "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+who) })
	}
	type page struct {
		Topic    engine.Topic
		Datasets []struct {
			ID      engine.JobID
			Rows    int64
			Columns int
		}
		Next string
	}
	var got []engine.JobID
	for after := ""; ; {
		a := get("reader", "/v1/datasets?topic="+string(topic)+"&limit=2&after="+after)
		var p page
		a.into(t, &p)
		if a.status != http.StatusOK || p.Topic != topic || len(p.Datasets) > 2 {
			t.Fatalf("%+v", a)
		}
		for _, d := range p.Datasets {
			if got = append(got, d.ID); d.Rows != 7 || d.Columns != 1 {
				t.Errorf("%+v", d)
			}
		}
		if after = p.Next; after == "" {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint([]engine.JobID{id(0), id(1), id(2)}) {
		t.Errorf("the topic has %v", got)
	}
	one := get("reader", "/v1/datasets/"+string(id(1))+"?topic="+string(topic))
	var m datasets.Manifest
	if err := json.Unmarshal([]byte(one.body), &m); err != nil || one.status != http.StatusOK || m.ID != id(1) || len(m.Preview) != 1 || strings.Contains(one.body, "start") {
		t.Errorf("a dataset is %+v, %v", one, err)
	}

	foreign := get("reader", "/v1/datasets/"+string(id(3))+"?topic=user:secret")
	wantProblem(t, foreign, http.StatusNotFound, "not_found")
	for _, other := range []answer{
		get("reader", "/v1/datasets/"+string(id(3))+"?topic="+string(topic)),
		get("reader", "/v1/datasets/"+string(id(9))+"?topic="+string(topic)),
		get("reader", "/v1/datasets/"+string(id(9))+"?topic=user:secret"),
		get("writer", "/v1/datasets/"+string(id(1))+"?topic="+string(topic)),
	} {
		if other.status != foreign.status || other.body != foreign.body {
			t.Errorf("%d %s, want what a foreign dataset answers: %s", other.status, other.body, foreign.body)
		}
	}
	wantProblem(t, get("reader", "/v1/datasets?topic=user:secret"), http.StatusForbidden, "forbidden")
	wantProblem(t, get("writer", "/v1/datasets?topic="+string(topic)), http.StatusForbidden, "forbidden")
	wantProblem(t, get("reader", "/v1/datasets?topic="+string(topic)+"&limit=101"), http.StatusBadRequest, "invalid")
	wantProblem(t, get("reader", "/v1/datasets?topic="+string(topic)+"&after=%25"), http.StatusBadRequest, "invalid")
}
