package export_test

import (
	"bufio"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/memtest"
	"github.com/tidemark-dev/tidemark/internal/pgtest"
	"github.com/tidemark-dev/tidemark/internal/storage"
	"github.com/tidemark-dev/tidemark/worker/export"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
	"github.com/tidemark-dev/tidemark/worker/upload"
)

// benchQuery has the rows of the table that benchmarks export, of some 70 bytes each.
const benchQuery = `SELECT n AS id, n % 1000 AS customer, 'user' || n || '@example.com' AS email, (n / 7.0)::numeric(12,2) AS amount, n % 3 = 0 AS paid,
	timestamp '2026-01-01' + n * interval '1 second' AS at, date '2026-01-01' + n % 365 AS day, CASE WHEN n % 4 = 0 THEN 'a note, "quoted"' END AS note`

// BenchmarkExport compares jobs that export CSV, from their enqueueing to their end, with what copies the same rows to a file: psql's
// \copy, and a loop of encoding/csv. What counts is the ratio of their MB/s, and the peak of the worker's process above what it had
// before. BENCH_EXPORT_ROWS asks for other than two million rows.
func BenchmarkExport(b *testing.B) {
	n := 2_000_000
	if s := os.Getenv("BENCH_EXPORT_ROWS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	address, session := pgtest.Server(b).Database(b)
	session.Exec("CREATE TABLE orders AS " + benchQuery + " FROM generate_series(1, " + strconv.Itoa(n) + ") n")
	session.Exec("ALTER TABLE orders ADD PRIMARY KEY (id)")
	session.Exec("VACUUM ANALYZE orders")
	p := newRig(b, storage.Options{}, sqlsource.Source{Name: "shop", URL: address, Table: "orders", Key: []string{"id"}})
	const topic = engine.Topic("user:42")
	path := filepath.Join(b.TempDir(), "orders.csv")
	psql := func(b *testing.B) {
		cmd := exec.CommandContext(b.Context(), "psql", "-X", "-q", "-d", address, "-c", `\copy (SELECT * FROM orders ORDER BY id) TO '`+path+`' WITH (FORMAT csv, HEADER)`)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	psql(b)
	file, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	dataset := p.enqueue(b, topic, upload.JobType, 1, map[string]any{"blob": p.put(b, topic, file), "name": "orders.csv"})
	p.wait(b, dataset, engine.Succeeded)
	size := int64(len(file))
	job := func(payload map[string]any) func(b *testing.B) {
		return func(b *testing.B) {
			payload["format"] = "csv"
			memtest.ReportPeak(b, func() {
				for b.Loop() {
					p.wait(b, p.enqueue(b, topic, export.JobType, 1, payload), engine.Succeeded)
				}
			})
		}
	}
	for _, c := range []struct {
		name string
		run  func(b *testing.B)
	}{
		{"postgres/baseline=psql", psql},
		{"postgres/export", job(map[string]any{"source": "shop"})},
		{"dataset/baseline=encoding-csv", func(b *testing.B) { copyCSV(b, path) }},
		{"dataset/export", job(map[string]any{"dataset": dataset})},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(size)
			if strings.Contains(c.name, "export") {
				c.run(b)
				return
			}
			for b.Loop() {
				c.run(b)
			}
		})
	}
}

// copyCSV reads a CSV and writes it to another file.
func copyCSV(b *testing.B, path string) {
	b.Helper()
	from, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	to, err := os.Create(path + ".copy")
	if err != nil {
		b.Fatal(err)
	}
	r := csv.NewReader(bufio.NewReaderSize(from, 1<<20))
	r.ReuseRecord = true
	w := csv.NewWriter(bufio.NewWriterSize(to, 1<<20))
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = w.Write(record)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	w.Flush()
	if err := errors.Join(w.Error(), from.Close(), to.Close()); err != nil {
		b.Fatal(err)
	}
}
