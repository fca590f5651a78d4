package dialect

import (
	"strings"
	"testing"
)

func TestNumbered(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ query, want string }{
		{"a = :a AND b = :b OR c = :a", "a = $1 AND b = $2 OR c = $1"},
		{":a:b", "$1$2"},
		{"x::text = :a::text || (:b)", "x::text = $1::text || ($2)"},
		{"':a' || :a || '''' || :b", "':a' || $1 || '''' || $2"},
		{`":a" "x"":a" :a :b`, `":a" "x"":a" $1 $2`},
		{"`:a` :a :b", "`:a` $1 $2"},
		{`E'\':a' :a e'\\' :b`, `E'\':a' $1 e'\\' $2`},
		{`'\' :a '' :b`, `'\' $1 '' $2`},
		{`type':a' :a :b`, `type':a' $1 $2`},
		{"-- :a\n:a /* :a /* :b */ :a */ :b", "-- :a\n$1 /* :a /* :b */ :a */ $2"},
		{"$$ :a $$ :a $x$ :b $$ :a $x$ :b", "$$ :a $$ $1 $x$ :b $$ :a $x$ $2"},
		{"a$b$ :a x$$ :b", "a$b$ $1 x$$ $2"},
		{"y[1:2] || :a || :b -- ends :a", "y[1:2] || $1 || $2 -- ends :a"},
		{":a :b /* open :a", "$1 $2 /* open :a"},
		{":a :b '", "$1 $2 '"},
		{":a := :b", "$1 := $2"},
	} {
		got, err := Numbered(tc.query, []string{"a", "b"}, Dollar)
		if err != nil || got != tc.want {
			t.Errorf("%s\nbecomes %s, %v\nwant    %s", tc.query, got, err, tc.want)
		}
	}
	for _, tc := range []struct{ query, want string }{
		{"SELECT :a", "params name b, and the query has no :b"},
		{"SELECT :a, ':b' /* :b */", "params name b"},
		{"SELECT :a, :b, :cc", "it has the parameter :cc, which params do not name"},
		{"SELECT :a, :b, $1", "it has a parameter by number"},
		{"SELECT :a, :b; DROP TABLE t", "it has a semicolon"},
		{"SELECT :a, :b;", "it has a semicolon"},
	} {
		if got, err := Numbered(tc.query, []string{"a", "b"}, Dollar); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s becomes %s, %v", tc.query, got, err)
		}
	}
}

// However a query is broken, no part of it is read twice or lost.
func FuzzNumbered(f *testing.F) {
	for _, q := range []string{"SELECT ':a' $$ x", "/* /* */", "E'\\", "$x$ $", `"`, "::", ":é"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, q string) {
		got, err := Numbered(q, nil, Dollar)
		if err == nil && got != q {
			t.Errorf("%q becomes %q, without parameters", q, got)
		}
	})
}
