package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/worker"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/workertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var columns = []rows.Column{
	{Name: "id", Kind: rows.Int},
	{Name: "name", Kind: rows.Text},
	{Name: "price", Kind: rows.Decimal},
	{Name: "weight", Kind: rows.Float},
	{Name: "paid", Kind: rows.Bool},
	{Name: "day", Kind: rows.Date},
	{Name: "at", Kind: rows.Timestamp},
}

// memory is a source of n rows, which loses its connection at the row broken.
type memory struct {
	next, n, broken int
	open            *int
}

var errBroken = errors.New("the database went away")

func (m *memory) Columns() []rows.Column { return columns }

func (m *memory) Next(ctx context.Context, row []rows.Value) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	switch m.next {
	case m.broken:
		return errBroken
	case m.n:
		return io.EOF
	}
	i := int64(m.next)
	m.next++
	row[0] = rows.Value{Kind: rows.Int, Int: i}
	row[1] = rows.Value{Kind: rows.Text, Data: []byte("name " + strconv.FormatInt(i%100, 10))}
	row[2] = rows.Value{Kind: rows.Decimal, Data: []byte(strconv.FormatInt(i%50, 10) + ".50")}
	row[3] = rows.Value{Kind: rows.Float, Float: float64(i) / 4}
	row[4] = rows.Value{Kind: rows.Bool, Int: i % 2}
	row[5] = rows.Value{Kind: rows.Date, Int: i % 1000}
	row[6] = rows.Value{Kind: rows.Timestamp, Int: i * 1_000_000}
	if i%10 == 3 {
		row[1+i/10%6] = rows.Value{}
	}
	return nil
}

func (m *memory) Position() ([]byte, error) { return strconv.AppendInt(nil, int64(m.next), 10), nil }

func (m *memory) Progress() (done, total int64) {
	return int64(m.next), int64(m.n)
}

func (m *memory) Close() error {
	*m.open--
	return nil
}

// attempt runs one of the job.
func attempt(t *testing.T, r Request, n, broken int, options ...workertest.Option) *workertest.Recording {
	t.Helper()
	open := 0
	rec := workertest.Run(t.Context(), t, func(ctx context.Context, run *worker.Run, r Request) error {
		if err := r.Validate(); err != nil {
			return worker.Permanent(err)
		}
		return write(ctx, run, func(_ context.Context, position []byte) (rows.Source, error) {
			m := &memory{n: n, broken: broken, open: &open}
			if position != nil {
				at, err := strconv.Atoi(string(position))
				if err != nil {
					return nil, dataset.ErrPosition
				}
				m.next = at
			}
			open++
			return m, nil
		}, "memory", r)
	}, r, options...)
	if open != 0 {
		t.Errorf("%d sources are open", open)
	}
	return rec
}

// exported is the file and what the job says of it.
func exported(t *testing.T, rec *workertest.Recording) ([]byte, Summary) {
	t.Helper()
	if rec.State != engine.Succeeded {
		t.Fatalf("the job is %s: %v", rec.State, rec.Err)
	}
	var s Summary
	if err := json.Unmarshal(rec.Result, &s); err != nil {
		t.Fatal(err)
	}
	if len(rec.Artifacts) != 1 || rec.Artifacts[0].Name != s.Artifact {
		t.Fatalf("artifacts %v, result %v", rec.Artifacts, s)
	}
	file, err := rec.Artifact(t.Context(), s.Artifact)
	if err != nil {
		t.Fatal(err)
	}
	return file, s
}

func TestResumedExportEqualsUndisturbed(t *testing.T) {
	t.Parallel()
	const n = 110_000
	for _, r := range []Request{
		{Format: "csv"},
		{Format: "ndjson", Compression: "gzip"},
		{Format: "csv", Compression: "zstd"},
		{Format: "xlsx"},
		{Format: "parquet"},
		{Format: "csv", Filter: []Condition{{Column: "id", Is: "less", Value: "60000"}}},
	} {
		t.Run(r.Format+r.Compression, func(t *testing.T) {
			t.Parallel()
			whole, summary := exported(t, attempt(t, r, n, -1))
			broken := []int{1 + rand.IntN(1000), rand.IntN(n), rand.IntN(n), rand.IntN(n), n - 1}
			slices.Sort(broken)
			rec, checkpoints := attempt(t, r, n, 0), 0
			for _, at := range broken {
				rec = attempt(t, r, n, at, workertest.Resume(rec))
				checkpoints += len(rec.Checkpoints)
				if rec.State != engine.Retrying || !errors.Is(rec.Err, errBroken) || len(rec.Artifacts) > 0 {
					t.Fatalf("the job is %s with %d artifacts: %v", rec.State, len(rec.Artifacts), rec.Err)
				}
			}
			resumed, again := exported(t, attempt(t, r, n, -1, workertest.Resume(rec)))
			if !bytes.Equal(whole, resumed) || !reflect.DeepEqual(again, summary) {
				t.Errorf("attempts that broke off at rows %v left another file: %v, want %v", broken, again, summary)
			}
			if checkpoints == 0 {
				t.Error("no attempt made a checkpoint")
			}
		})
	}
}

func TestAnotherRequestBeginsAnew(t *testing.T) {
	t.Parallel()
	const n = 40_000
	rec := attempt(t, Request{Format: "csv"}, n, n-1)
	if len(rec.Checkpoints) == 0 {
		t.Fatal("no checkpoint")
	}
	r := Request{Format: "csv", Limit: 30_000}
	want, _ := exported(t, attempt(t, r, n, -1))
	if got, _ := exported(t, attempt(t, r, n, -1, workertest.Resume(rec))); !bytes.Equal(got, want) {
		t.Error("the file has rows of another request")
	}
}

func TestColumnsFilterAndLimit(t *testing.T) {
	t.Parallel()
	r := Request{
		Format: "csv", Name: "orders", Delimiter: ";", Columns: []string{"price", "id"}, Limit: 2,
		Filter: []Condition{{Column: "id", Is: "at_least", Value: "3"}, {Column: "name", Is: "contains", Value: "1"}},
	}
	file, s := exported(t, attempt(t, r, 100, -1))
	if want := "price;id\n10.50;10\n11.50;11\n"; string(file) != want {
		t.Errorf("%q, want %q", file, want)
	}
	if !reflect.DeepEqual(s, Summary{Artifact: "orders.csv", Rows: 2, Read: 12, Columns: 2}) {
		t.Errorf("%+v", s)
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	source := &memory{n: 60, broken: -1}
	table := make([][]rows.Value, source.n)
	for i := range table {
		table[i] = make([]rows.Value, len(columns))
		if err := source.Next(t.Context(), table[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		Condition
		want func(i int) bool
	}{
		{Condition{"id", "equal", "7"}, func(i int) bool { return i == 7 }},
		{Condition{"id", "not_equal", "7"}, func(i int) bool { return i != 7 }},
		{Condition{"name", "equal", "name 5"}, func(i int) bool { return i == 5 }},
		{Condition{"name", "is_null", ""}, func(i int) bool { return i == 3 }},
		{Condition{"name", "not_null", ""}, func(i int) bool { return i != 3 }},
		{Condition{"name", "not_equal", "x"}, func(i int) bool { return i != 3 }},
		{Condition{"price", "more", "9.5"}, func(i int) bool { return i%50 > 9 && i != 13 }},
		{Condition{"price", "at_most", "0010.500"}, func(i int) bool { return i%50 <= 10 }},
		{Condition{"price", "less", "-1"}, func(int) bool { return false }},
		{Condition{"weight", "at_least", "12.5"}, func(i int) bool { return i >= 50 }},
		{Condition{"paid", "equal", "true"}, func(i int) bool { return i%2 == 1 && i != 33 }},
		{Condition{"day", "less", "1970-01-11"}, func(i int) bool { return i < 10 }},
		{Condition{"at", "more", "1970-01-01T01:00:30+01:00"}, func(i int) bool { return i > 30 && i != 53 }},
	} {
		s, err := Request{Format: "csv", Filter: []Condition{c.Condition}}.selection(columns)
		if err != nil {
			t.Errorf("%v: %v", c.Condition, err)
			continue
		}
		for i, row := range table {
			if s.has(row) != c.want(i) {
				t.Errorf("%v selects row %d: %t", c.Condition, i, s.has(row))
			}
		}
	}
	for _, d := range [][]string{{"-10.5", "-10.4", "-2", "-0", "0.00", "0.1", "1", "2", "10", "10.01", "99999999999999999999"}} {
		for i, a := range d {
			for j, b := range d {
				want := max(-1, min(1, i-j))
				if min(i, j) == 3 && max(i, j) == 4 {
					want = 0
				}
				if got := compareDecimals([]byte(a), []byte(b)); got != want {
					t.Errorf("%s against %s: %d, want %d", a, b, got, want)
				}
			}
		}
	}
}

func TestWrongRequestsAreNamedAndPermanent(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]Request{
		`format "pdf"`:                     {Format: "pdf"},
		"delimiter: want one":              {Format: "csv", Delimiter: "ab"},
		"compression is an option":         {Format: "xlsx", Compression: "gzip"},
		"name: want at most":               {Format: "csv", Name: "../x"},
		"limit: -1":                        {Format: "csv", Limit: -1},
		`columns: the source has no`:       {Format: "csv", Columns: []string{"x"}},
		`columns: "id" is named twice`:     {Format: "csv", Columns: []string{"id", "id"}},
		"filter 1: the source has no":      {Format: "csv", Filter: []Condition{{"x", "is_null", ""}}},
		`filter 1: is: "like"`:             {Format: "csv", Filter: []Condition{{"id", "like", ""}}},
		"filter 1: value: is_null has":     {Format: "csv", Filter: []Condition{{"id", "is_null", "1"}}},
		"filter 1: value: it is no int":    {Format: "csv", Filter: []Condition{{"id", "equal", "secret"}}},
		"filter 1: value: it is no dec":    {Format: "csv", Filter: []Condition{{"price", "equal", "1e5"}}},
		"filter 1: value: it is no date":   {Format: "csv", Filter: []Condition{{"day", "equal", "x"}}},
		"filter 1: is: contains is for":    {Format: "csv", Filter: []Condition{{"id", "contains", "1"}}},
		"filter: 33 conditions":            {Format: "csv", Filter: make([]Condition, 33)},
		"filter 1: value: 4097 bytes, at ": {Format: "csv", Filter: []Condition{{"id", "equal", strings.Repeat("1", 4097)}}},
	} {
		rec := attempt(t, r, 1, -1)
		if rec.State != engine.Failed || rec.Error == nil || rec.Error.Code != engine.CodePermanent || !strings.Contains(rec.Err.Error(), want) || strings.Contains(rec.Err.Error(), "secret") {
			t.Errorf("the job is %s: %v, want %q", rec.State, rec.Err, want)
		}
	}
}
