package source

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/internal/option"
	"github.com/tidemark-dev/tidemark/worker/internal/source/dialect"
	"github.com/tidemark-dev/tidemark/worker/internal/source/postgres"
	"github.com/tidemark-dev/tidemark/worker/internal/source/sqlite"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// The defaults and bounds of a source.
const (
	DefaultConnections = 4
	DefaultTimeout     = 10 * time.Minute

	maxSources     = 100
	maxURLBytes    = 4 << 10
	maxQueryBytes  = 64 << 10
	maxNameBytes   = 255
	maxKeyColumns  = 8
	maxParams      = 32
	maxParamBytes  = 4 << 10
	maxTopics      = 1000
	connectTimeout = 15 * time.Second
)

var (
	nameForm  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	paramForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,39}$`)
	readForm  = regexp.MustCompile(`(?i)^(\s|--[^\n]*\n|/\*[^*]*\*/|\()*(select|with|values)\b`)
)

// Validate says everything that is wrong with sources, each fault as an *option.Error.
func Validate(all []sqlsource.Source) error {
	if len(all) > maxSources {
		return option.Invalid("Sources", nil, "%d sources; at most %d", len(all), maxSources)
	}
	var wrong []error
	seen := map[string]bool{}
	for i, c := range all {
		complain := func(format string, args ...any) {
			wrong = append(wrong, option.Invalid("Sources", nil, "%s: %s", cmp.Or(clip(c.Name), fmt.Sprintf("item %d", i+1)), fmt.Sprintf(format, args...)))
		}
		if !nameForm.MatchString(c.Name) {
			complain("name: want lower-case letters, digits, _ and -, at most 64, and the first no sign")
		} else if seen[c.Name] {
			complain("it is named twice")
		}
		seen[c.Name] = true
		validate(c, complain)
	}
	return errors.Join(wrong...)
}

func validate(c sqlsource.Source, complain func(format string, args ...any)) {
	switch {
	case c.URL == "" && c.URLFile == "":
		complain("url or url_file: one of them says where the database is")
	case c.URL != "" && c.URLFile != "":
		complain("url and url_file: want one of them")
	case c.URL != "":
		if _, err := driverOf(c.URL); err != nil {
			complain("url: %v", err)
		}
	}
	switch {
	case c.Table == "" && c.Query == "":
		complain("table or query: one of them says which rows it has")
	case c.Table != "" && c.Query != "":
		complain("table and query: want one of them")
	case c.Table != "":
		validateTable(c, complain)
	default:
		validateQuery(c, complain)
	}
	if n := len(c.Key); n == 0 || n > maxKeyColumns {
		complain("key: want 1 to %d columns that together are unique and NOT NULL; the rows come in their order", maxKeyColumns)
	}
	for i, k := range c.Key {
		if !identifier(k) {
			complain("key: %q is no column's name", clip(k))
		}
		if slices.Index(c.Key, k) < i {
			complain("key: %q is named twice", clip(k))
		}
	}
	validateTopics(c, complain)
	if c.Connections < 0 || c.Connections > 100 {
		complain("connections %d: want 1 to 100", c.Connections)
	}
	if c.Timeout != 0 && (c.Timeout < time.Second || c.Timeout > 24*time.Hour) {
		complain("timeout %s: want 1s to 24h", c.Timeout)
	}
}

func validateTopics(c sqlsource.Source, complain func(format string, args ...any)) {
	if n := len(c.Topics); n > maxTopics {
		complain("topics: %d of them; at most %d: name all of a kind, such as team:*", n, maxTopics)
		return
	}
	for _, t := range c.Topics {
		one, kind := strings.CutSuffix(t, ":*")
		if kind {
			one += ":any"
		}
		if _, err := wire.ParseTopic(one); err != nil && t != "*" {
			complain("topics: %q: want a topic, such as user:42, all of a kind, such as team:*, or *", clip(t))
		}
	}
}

func validateTable(c sqlsource.Source, complain func(format string, args ...any)) {
	parts := strings.Split(c.Table, ".")
	if len(parts) > 2 || slices.ContainsFunc(parts, func(p string) bool { return !identifier(p) }) {
		complain("table: want a table's name as the database writes it, with a dot after its schema if it has one")
	}
	if len(c.Params) > 0 {
		complain("params: a table has none; write a query that names them")
	}
}

func validateQuery(c sqlsource.Source, complain func(format string, args ...any)) {
	if len(c.Params) > maxParams {
		complain("params: %d of them; at most %d", len(c.Params), maxParams)
		return
	}
	for i, p := range c.Params {
		if !paramForm.MatchString(p) {
			complain("params: %q: want letters, digits and _, at most 40, the first no digit", clip(p))
		}
		if slices.Index(c.Params, p) < i {
			complain("params: %q is named twice", p)
		}
	}
	switch {
	case len(c.Query) > maxQueryBytes:
		complain("query: %d bytes; at most %d", len(c.Query), maxQueryBytes)
	case !utf8.ValidString(c.Query) || strings.ContainsRune(c.Query, 0):
		complain("query: want UTF-8 without NUL")
	case !readForm.MatchString(c.Query):
		complain("query: want one SELECT")
	default:
		if _, err := dialect.Numbered(c.Query, c.Params, dialect.Dollar); err != nil {
			complain("query: %v", err)
		}
	}
}

func identifier(s string) bool {
	return s != "" && len(s) <= maxNameBytes && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// The drivers.
const (
	Postgres = "postgres"
	SQLite   = "sqlite"
)

var errScheme = errors.New("want postgres://…, or sqlite:///path/to/file.db")

// driverOf says which driver a URL is for. Its error quotes nothing of the URL.
func driverOf(url string) (string, error) {
	scheme, _, _ := strings.Cut(url, ":")
	switch {
	case len(url) > maxURLBytes:
		return "", errScheme
	case scheme == "postgres", scheme == "postgresql":
		return Postgres, postgres.Check(url)
	case scheme == "sqlite":
		_, err := sqlite.Path(url)
		return SQLite, err
	}
	return "", errScheme
}

// url is the source's URL, read anew from its file, whose content may change.
func (c *entry) url() (string, error) {
	if c.URL != "" {
		return c.URL, nil
	}
	fail := func(format string, args ...any) (string, error) {
		return "", &dialect.Error{Source: c.Name, Reason: fmt.Sprintf(format, args...)}
	}
	f, err := os.Open(c.URLFile)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fail("its url_file is not there")
	case err != nil:
		return fail("its url_file cannot be read")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxURLBytes+1))
	if err != nil {
		return fail("its url_file cannot be read")
	}
	return strings.TrimSpace(string(text)), nil
}

// Startable says what would keep this machine from opening a source: a file that is not there. It
// connects to nothing.
func Startable(c sqlsource.Source) error {
	r := &dialect.Request{Source: c.Name}
	driver, err := (&entry{Source: c}).locate(r)
	if err == nil && driver == SQLite {
		err = sqlite.Readable(r)
	}
	return err
}
