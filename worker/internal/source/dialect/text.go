package dialect

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// Quote is a name as an SQL identifier, clipped to what an error may hold.
func Quote(name string) string { return Identifier(excerpt.Of(name, 100)) }

// Identifier is a name as an SQL identifier.
func Identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// SQL is a source's rows as a SELECT whose parameters are numbered by number, in the order of Params.
func (r *Request) SQL(number func(n int) string) (string, error) {
	if r.Table != "" {
		parts := strings.Split(r.Table, ".")
		for i, p := range parts {
			parts[i] = Identifier(p)
		}
		return "SELECT * FROM " + strings.Join(parts, "."), nil
	}
	names := make([]string, len(r.Params))
	for i, p := range r.Params {
		names[i] = p.Name
	}
	return Numbered(r.Query, names, number)
}

// Numbered replaces each :name of a query that names a parameter by its number. It leaves alone what
// is quoted and what is commented. An error says that the query and the parameters do not agree.
func Numbered(query string, names []string, number func(n int) string) (string, error) {
	var b strings.Builder
	used := make([]bool, len(names))
	for i := 0; i < len(query); {
		if n := opaque(query, i); n > 0 {
			b.WriteString(query[i : i+n])
			i += n
			continue
		}
		c := query[i]
		switch {
		case c == ';':
			return "", fmt.Errorf("it has a semicolon: want one SELECT and nothing after it")
		case c == '$' && i+1 < len(query) && query[i+1]-'0' <= 9:
			return "", fmt.Errorf("it has a parameter by number: write :name, and the name into params")
		case c == ':' && i+1 < len(query) && letter(query[i+1]):
			end := i + 1
			for end < len(query) && (letter(query[end]) || query[end]-'0' <= 9) {
				end++
			}
			name := query[i+1 : end]
			at := slices.Index(names, name)
			if at < 0 {
				return "", fmt.Errorf("it has the parameter :%s, which params do not name", excerpt.Of(name, 40))
			}
			used[at] = true
			b.WriteString(number(at + 1))
			i = end
			continue
		}
		b.WriteByte(c)
		i++
	}
	if at := slices.Index(used, false); at >= 0 {
		return "", fmt.Errorf("params name %s, and the query has no :%[1]s", names[at])
	}
	return b.String(), nil
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

// opaque is the length of what begins at i and holds no parameter: a text, a quoted name, a comment, a
// cast, or a word, since what follows a word may be none of its own.
func opaque(q string, i int) int {
	rest := q[i:]
	switch c := rest[0]; {
	case strings.HasPrefix(rest, "::"):
		return 2
	case strings.HasPrefix(rest, "--"):
		return until(rest, 2, "\n")
	case strings.HasPrefix(rest, "/*"):
		return comment(rest)
	case c == '\'', c == '"', c == '`':
		return quoted(rest, false)
	case letter(c):
		n := 1
		for n < len(rest) && (letter(rest[n]) || rest[n]-'0' <= 9 || rest[n] == '$') {
			n++
		}
		if n == 1 && c|0x20 == 'e' && len(rest) > 1 && rest[1] == '\'' {
			return 1 + quoted(rest[1:], true)
		}
		return n
	case c == '$':
		n := 1
		for n < len(rest) && (letter(rest[n]) || n > 1 && rest[n]-'0' <= 9) {
			n++
		}
		if n < len(rest) && rest[n] == '$' {
			return until(rest, n+1, rest[:n+1])
		}
	}
	return 0
}

// until is where the mark ends that comes at or after from; the whole without one.
func until(s string, from int, mark string) int {
	if at := strings.Index(s[from:], mark); at >= 0 {
		return from + at + len(mark)
	}
	return len(s)
}

// comment is the length of a comment, which may hold further ones as in Postgres. SQLite ends it at the
// first end, so a query with one in another is best written without.
func comment(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "/*"):
			depth++
			i++
		case strings.HasPrefix(s[i:], "*/"):
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// quoted is the length of a quoted text, in which the quote stands twice for itself.
func quoted(s string, escapes bool) int {
	for i := 1; i < len(s); i++ {
		switch {
		case escapes && s[i] == '\\':
			i++
		case s[i] == s[0]:
			if i+1 < len(s) && s[i+1] == s[0] {
				i++
				continue
			}
			return i + 1
		}
	}
	return len(s)
}

// columns are the key's columns, of the source named s.
func (r *Request) columns() []string {
	all := make([]string, len(r.Key))
	for i, name := range r.Key {
		all[i] = "s." + Identifier(name)
	}
	return all
}

// Statements are those that read a source. Their parameters are those of the query, and then the key.
type Statements struct {
	// All is every row, in no order.
	All string
	// Rows are the rows after the key in its order, selected as columns says, Count how many there are.
	// Both have the key's columns as further parameters where After is set.
	Rows, Count string
	// Nulls and Duplicates give a row each if the key is NULL or not unique somewhere.
	Nulls, Duplicates string
}

// Statements makes them of the SELECT that SQL returned. The line break ends a comment in it.
func (r *Request) Statements(sql string, number func(n int) string, columns string) Statements {
	key := r.columns()
	from := " FROM (" + sql + "\n) AS s"
	after := ""
	if r.After != nil {
		marks := make([]string, len(key))
		for i := range key {
			marks[i] = number(len(r.Params) + i + 1)
		}
		after = " WHERE (" + strings.Join(key, ", ") + ") > (" + strings.Join(marks, ", ") + ")"
	}
	list := strings.Join(key, ", ")
	return Statements{
		All:        "SELECT *" + from,
		Rows:       "SELECT " + columns + from + after + " ORDER BY " + list,
		Count:      "SELECT count(*)" + from + after,
		Nulls:      "SELECT 1" + from + " WHERE " + strings.Join(key, " IS NULL OR ") + " IS NULL LIMIT 1",
		Duplicates: "SELECT 1" + from + " GROUP BY " + list + " HAVING count(*) > 1 LIMIT 1",
	}
}

// NullKey and DuplicateKey say what is wrong with the declared key.
func (r *Request) NullKey() error {
	return r.Permanent("its key %s is NULL in some row: declare a key that is NOT NULL", r.KeyName())
}

// DuplicateKey says that the key is not unique.
func (r *Request) DuplicateKey() error {
	return r.Permanent("its key %s is the same in several rows: declare a key that is unique", r.KeyName())
}

// KeyName is the key for errors.
func (r *Request) KeyName() string {
	if len(r.Key) == 1 {
		return Quote(r.Key[0])
	}
	all := make([]string, len(r.Key))
	for i, name := range r.Key {
		all[i] = Quote(name)
	}
	return "(" + strings.Join(all, ", ") + ")"
}

// Dollar and Question number parameters as Postgres and SQLite do.
func Dollar(n int) string { return "$" + strconv.Itoa(n) }

// Question numbers a parameter as SQLite does.
func Question(n int) string { return "?" + strconv.Itoa(n) }
