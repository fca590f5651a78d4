package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/blobs"
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

// A dataset that a user deletes is gone for all at once. Jobs that hold it go on with it and can be tried
// again; then its bytes go.
func TestDatasetIsDeletedAfterItsJobs(t *testing.T) {
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
			"owner":  {Subject: "o", Grants: []auth.Grant{{Topics: string(topic), Rights: auth.Read | auth.Enqueue | auth.Control}}},
			"other":  {Subject: "x", Grants: []auth.Grant{{Topics: "user:secret", Rights: auth.Read | auth.Enqueue | auth.Control}}},
		}
	})
	ask := func(who, method, path, body string) answer {
		t.Helper()
		return s.ask(t, method, path, body, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+who) })
	}
	made, err := e.Enqueue(t.Context(), engine.Spec{Topic: topic, Type: "upload"})
	if err != nil {
		t.Fatal(err)
	}
	id, bytes := made.ID, blobs.Dataset(topic, made.ID, blobs.DatasetBytes)
	if err := errors.Join(
		bucket.WriteAll(t.Context(), bytes, []byte("a\n1\n"), nil),
		datasets.Write(t.Context(), bucket, &datasets.Manifest{ID: id, Topic: topic, Rows: 1}),
	); err != nil {
		t.Fatal(err)
	}
	path := "/v1/datasets/" + string(id) + "?topic=" + string(topic)
	export := func(who string) answer {
		t.Helper()
		return ask(who, http.MethodPost, "/v1/jobs", `{"topic":"`+string(topic)+`","type":"export","payload":{"dataset":"`+string(id)+`","format":"csv"}}`)
	}
	there := func(want bool, when string) {
		t.Helper()
		if got, err := bucket.Exists(t.Context(), bytes); got != want || err != nil {
			t.Errorf("%s: the bytes are there: %t, %v", when, got, err)
		}
	}

	wantProblem(t, ask("owner", http.MethodDelete, path, ""), http.StatusConflict, "state") // its job has not ended
	if err := e.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, ask("reader", http.MethodDelete, path, ""), http.StatusForbidden, "forbidden")
	unknown := ask("other", http.MethodDelete, path, "")
	wantProblem(t, unknown, http.StatusNotFound, "not_found")
	there(true, "after others asked")
	accepted := export("owner")
	if accepted.status != http.StatusCreated {
		t.Fatalf("%+v", accepted)
	}
	var job struct{ ID engine.JobID }
	accepted.into(t, &job)

	if a := ask("owner", http.MethodDelete, path, ""); a.status != http.StatusNoContent {
		t.Fatalf("%+v", a)
	}
	there(true, "while a job holds it")
	for what, a := range map[string]answer{
		"the dataset":       ask("owner", http.MethodGet, path, ""),
		"deleted again":     ask("owner", http.MethodDelete, path, ""),
		"a job":             export("owner"),
		"a job of another":  ask("other", http.MethodPost, "/v1/jobs", `{"topic":"user:secret","type":"export","payload":{"dataset":"`+string(id)+`"}}`),
		"a job of no such":  ask("owner", http.MethodPost, "/v1/jobs", `{"topic":"`+string(topic)+`","type":"export","payload":{"dataset":"`+string(id[:27])+`0"}}`),
		"a schedule":        ask("owner", http.MethodPut, "/v1/topics/"+string(topic)+"/schedules/s", `{"cron":"@daily","type":"export","payload":{"dataset":"`+string(id)+`"}}`),
		"a job by its blob": ask("owner", http.MethodPost, "/v1/jobs", `{"topic":"`+string(topic)+`","type":"analysis","payload":{"blob":"`+bytes+`"}}`),
	} {
		if a.status != unknown.status || a.body != unknown.body {
			t.Errorf("%s: %d %s, want what an unknown dataset answers: %s", what, a.status, a.body, unknown.body)
		}
	}
	if err := e.Cancel(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	if a := ask("owner", http.MethodPost, "/v1/jobs/"+string(job.ID)+"/retry", ""); a.status != http.StatusCreated {
		t.Errorf("a retry of a job that holds it: %+v", a)
	} else {
		var again struct{ ID engine.JobID }
		a.into(t, &again)
		if err := errors.Join(e.Cancel(t.Context(), again.ID), e.Remove(t.Context(), again.ID)); err != nil {
			t.Fatal(err)
		}
	}
	pins := runtime.Of(e)
	if gone, err := datasets.Delete(t.Context(), bucket, pins, topic, id); gone || err != nil {
		t.Errorf("deleted while a job can be tried again: %t, %v", gone, err)
	}
	if err := e.Remove(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	if gone, err := datasets.Delete(t.Context(), bucket, pins, topic, id); !gone || err != nil {
		t.Errorf("deleted after the last job: %t, %v", gone, err)
	}
	there(false, "after the last job")
}
