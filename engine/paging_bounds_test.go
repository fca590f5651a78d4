package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/internal/redistest"
)

// A list of large jobs comes in pages of bytes, and where jobs are gone pages may be empty:
// it is whole all the same.
func TestPagesAreBoundedInBytesToo(t *testing.T) {
	onEachRedis(t, func(t *testing.T, url string) {
		e := open(t, url, nil)
		labels := map[string]string{}
		for i := range 16 {
			labels[fmt.Sprintf("l%d", i)] = strings.Repeat("x", 256)
		}
		var want []engine.JobID
		for range 40 {
			got, err := e.Enqueue(soon(t), engine.Spec{Topic: "user:42", Type: "export", Labels: labels})
			must(t, err)
			want = append(want, got.ID)
		}
		slices.Sort(want)
		slices.Reverse(want)
		list := func(f engine.Filter) {
			pages, got := 0, []engine.JobID(nil)
			for q := (engine.JobsQuery{Filter: f, Limit: 500}); pages == 0 || q.After != ""; pages++ {
				page, err := e.Jobs(soon(t), "user:42", q)
				must(t, err)
				size := 0
				for _, v := range page.Jobs {
					size += len(v.JSON)
				}
				if size > 60<<10 || len(page.Jobs) == 0 {
					t.Errorf("a page of %d jobs and %d bytes", len(page.Jobs), size)
				}
				got, q.After = append(got, idsOf(page.Jobs)...), page.Next
			}
			if pages < 3 || !slices.Equal(got, want) {
				t.Errorf("%d pages list %d jobs, want 3 and more, and %d jobs", pages, len(got), len(want))
			}
		}
		list(engine.Filter{})
		e.Rewrite(smallPages...)
		list(engine.Filter{Type: "export"}) // in several calls a page
	})
}

// What is no String of a Paging is refused, and none of it makes a page that is not one.
func TestPagingsThatAreRefused(t *testing.T) {
	e := open(t, redistest.Server(t).URL(), nil)
	job := enqueue(t, e)
	p, err := stream.NewPaging("1-1", 5, engine.Filter{})
	must(t, err)
	if _, _, err := e.SnapshotPart(soon(t), "user:42", &p); err != nil {
		t.Fatal(err)
	}
	good := p.String()
	if read, err := stream.ParsePaging(good); err != nil || read != p {
		t.Errorf("%s is read as %s, %v", good, read, err)
	}
	fields := strings.Split(good, ",")
	for i := range fields {
		for _, bad := range []string{"x", "-1", "9007199254740993", "live:" + string(job[:5]), "ended:x", "1e3", "\n"} {
			f := slices.Clone(fields)
			f[i] = bad
			if i == 2 || i == 4 || i == 5 {
				continue // a mark that is not 1 is none
			}
			if _, err := stream.ParsePaging(strings.Join(f, ",")); !errors.Is(err, engine.ErrInvalid) {
				t.Errorf("field %d as %q: %v", i, bad, err)
			}
		}
	}
	for _, bad := range []string{"", ",", good + ",", strings.Repeat("x", 10_000)} {
		if _, err := stream.ParsePaging(bad); !errors.Is(err, engine.ErrInvalid) || len(err.Error()) > 200 {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}
