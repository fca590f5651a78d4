package config_test

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

const sourcesFile = `sources:
  - name: orders
    url: postgres://reader:canary@db.example:5432/shop?sslmode=verify-full
    query: |
      SELECT * FROM orders
      WHERE ordered_at >= :Since -- a comment
    key: [Id, line]
    params: [Since]
    topics: [user:42, "team:*"]
    connections: 2
    timeout: 90s
  - {name: parts, url: "sqlite:///var/lib/parts.db", table: main.parts, key: [id]}
  - {name: people, url_file: /etc/tidemark/people.url, table: people, key: [id]}
`

func TestSources(t *testing.T) {
	want := []sqlsource.Source{{
		Name: "orders", URL: "postgres://reader:canary@db.example:5432/shop?sslmode=verify-full",
		Query: "SELECT * FROM orders\nWHERE ordered_at >= :Since -- a comment\n",
		// As they are written, which viper would not leave the keys of a map.
		Key: []string{"Id", "line"}, Params: []string{"Since"}, Topics: []string{"user:42", "team:*"}, Connections: 2, Timeout: 90 * time.Second,
	}, {
		Name: "parts", URL: "sqlite:///var/lib/parts.db", Table: "main.parts", Key: []string{"id"},
	}, {
		Name: "people", URLFile: "/etc/tidemark/people.url", Table: "people", Key: []string{"id"},
	}}
	c := loaded(t, sourcesFile, nil)
	if !reflect.DeepEqual(c.Sources, want) {
		t.Errorf("%+v\nwant\n%+v", c.Sources, want)
	}
	shown := effective(t, c, "sources").Value
	if strings.Contains(shown, "canary") || !strings.Contains(shown, `"url":"postgres://reader:xxxxx@db.example:5432/shop?`) || !strings.Contains(shown, `"url":"sqlite:///var/lib/parts.db"`) {
		t.Errorf("config print shows %s", shown)
	}
	text := strings.TrimPrefix(sourcesFile, "sources:\n")
	for name, c := range map[string]*config.Config{
		"a variable": loaded(t, "", map[string]string{"TIDEMARK_SOURCES": text}),
		"--set":      loaded(t, "", nil, "--set", "sources="+text),
	} {
		if !reflect.DeepEqual(c.Sources, want) {
			t.Errorf("from %s: %+v", name, c.Sources)
		}
	}
}

func TestSourcesThatAreRefused(t *testing.T) {
	const form = "; want a list of sources, each with a name, url or url_file, table or query, and key"
	item := func(more string) string {
		return "{name: a, url: 'postgres://u:canary@h/d', table: t, key: [id]" + more + "}"
	}
	for _, tc := range []struct{ name, sources, want string }{
		{"no list", "5", "no list" + form},
		{"a map", "{orders: {url: 'postgres://u:canary@h/d'}}", "no list" + form},
		{"no source", "['postgres://u:canary@h/d']", "item 1: no source" + form},
		{"an unknown member", "[" + item(", password: canary") + "]", `item 1: unknown field "password"` + form},
		{"a text for a list", "[{name: a, key: id}]", "item 1: key: a string" + form},
		{"a number for a text", "[" + item(", timeout: 5") + "]", "item 1: timeout: a number where a text is wanted; put it into quotes" + form},
		{"a timeout without a unit", "[" + item(", timeout: '5'") + "]", "a: timeout: want a duration"},
		{"a topic that is none", "[" + item(", topics: [user:*, 'team*']") + "]", `a: topics: "team*": want a topic, such as user:42, all of a kind, such as team:*, or *`},
		{"another database", "[{name: a, url: 'mysql://u:canary@h/d', table: t, key: [id]}]", "a: url: want postgres://"},
		{
			"two faults", "[{name: a, url: 'postgres://u:canary@h/d', table: t}, {name: b, table: t, key: [id]}]",
			"a: key: want 1 to 8 columns that together are unique and NOT NULL; the rows come in their order\ntidemark.yaml:1: sources: b: url or url_file",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := load(t, "sources: "+tc.sources+"\n", nil)
			if !errors.Is(err, config.ErrInvalid) || !strings.HasPrefix(err.Error(), "tidemark.yaml:1: sources: ") || !strings.Contains(err.Error(), tc.want) ||
				strings.Count(err.Error(), "\n") != strings.Count(tc.want, "\n") || strings.Contains(err.Error(), "canary") {
				t.Errorf("the error is\n\t%v\nwant one line with\n\t%s", err, tc.want)
			}
		})
	}
}

// `config check` names the files of sources that are not there, each on a line.
func TestSourcesThatCannotStart(t *testing.T) {
	c := loaded(t, `sources:
  - {name: a, url: "sqlite:none.db", table: t, key: [id]}
  - {name: b, url_file: none.url, table: t, key: [id]}
  - {name: c, url_file: some.url, table: t, key: [id]}
  - {name: d, url: "sqlite:some.url", table: t, key: [id]}
`, nil)
	if err := os.WriteFile("some.url", []byte("mysql://u:canary@h/d"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := c.Startable(t.Context())
	const want = "tidemark.yaml:1: sources: source a: the file that its URL names is not there\n" +
		"tidemark.yaml:1: sources: source b: its url_file is not there\n" +
		"tidemark.yaml:1: sources: source c: its url_file: want postgres://…, or sqlite:///path/to/file.db"
	if err == nil || err.Error() != want {
		t.Errorf("the problems are\n%v\nwant\n%s", err, want)
	}
}
