package source_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/worker/internal/source"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	good := func() source.Config {
		return source.Config{Name: "orders", URL: "postgres://u:canary@db/x", Query: "SELECT * FROM t WHERE a = :a", Key: []string{"id"}, Params: []string{"a"}}
	}
	if err := source.Validate([]source.Config{good()}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		spoil func(*source.Config)
		want  []string
	}{
		{"no name", func(c *source.Config) { c.Name = "" }, []string{"item 1: name: want lower-case letters"}},
		{"a name in capitals", func(c *source.Config) { c.Name = "Orders" }, []string{"Orders: name: want"}},
		{"no URL", func(c *source.Config) { c.URL = "" }, []string{"orders: url or url_file"}},
		{"two URLs", func(c *source.Config) { c.URLFile = "x" }, []string{"orders: url and url_file"}},
		{"another driver", func(c *source.Config) { c.URL = "mysql://u:canary@h/d" }, []string{"orders: url: want postgres://…, or sqlite:///path/to/file.db"}},
		{"a broken URL", func(c *source.Config) { c.URL = "postgres://u:canary@h:port/%zz" }, []string{"orders: url: want postgres://user:password@host:port/database"}},
		{"a keyword form", func(c *source.Config) { c.URL = "host=h password=canary" }, []string{"orders: url: want postgres://"}},
		{"an option of SQLite", func(c *source.Config) { c.URL = "sqlite:///x?mode=rwc" }, []string{"orders: url: want sqlite:///path/to/file.db"}},
		{"a host of SQLite", func(c *source.Config) { c.URL = "sqlite://host/x" }, []string{"orders: url: want sqlite:///path"}},
		{"no rows", func(c *source.Config) { c.Query = "" }, []string{"orders: table or query"}},
		{"a table and a query", func(c *source.Config) { c.Table = "t" }, []string{"orders: table and query"}},
		{"a table with parameters", func(c *source.Config) { c.Table, c.Query = "t", "" }, []string{"orders: params: a table has none"}},
		{"a table that is none", func(c *source.Config) { c.Table, c.Query, c.Params = "a.b.c", "", nil }, []string{"orders: table: want"}},
		{"a query that is none", func(c *source.Config) { c.Query = "DELETE FROM t WHERE a = :a" }, []string{"orders: query: want one SELECT"}},
		{"a query with more after it", func(c *source.Config) { c.Query += "; DELETE FROM t" }, []string{"orders: query: it has a semicolon"}},
		{"a long query", func(c *source.Config) { c.Query += strings.Repeat(" ", 64<<10) }, []string{"orders: query: 65564 bytes; at most 65536"}},
		{"an unknown parameter", func(c *source.Config) { c.Params = []string{"b"} }, []string{"orders: query: it has the parameter :a, which params do not name"}},
		{"an unused parameter", func(c *source.Config) { c.Params = []string{"a", "b"} }, []string{"orders: query: params name b"}},
		{"a parameter twice", func(c *source.Config) { c.Params = []string{"a", "a"} }, []string{`orders: params: "a" is named twice`, "orders: query: params name a"}},
		{"a parameter that is none", func(c *source.Config) { c.Params = []string{"a", "1;"} }, []string{`orders: params: "1;": want letters`, "orders: query: params name 1;"}},
		{"no key", func(c *source.Config) { c.Key = nil }, []string{"orders: key: want 1 to 8 columns"}},
		{"a key twice", func(c *source.Config) { c.Key = []string{"a", "a"} }, []string{`orders: key: "a" is named twice`}},
		{"an empty key", func(c *source.Config) { c.Key = []string{""} }, []string{`orders: key: "" is no column's name`}},
		{"too many connections", func(c *source.Config) { c.Connections = 101 }, []string{"orders: connections 101: want 1 to 100"}},
		{"a short timeout", func(c *source.Config) { c.Timeout = time.Millisecond }, []string{"orders: timeout 1ms: want 1s to 24h"}},
		{"everything", func(c *source.Config) { *c = source.Config{} }, []string{"item 1: name", "item 1: url or", "item 1: table or", "item 1: key"}},
	} {
		c := good()
		tc.spoil(&c)
		err := source.Validate([]source.Config{c})
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
	if err := source.Validate([]source.Config{good(), good()}); err == nil || err.Error() != "invalid Sources: orders: it is named twice" {
		t.Errorf("a name twice: %v", err)
	}
	if err := source.Validate(make([]source.Config, 101)); err == nil || !strings.Contains(err.Error(), "101 sources; at most 100") {
		t.Errorf("too many: %v", err)
	}
}
