package source_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-dev/tidemark/worker/internal/rows"
)

const benchRows = 400_000

// BenchmarkRead reads a table of eight columns beside psql's \copy of the same rows to a file, and beside
// the same COPY through the driver with its lines thrown away.
func BenchmarkRead(b *testing.B) {
	address, session := server.Database(b)
	session.Exec(`CREATE TABLE orders (id bigint PRIMARY KEY, customer int NOT NULL, email text NOT NULL, amount numeric(12,2) NOT NULL, paid boolean NOT NULL,
		at timestamptz NOT NULL, day date NOT NULL, note text)`)
	session.Exec(`INSERT INTO orders SELECT n, n % 1000, 'user' || n || '@example.com', n / 7.0, n % 3 = 0, timestamptz '2026-01-01' + n * interval '1 second',
		date '2026-01-01' + n % 365, CASE WHEN n % 4 = 0 THEN 'a note, "quoted"' END FROM generate_series(1, 400000) n`)
	session.Exec("VACUUM ANALYZE orders")
	const query = "SELECT * FROM orders ORDER BY id"
	path := filepath.Join(b.TempDir(), "orders.csv")
	baseline := func(b *testing.B) {
		cmd := exec.CommandContext(b.Context(), "psql", "-X", "-q", "-d", address, "-c", `\copy (`+query+`) TO '`+path+`' WITH (FORMAT csv)`)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	baseline(b)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, once func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(info.Size())
			for b.Loop() {
				once(b)
			}
			b.ReportMetric(float64(benchRows*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
	run("psql", baseline)
	run("copy", func(b *testing.B) {
		conn, err := pgconn.Connect(b.Context(), address)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := conn.CopyTo(b.Context(), io.Discard, "COPY ("+query+") TO STDOUT"); err != nil {
			b.Fatal(err)
		}
		_ = conn.Close(context.WithoutCancel(b.Context()))
	})
	run("source", func(b *testing.B) {
		s := open(b, config(address, "orders", "id"), nil, nil)
		row := make([]rows.Value, len(s.Columns()))
		n := 0
		for ; ; n++ {
			if err := s.Next(b.Context(), row); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
		if n != benchRows {
			b.Fatalf("%d rows", n)
		}
		_ = s.Close()
	})
}
