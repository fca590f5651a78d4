package analysis

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Of each kind of file that readers of CSV read wrong, the smallest.
var cases = map[string]struct {
	told
	warnings string // codes, sorted, with the columns that they are about
	columns  string // types
}{
	"title.csv":                {told: told{above: 2}, columns: "integer string integer", warnings: "skipped"},
	"title-blank.csv":          {told: told{above: 1}, columns: "string string", warnings: "skipped"},
	"title-padded.csv":         {told: told{above: 2}, columns: "integer string integer", warnings: "skipped"},
	"title-semicolon.csv":      {told: told{above: 1, delimiter: ';'}, columns: "string integer number", warnings: "skipped"},
	"comments.csv":             {told: told{above: 2}, columns: "date number integer", warnings: "skipped"},
	"comment-is-header.tsv":    {told: told{above: 1, delimiter: '\t'}, columns: "integer integer string", warnings: "skipped"},
	"commas.tsv":               {told: told{delimiter: '\t'}, columns: "string integer"},
	"quotes.tsv":               {told: told{delimiter: '\t', literal: true}, columns: "integer string integer"},
	"quoted.tsv":               {told: told{delimiter: '\t'}, columns: "integer string integer"},
	"quoted-throughout.tsv":    {told: told{delimiter: '\t'}, columns: "integer string"},
	"bars.psv":                 {told: told{delimiter: '|', literal: true}, columns: "integer string string"},
	"sep.csv":                  {told: told{above: 1, delimiter: ';'}, columns: "integer mixed", warnings: "numbers_as_text:amount"},
	"sep-mark.csv":             {told: told{above: 1, delimiter: '|'}, columns: "integer integer"},
	"sep-colon.csv":            {told: told{above: 1, delimiter: ':'}, columns: "integer integer"},
	"codes.csv":                {columns: "string string string string string integer"},
	"padded-among-numbers.csv": {columns: "mixed"},
	"long-ids.csv":             {columns: "number integer", warnings: "rounded:id"},
	"hashes.csv":               {columns: "mixed integer"},
	"returns.csv":              {told: told{returns: true}, columns: "integer string number"},
	"trailing.csv":             {columns: "integer integer"},
	"trailing-header.csv":      {columns: "integer integer null"},
	"missing.csv":              {columns: "string integer number date boolean", warnings: "missing:beds missing:full missing:opened missing:rate"},
	"countries.csv":            {columns: "string integer"},
	"western.csv":              {told: told{encoding: western, name: "windows-1252"}, columns: "string string", warnings: "encoding"},
	"utf16le.csv":              {told: told{encoding: utf16LE, name: "utf-16le", delimiter: ';'}, columns: "string integer"},
	"utf16be-bare.csv":         {told: told{encoding: utf16BE, name: "utf-16be", delimiter: ';'}, columns: "string integer"},
	"overflow.csv":             {columns: "number"},
	"dressed.csv":              {told: told{delimiter: ';'}, columns: "string mixed string string", warnings: "numbers_as_text:cost numbers_as_text:price numbers_as_text:share numbers_as_text:total"},
	"ragged.csv":               {columns: "integer integer", warnings: "ragged"},
	"index.csv":                {columns: "integer string number"},
	"bmi.csv":                  {columns: "number integer"},
}

func TestFilesThatAreReadWrong(t *testing.T) {
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(filepath.Join("testdata", "cases", name))
			if err != nil {
				t.Fatal(err)
			}
			payload := Payload{Name: name}
			p, err := Analyze(t.Context(), bytes.NewReader(data), payload, Options{})
			if err != nil {
				t.Fatal(err)
			}
			tt.check(t, p, data)
			var types, warnings []string
			for _, c := range p.Columns {
				types = append(types, c.Type)
			}
			for _, w := range p.Warnings {
				warnings = append(warnings, strings.TrimSuffix(w.Code+":"+w.Column, ":"))
			}
			slices.Sort(warnings)
			if got := strings.Join(types, " "); got != tt.columns {
				t.Errorf("columns are %s, want %s", got, tt.columns)
			}
			if got := strings.Join(warnings, " "); got != tt.warnings {
				t.Errorf("warnings are %q, want %q: %+v", got, tt.warnings, p.Warnings)
			}
			want, err := p.encode()
			if err != nil {
				t.Fatal(err)
			}
			for cut := 1; cut < len(data); cut += 1 + len(data)/40 {
				if got, err := analyseInPieces(data, payload, mustOptions(t), []int{cut}); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("cut at %d: %v\n%s", cut, err, got)
				}
			}
		})
	}
}

// What is lost in a file is counted; the recount has no part in what nobody can read.
func TestDamagedTextIsSaid(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "cases", "damaged.csv"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Analyze(t.Context(), bytes.NewReader(data), Payload{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Rows != 4 || p.Encoding != "utf-8" || len(p.Warnings) != 1 || p.Warnings[0].Code != WarnDamaged || p.Warnings[0].Count != 2 {
		t.Errorf("%d rows, %s, warnings %+v", p.Rows, p.Encoding, p.Warnings)
	}
}

func TestOneColumnOfProseStaysOne(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "cases", "one-column.csv"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Analyze(t.Context(), bytes.NewReader(data), Payload{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Rows != 2 || p.Columns[0].Name != "note" || p.Skipped != 0 || len(p.Warnings) != 1 || p.Warnings[0].Code != WarnRagged {
		t.Errorf("%d rows, column %q, %d skipped, warnings %+v", p.Rows, p.Columns[0].Name, p.Skipped, p.Warnings)
	}
}

func TestJSONThatIsNoNDJSONIsRefused(t *testing.T) {
	for name, command := range map[string]string{"pretty.jsonl": "jq -c . FILE", "array.json": "jq -c '.[]' FILE"} {
		data, err := os.ReadFile(filepath.Join("testdata", "cases", name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Analyze(t.Context(), bytes.NewReader(data), Payload{Name: name}, Options{})
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), command) {
			t.Errorf("%s: %v, want ErrInput that says %s", name, err, command)
		}
	}
}
