package source_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/worker/internal/source"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	good := func() sqlsource.Source {
		return sqlsource.Source{Name: "orders", URL: "postgres://u:canary@db/x", Query: "SELECT * FROM t WHERE a = :a", Key: []string{"id"}, Params: []string{"a"}}
	}
	if err := source.Validate([]sqlsource.Source{good()}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		spoil func(*sqlsource.Source)
		want  []string
	}{
		{"no name", func(c *sqlsource.Source) { c.Name = "" }, []string{"item 1: name: want lower-case letters"}},
		{"a name in capitals", func(c *sqlsource.Source) { c.Name = "Orders" }, []string{"Orders: name: want"}},
		{"no URL", func(c *sqlsource.Source) { c.URL = "" }, []string{"orders: url or url_file"}},
		{"two URLs", func(c *sqlsource.Source) { c.URLFile = "x" }, []string{"orders: url and url_file"}},
		{"another driver", func(c *sqlsource.Source) { c.URL = "mysql://u:canary@h/d" }, []string{"orders: url: want postgres://…, or sqlite:///path/to/file.db"}},
		{"a broken URL", func(c *sqlsource.Source) { c.URL = "postgres://u:canary@h:port/%zz" }, []string{"orders: url: want postgres://user:password@host:port/database"}},
		{"a keyword form", func(c *sqlsource.Source) { c.URL = "host=h password=canary" }, []string{"orders: url: want postgres://"}},
		{"an option of SQLite", func(c *sqlsource.Source) { c.URL = "sqlite:///x?mode=rwc" }, []string{"orders: url: want sqlite:///path/to/file.db"}},
		{"a host of SQLite", func(c *sqlsource.Source) { c.URL = "sqlite://host/x" }, []string{"orders: url: want sqlite:///path"}},
		{"no rows", func(c *sqlsource.Source) { c.Query = "" }, []string{"orders: table or query"}},
		{"a table and a query", func(c *sqlsource.Source) { c.Table = "t" }, []string{"orders: table and query"}},
		{"a table with parameters", func(c *sqlsource.Source) { c.Table, c.Query = "t", "" }, []string{"orders: params: a table has none"}},
		{"a table that is none", func(c *sqlsource.Source) { c.Table, c.Query, c.Params = "a.b.c", "", nil }, []string{"orders: table: want"}},
		{"a query that is none", func(c *sqlsource.Source) { c.Query = "DELETE FROM t WHERE a = :a" }, []string{"orders: query: want one SELECT"}},
		{"a query with more after it", func(c *sqlsource.Source) { c.Query += "; DELETE FROM t" }, []string{"orders: query: it has a semicolon"}},
		{"a long query", func(c *sqlsource.Source) { c.Query += strings.Repeat(" ", 64<<10) }, []string{"orders: query: 65564 bytes; at most 65536"}},
		{"an unknown parameter", func(c *sqlsource.Source) { c.Params = []string{"b"} }, []string{"orders: query: it has the parameter :a, which params do not name"}},
		{"an unused parameter", func(c *sqlsource.Source) { c.Params = []string{"a", "b"} }, []string{"orders: query: params name b"}},
		{"a parameter twice", func(c *sqlsource.Source) { c.Params = []string{"a", "a"} }, []string{`orders: params: "a" is named twice`, "orders: query: params name a"}},
		{"a parameter that is none", func(c *sqlsource.Source) { c.Params = []string{"a", "1;"} }, []string{`orders: params: "1;": want letters`, "orders: query: params name 1;"}},
		{"no key", func(c *sqlsource.Source) { c.Key = nil }, []string{"orders: key: want 1 to 8 columns"}},
		{"a key twice", func(c *sqlsource.Source) { c.Key = []string{"a", "a"} }, []string{`orders: key: "a" is named twice`}},
		{"an empty key", func(c *sqlsource.Source) { c.Key = []string{""} }, []string{`orders: key: "" is no column's name`}},
		{"too many connections", func(c *sqlsource.Source) { c.Connections = 101 }, []string{"orders: connections 101: want 1 to 100"}},
		{"a short timeout", func(c *sqlsource.Source) { c.Timeout = time.Millisecond }, []string{"orders: timeout 1ms: want 1s to 24h"}},
		{"everything", func(c *sqlsource.Source) { *c = sqlsource.Source{} }, []string{"item 1: name", "item 1: url or", "item 1: table or", "item 1: key"}},
	} {
		c := good()
		tc.spoil(&c)
		err := source.Validate([]sqlsource.Source{c})
		if err == nil {
			t.Errorf("%s is valid", tc.name)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(tc.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error is\n%v", tc.name, err)
			continue
		}
		for i, want := range tc.want {
			if !strings.HasPrefix(lines[i], "invalid Sources: "+want) {
				t.Errorf("%s: %s\nwant %s", tc.name, lines[i], want)
			}
		}
	}
	if err := source.Validate([]sqlsource.Source{good(), good()}); err == nil || err.Error() != "invalid Sources: orders: it is named twice" {
		t.Errorf("a name twice: %v", err)
	}
	if err := source.Validate(make([]sqlsource.Source, 101)); err == nil || !strings.Contains(err.Error(), "101 sources; at most 100") {
		t.Errorf("too many: %v", err)
	}
}
