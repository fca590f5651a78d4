package export

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/pgtest"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/source"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
	"github.com/tidemark-dev/tidemark/worker/workertest"
)

// sqlite makes a database of what the SQL makes, and returns its URL.
func sqlite(t *testing.T, statements string) (string, *sql.DB) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
	return (&url.URL{Scheme: "sqlite", Path: path}).String(), db
}

// fromSource runs an attempt of an export, of which one of the sources is named.
func fromSource(t *testing.T, p Payload, sources []sqlsource.Source, options ...workertest.Option) *workertest.Recording {
	t.Helper()
	set, err := source.New(sources)
	if err != nil {
		t.Fatal(err)
	}
	return workertest.Run(t.Context(), t, (&handler{sources: set}).run, p, options...)
}

// refused is of an export that no retry mends.
func refused(t *testing.T, rec *workertest.Recording, want string) {
	t.Helper()
	if rec.State != engine.Failed || rec.Error == nil || rec.Error.Code != engine.CodePermanent || !strings.Contains(rec.Err.Error(), want) {
		t.Errorf("the job is %s: %v, want %q", rec.State, rec.Err, want)
	}
	if len(rec.Artifacts) > 0 || len(rec.Checkpoints) > 0 {
		t.Errorf("%v: there are %d artifacts and %d checkpoints", rec.Err, len(rec.Artifacts), len(rec.Checkpoints))
	}
}

func TestSourceWithParameters(t *testing.T) {
	t.Parallel()
	address, _ := sqlite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY, team TEXT, total INT); INSERT INTO t VALUES (1, 'a', 9), (2, 'b', 5), (3, 'a', -1), (4, 'a', 7), (5, 'a', 8)")
	sources := []sqlsource.Source{{Name: "orders", URL: address, Query: "SELECT id, team, total FROM t WHERE team = :team", Params: []string{"team"}, Key: []string{"id"}}}
	p := Payload{Source: "orders", Params: map[string]string{"team": "a"}, Request: Request{
		Format: "csv", Columns: []string{"total", "id"}, Filter: []Condition{{"total", "more", "0"}}, Limit: 2,
	}}
	before := time.Now().Add(-time.Minute)
	file, s := exported(t, fromSource(t, p, sources))
	if want := "total,id\n9,1\n7,4\n"; string(file) != want {
		t.Errorf("the file is %q, want %q", file, want)
	}
	if s.Rows != 2 || s.Read != 3 || s.Columns != 2 || len(s.Snapshots) != 1 || s.Snapshots[0].At.Before(before) || s.Snapshots[0].Rows != 0 || s.Snapshots[0].After != nil {
		t.Errorf("the result is %+v", s)
	}
	for want, params := range map[string]map[string]string{
		"team is missing":              nil,
		`it has none named "x"`:        {"team": "a", "x": ""},
		"team has 4097 bytes; at most": {"team": strings.Repeat("a", 4097)},
		"team is not UTF-8 without":    {"team": "a\x00"},
	} {
		p.Params = params
		refused(t, fromSource(t, p, sources), want)
	}
	// Of what a user gives, nothing is SQL.
	p.Params = map[string]string{"team": "a' OR '1'='1"}
	if _, s := exported(t, fromSource(t, p, sources)); s.Rows != 0 {
		t.Errorf("a quote selects %d rows", s.Rows)
	}
}

// A source of other topics is as unknown as one that is not there.
func TestSourcesOfOtherTopics(t *testing.T) {
	t.Parallel()
	address, _ := sqlite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
	named := func(name string, topics ...string) sqlsource.Source {
		return sqlsource.Source{Name: name, URL: address, Table: "t", Key: []string{"id"}, Topics: topics}
	}
	sources := []sqlsource.Source{named("all"), named("star", "*"), named("own", "team:7", "user:42"), named("kind", "user:*"), named("others", "user:421", "user:4", "team:*", "user:")}
	sources[4].Topics = sources[4].Topics[:3] // "user:" is no topic
	export := func(name string) *workertest.Recording {
		return fromSource(t, Payload{Source: name, Request: Request{Format: "csv"}}, sources, workertest.Spec(engine.Spec{Topic: owner}))
	}
	for _, name := range []string{"all", "star", "own", "kind"} {
		if file, _ := exported(t, export(name)); string(file) != "id\n1\n" {
			t.Errorf("of %s the file is %q", name, file)
		}
	}
	unknown, foreign := export("orders"), export("others")
	refused(t, unknown, "export: the topic has no such source")
	refused(t, foreign, "")
	if foreign.Err.Error() != unknown.Err.Error() {
		t.Errorf("%v tells another's from %v", foreign.Err, unknown.Err)
	}
}

func TestPayloadsThatAreRefused(t *testing.T) {
	t.Parallel()
	csv := Request{Format: "csv"}
	for want, p := range map[string]Payload{
		"dataset or source: one":       {Request: csv},
		"dataset and source: want one": {Dataset: upload, Source: "orders", Request: csv},
		"params: only a source has":    {Dataset: upload, Params: map[string]string{"a": "b"}, Request: csv},
		"format \"pdf\"":               {Source: "orders", Request: Request{Format: "pdf"}},
		"the topic has no such source": {Source: strings.Repeat("a", 1<<16), Request: csv},
	} {
		refused(t, fromSource(t, p, nil), want)
	}
}

// A database that goes away fails the attempt. The next ones wait for it, and go on from the checkpoint.
func TestDatabaseThatGoesAway(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t)
	address, session := server.Database(t)
	// Rows that do not fit between the server and its client.
	session.Exec("CREATE TABLE t (id int PRIMARY KEY, x text NOT NULL); INSERT INTO t SELECT n, repeat('x', 10000) || n FROM generate_series(1, 3000) n")
	sources := []sqlsource.Source{{Name: "orders", URL: address, Table: "t", Key: []string{"id"}}}
	p := Payload{Source: "orders", Request: Request{Format: "ndjson", Compression: "gzip"}}
	want, _ := exported(t, fromSource(t, p, sources))

	stopped := false
	rec := fromSource(t, p, sources, workertest.Interrupt(worker.ErrCanceled, func(r *workertest.Recording) bool {
		if len(r.Checkpoints) == 1 && !stopped {
			stopped = true
			if err := server.Stop(); err != nil {
				t.Error(err)
			}
		}
		return false
	}))
	away := func(rec *workertest.Recording) {
		t.Helper()
		if rec.State != engine.Retrying || len(rec.Artifacts) > 0 || !source.Temporary(rec.Err) || strings.Contains(rec.Err.Error(), "127.0.0.1") {
			t.Fatalf("the job is %s with %d artifacts: %v", rec.State, len(rec.Artifacts), rec.Err)
		}
	}
	away(rec)
	rec = fromSource(t, p, sources, workertest.Resume(rec))
	away(rec)
	if err := server.Launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, s := exported(t, fromSource(t, p, sources, workertest.Resume(rec)))
	if !bytes.Equal(got, want) {
		t.Errorf("the file has %d bytes, an undisturbed one %d", len(got), len(want))
	}
	if len(s.Snapshots) != 2 || s.Snapshots[1].Rows == 0 || len(s.Snapshots[1].After) != 1 || s.Snapshots[1].After[0] != fmt.Sprint(s.Snapshots[1].Rows) || !s.Snapshots[1].At.After(s.Snapshots[0].At) {
		t.Errorf("the result is %+v", s)
	}
}

// When an admin changes what a source is, its file begins anew.
func TestSourceThatChanges(t *testing.T) {
	t.Parallel()
	address, _ := sqlite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT); WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO t SELECT i, hex(randomblob(5000)) FROM n")
	of := func(query string) []sqlsource.Source {
		return []sqlsource.Source{{Name: "orders", URL: address, Query: query, Key: []string{"id"}}}
	}
	p := Payload{Source: "orders", Request: Request{Format: "csv"}}
	rec := fromSource(t, p, of("SELECT * FROM t"), workertest.Interrupt(worker.ErrDraining, func(r *workertest.Recording) bool { return len(r.Checkpoints) > 0 }))
	if rec.State != engine.Queued {
		t.Fatalf("the job is %s: %v", rec.State, rec.Err)
	}
	want, _ := exported(t, fromSource(t, p, of("SELECT x, id FROM t")))
	got, s := exported(t, fromSource(t, p, of("SELECT x, id FROM t"), workertest.Resume(rec)))
	if !bytes.Equal(got, want) || s.Rows != 300 || len(s.Snapshots) != 1 {
		t.Errorf("the file has %d bytes, another one of the new query %d; %+v", len(got), len(want), s)
	}
}

// A result lists at most 8 KiB of snapshots.
func TestManySnapshots(t *testing.T) {
	t.Parallel()
	address, _ := sqlite(t, "CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID; WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO t SELECT printf('%01000d', i) FROM n")
	sources := []sqlsource.Source{{Name: "orders", URL: address, Table: "t", Key: []string{"id"}}}
	set, err := source.New(sources)
	if err != nil {
		t.Fatal(err)
	}
	h := &handler{sources: set}
	open := h.ofSource(owner, Payload{Source: "orders"})
	var s Summary
	var at []byte
	for n := range 20 {
		from, err := open(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		row := make([]rows.Value, 1)
		if err := from.Next(t.Context(), row); err != nil {
			t.Fatal(err)
		}
		if at, err = from.Position(); err != nil {
			t.Fatal(err)
		}
		if n == 19 {
			if err := s.list(from); err != nil {
				t.Fatal(err)
			}
		}
		if err := from.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Snapshots); n < 3 || n+s.SnapshotsOmitted != 20 || s.Snapshots[0].Rows != 0 || s.Snapshots[n-1].Rows != 19 || s.Snapshots[1].Rows != int64(s.SnapshotsOmitted)+1 {
		t.Errorf("%d snapshots, %d omitted: %.300v", n, s.SnapshotsOmitted, s.Snapshots)
	}
}

// A job that has its sixteen artifacts is told so for good.
func TestNoRoomForTheFile(t *testing.T) {
	t.Parallel()
	address, _ := sqlite(t, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
	set, err := source.New([]sqlsource.Source{{Name: "orders", URL: address, Table: "t", Key: []string{"id"}}})
	if err != nil {
		t.Fatal(err)
	}
	h := &handler{sources: set}
	rec := workertest.Run(t.Context(), t, func(ctx context.Context, run *worker.Run, p Payload) error {
		for i := range engine.MaxArtifacts {
			w, err := run.Artifact(ctx, fmt.Sprint(i), worker.ArtifactOptions{})
			if err != nil {
				return err
			}
			if err := w.Close(); err != nil {
				return err
			}
		}
		return h.run(ctx, run, p)
	}, Payload{Source: "orders", Request: Request{Format: "csv"}})
	if rec.State != engine.Failed || rec.Error.Code != engine.CodePermanent || !strings.Contains(rec.Err.Error(), `artifact "export.csv"`) {
		t.Errorf("the job is %s: %v", rec.State, rec.Err)
	}
}
