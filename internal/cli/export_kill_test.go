package cli_test

import (
	"bytes"
	"cmp"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/pgtest"
	"github.com/tidemark-dev/tidemark/internal/s3test"
	"github.com/tidemark-dev/tidemark/internal/storage"
	"github.com/tidemark-dev/tidemark/worker/export"
	"github.com/tidemark-dev/tidemark/worker/upload"
)

// A file of Parquet has its first boundary after 50,000 rows, others after a MiB. A job that has lost its worker twice runs
// alone, so an export is killed twice among others and then goes on to its end: its file need not be long.
var (
	shopRows    = map[bool]int64{false: 110_000, true: 220_000}[soak]
	limitedRows = map[bool]int64{false: 35_000, true: 70_000}[soak]
)

const shopNote = "a note that is long enough for a row to have a hundred bytes, of which most are the same"

// shop makes the same table in SQLite, in Postgres and as CSV, and returns the sources.
func shop(t *testing.T) (sources string, table []byte) {
	t.Helper()
	const columns, notes = "SELECT n, 'name ' || (n %% 997), CASE WHEN n %% 10 > 0 THEN '=\"' || (n * 31) || '\", " + shopNote + "' END ", "(id INTEGER PRIMARY KEY, name TEXT, note TEXT); INSERT INTO orders "
	path := filepath.Join(t.TempDir(), "shop.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), fmt.Sprintf("CREATE TABLE orders "+notes+
		"WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %d) "+columns+"FROM s", shopRows)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	address, session := pgtest.Server(t).Database(t)
	session.Exec(fmt.Sprintf("CREATE TABLE orders "+notes+columns+"FROM generate_series(1, %d) n", shopRows))
	list, err := json.Marshal([]map[string]any{
		{"name": "sqlite", "url": (&url.URL{Scheme: "sqlite", Path: path}).String(), "table": "orders", "key": []string{"id"}, "connections": 10},
		{"name": "postgres", "url": address, "table": "orders", "key": []string{"id"}, "connections": 10},
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString("id,name,note\n")
	for n := int64(1); n <= shopRows; n++ {
		fmt.Fprintf(&b, "%d,name %d,", n, n%997)
		if n%10 > 0 {
			fmt.Fprintf(&b, `"=""%d"", %s"`, n*31, shopNote)
		}
		b.WriteByte('\n')
	}
	return string(list), b.Bytes()
}

var exportForms = []export.Request{
	{Format: "parquet"},
	{Format: "xlsx", Limit: limitedRows},
	{Format: "csv", Compression: "gzip", Limit: limitedRows},
	{Format: "csv", Compression: "zstd", Limit: limitedRows},
	{Format: "ndjson", Limit: limitedRows},
	{Format: "csv", Limit: limitedRows},
}

// An exporting is an export while its worker is killed.
type exporting struct {
	payload export.Payload
	id      engine.JobID
	want    string
	// running is false from a kill on until another worker has the job. durable: there is a checkpoint.
	running, durable, ended bool
	// resumed is how often an attempt went on from a checkpoint, and before how often those of earlier
	// exports of the same had, which ended too soon.
	resumed, before int
}

// tried reports whether the export was killed as often as is wanted, and itself so often that it says
// something.
func (x *exporting) tried() bool { return x.resumed >= min(kills, 2) && x.before+x.resumed >= kills }

func form(r export.Request) string { return r.Format + r.Compression }

func (x *exporting) String() string {
	return cmp.Or(x.payload.Source, "dataset") + " " + form(x.payload.Request)
}

// Exports of each source in each format, whose worker is killed while all are under way, show no half file,
// and end with the bytes of an undisturbed run: wherever the same rows are from, and wherever the file is.
func TestKilledExportsEndWithTheSameBytes(t *testing.T) {
	t.Parallel()
	sources, table := shop(t)
	want := map[string]string{} // the files' SHA-256, by their form
	for n, place := range []string{"folder", "s3"} {
		t.Run(place, func(t *testing.T) {
			var o storage.Options
			if place == "s3" {
				s := s3test.Start(t)
				o = storage.Options{URL: s.URL(), CredentialsFile: s.CredentialsFile()}
			}
			d := disturb(t, o, "--set", "sources="+sources, "--set", "worker.concurrency=30")
			d.put("table.csv", table)
			dataset := d.enqueue(upload.JobType, upload.Queue, upload.Payload{Blob: "table.csv", Name: "table.csv"})
			d.end(dataset)
			var undisturbed []engine.JobID
			for _, r := range exportForms {
				if len(want) < len(exportForms) {
					undisturbed = append(undisturbed, d.enqueue(export.JobType, export.Queue, export.Payload{Source: "postgres", Request: r}))
				}
			}
			for i, id := range undisturbed {
				want[form(exportForms[i])] = d.end(id).Artifacts[0].SHA256
			}
			sources := [][]export.Payload{{{Dataset: dataset}, {Source: "sqlite"}, {Source: "postgres"}}}
			if soak { // all formats, so as many at a time as a worker can keep up with
				sources = [][]export.Payload{{{Dataset: dataset}}, {{Source: "sqlite"}}, {{Source: "postgres"}}}
			}
			for _, some := range sources {
				all := map[engine.JobID]*exporting{}
				for f, r := range exportForms {
					for s, p := range some {
						if !soak && (f%3 != s || f%2 != n) {
							continue // one place has a format, and both have a source
						}
						p.Request = r
						x := &exporting{payload: p, id: d.enqueue(export.JobType, export.Queue, p), want: want[form(r)]}
						all[x.id] = x
					}
				}
				d.killAll(all)
				for _, x := range all {
					s := d.check(x)
					// What a checkpoint has of a snapshot, the result has.
					if n := len(s.Snapshots); x.payload.Source != "" && (n < 2 || s.Snapshots[n-1].Rows == 0) {
						t.Errorf("%s: the file began anew: %+v", x, s)
					}
				}
			}
			d.stop()
		})
	}
}

// killAll kills the worker at random moments at which most exports can go on from a checkpoint, and mostly when all have
// begun, until each was resumed from one as often as kills says, and returns when all have ended. One that ends too soon is repeated,
// and what it went through counts.
func (d *disturbed) killAll(all map[engine.JobID]*exporting) {
	d.t.Helper()
	left, killed, repeated, wait, early := len(all), 0, 0, 0, !soak
	for r := range d.records(engine.Filter{Type: export.JobType}) {
		x := all[r.Job.ID]
		if x == nil {
			continue
		}
		switch r.Type {
		case engine.JobStarted:
			x.running = true
		case engine.JobResumed:
			x.running = true
			if *r.Job.ResumedFrom > 0 {
				x.resumed++
			}
		case engine.JobCheckpoint:
			x.durable = true
		}
		if !x.ended && r.Job.State.Ended() {
			if x.tried() {
				x.ended = true
				left--
			} else {
				d.check(x)
				repeated++
				delete(all, x.id)
				*x = exporting{payload: x.payload, want: x.want, before: x.before + x.resumed, id: d.enqueue(export.JobType, export.Queue, x.payload)}
				all[x.id] = x
			}
		}
		if left == 0 {
			break
		}
		ripe, unripe, waiting := 0, 0, 0
		for _, x := range all {
			switch {
			case x.ended || x.tried():
			case x.running && x.durable:
				ripe++
			case x.running:
				unripe++
			default:
				waiting++
			}
		}
		// A task that a worker had taken and not begun lies for as long as asynq's lease, so few of many kills come
		// before all have begun.
		if wait--; ripe == 0 || ripe < unripe+waiting || waiting > 0 && !early || wait > 0 {
			continue
		}
		killed, wait, early = killed+1, rand.IntN(20*len(all)), rand.IntN(2*kills) == 0
		d.kill(func() { d.wholeOnly(all) })
		for _, x := range all {
			x.running = false
		}
	}
	d.t.Logf("%d exports, %d kills, %d were repeated", len(all), killed, repeated)
}

// check checks the file of an export that has ended.
func (d *disturbed) check(x *exporting) export.Summary {
	d.t.Helper()
	job := d.end(x.id)
	if len(job.Artifacts) != 1 || job.Artifacts[0].SHA256 != x.want {
		d.t.Errorf("%s: after %d attempts the artifacts are %+v, want SHA-256 %s", x, job.Attempt, job.Artifacts, x.want)
	}
	var s export.Summary
	if err := json.Unmarshal(job.Result, &s); err != nil || s.Rows != cmp.Or(x.payload.Limit, shopRows) {
		d.t.Errorf("%s: the result is %s, %v", x, job.Result, err)
	}
	return s
}

// wholeOnly checks that no file is seen that is not whole.
func (d *disturbed) wholeOnly(all map[engine.JobID]*exporting) {
	d.t.Helper()
	for _, x := range all {
		v, err := d.engine.Job(d.ctx, x.id)
		if err != nil {
			d.t.Fatal(err)
		}
		job, err := v.Job()
		if err != nil || len(job.Artifacts) > 0 && job.Artifacts[0].SHA256 != x.want {
			d.t.Errorf("after a kill the %s shows %+v, %v", x, job.Artifacts, err)
		}
	}
}
