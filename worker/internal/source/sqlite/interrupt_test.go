package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"modernc.org/sqlite"

	"github.com/tidemark-dev/tidemark/internal/leaktest"
	"github.com/tidemark-dev/tidemark/worker/internal/source/dialect"
)

// The driver watches a context over the first row of a statement alone. A row after it that takes for ever
// ends with the context as well; without the interrupt this test does not end.
func TestContextEndsARowAfterTheFirst(t *testing.T) {
	t.Parallel()
	leaktest.Check(t)
	started := make(chan struct{})
	var once sync.Once
	name := fmt.Sprint("row_started_", rand.Uint64()) // a process registers a name but once
	sqlite.MustRegisterScalarFunction(name, 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		once.Do(func() { close(started) })
		return int64(1), nil
	})
	path := filepath.Join(t.TempDir(), "a.db")
	made, err := (&sqlite.Driver{}).Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.(driver.ExecerContext).ExecContext(t.Context(), "CREATE TABLE t (id INTEGER PRIMARY KEY)", nil); err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := open(ctx, &dialect.Request{Source: "a", URL: "sqlite://" + path, Table: "t", Key: []string{"id"}})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.query(ctx, "SELECT 1 UNION ALL SELECT (WITH RECURSIVE n (i) AS (SELECT "+name+"() UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n)", nil)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]driver.Value, 1)
	if err := rows.Next(row); err != nil || row[0] != int64(1) {
		t.Fatalf("the first row is %v, %v", row, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- rows.Next(row) }()
	<-started
	cancel()
	if err := <-ended; err == nil {
		t.Errorf("the second row is %v", row)
	}
	_ = rows.Close()
	s.close()
}
