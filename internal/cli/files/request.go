package files

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
	"github.com/tidemark-dev/tidemark/worker/export"
)

// flags declares what an export takes; complete reads it.
func (x *exporting) flags(cmd *cobra.Command) {
	f, r := cmd.Flags(), &x.payload.Request
	f.StringVar((*string)(&x.payload.Dataset), "dataset", "", "export the dataset of this `JOB` instead of a file")
	f.StringVar(&x.payload.Source, "source", "", "export the SQL source of this `NAME` instead of a file")
	f.StringArrayVar(&x.params, "param", nil, "the value of a source's parameter, as `NAME=VALUE`; once for each")
	f.StringVarP(&x.output, "output", "o", "", "the `OUT` file (default: FILE's or the source's name, or \"export\", with the format's ending)")
	f.BoolVar(&x.force, "force", false, "replace OUT if it exists")
	f.StringVar(&r.Format, "format", "", "csv, ndjson, xlsx or parquet (default that of OUT's ending)")
	f.StringVar(&r.Compression, "compression", "", "of csv and ndjson: gzip or zstd (default that of OUT's ending)")
	f.StringVar(&r.Delimiter, "delimiter", "", "of csv: a comma, a semicolon, a tab or a bar")
	f.BoolVar(&r.CRLF, "crlf", false, "of csv: lines that end in CR LF")
	f.BoolVar(&r.NoHeader, "no-header", false, "of csv and xlsx: no names of columns")
	f.BoolVar(&r.RunFormulas, "run-formulas", false, "of csv: texts as they are, although a spreadsheet runs some of them as formulas")
	f.StringSliceVar(&r.Columns, "columns", nil, "the `COLUMNS` of the file, in that order, with commas between (default all)")
	f.StringArrayVar(&x.filter, "filter", nil, "only rows of which this `CONDITION` holds, such as \"total at_least 12.50\"; given several times, all of them")
	f.Int64Var(&r.Limit, "limit", 0, "how many `ROWS` at most (default all)")
}

// endings of files, by format, and of packed ones.
var (
	formats      = map[string]string{".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".xlsx": "xlsx", ".parquet": "parquet"}
	compressions = map[string]string{".gz": "gzip", ".zst": "zstd"}
)

// complete reads the arguments, and checks what can be checked without the rows.
func (x *exporting) complete(args []string) (err error) {
	p := &x.payload
	if len(args) == 1 {
		x.file = args[0]
	}
	named := 0
	for _, from := range []string{x.file, string(p.Dataset), p.Source} {
		if from != "" {
			named++
		}
	}
	if named != 1 {
		return session.Usage("name one FILE, or a dataset with --dataset, or a SQL source with --source; \"tidemark datasets\" and \"tidemark sources\" list those")
	}
	if len(x.params) > 0 && p.Source == "" {
		return session.Usage("--param: only a --source has parameters")
	}
	for _, param := range x.params {
		name, value, ok := strings.Cut(param, "=")
		if !ok {
			return session.Usage("--param %.80q: want NAME=VALUE", param)
		}
		if p.Params == nil {
			p.Params = map[string]string{}
		}
		p.Params[name] = value
	}
	if p.Dataset != "" {
		if _, err := engine.ParseJobID(string(p.Dataset)); err != nil {
			return session.Usage("--dataset: %w", err)
		}
	}
	for _, text := range x.filter {
		c, err := export.ParseCondition(text)
		if err != nil {
			return session.Usage("--filter %.80q: %w", text, err)
		}
		p.Filter = append(p.Filter, c)
	}
	ending, packed := endingOf(x.output)
	if p.Format == "" {
		p.Format = formats[ending]
	}
	if p.Format == "" {
		return session.Usage("the ending of --output %q is of no format; name one with --format csv, ndjson, xlsx or parquet", x.output)
	}
	if p.Compression == "" {
		p.Compression = compressions[packed]
	}
	if err := p.Request.Validate(); err != nil {
		return session.Usage("export: %w", err)
	}
	if x.output == "" {
		x.output = x.named()
	}
	for _, written := range []string{x.output, x.output + partSuffix} {
		if x.file != "" && sameFile(written, x.file) {
			return session.Usage("%s would be written over FILE; name another one with --output", written)
		}
	}
	return nil
}

// sameFile reports whether two names are of one file, which may have several.
func sameFile(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	is, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(is, other)
}

// endingOf is the ending of a name that tells the format, and the one behind it that tells how it is packed.
func endingOf(name string) (ending, packed string) {
	ending = strings.ToLower(filepath.Ext(name))
	if compressions[ending] != "" {
		packed = ending
		ending = strings.ToLower(filepath.Ext(name[:len(name)-len(packed)]))
	}
	return ending, packed
}

// named is the name of a file for which none was given.
func (x *exporting) named() string {
	base := filepath.Base(cmp.Or(x.file, x.payload.Source, "export"))
	if ending, packed := endingOf(base); formats[ending] != "" {
		base = base[:len(base)-len(ending)-len(packed)]
	}
	name := fmt.Sprintf("%s.%s", base, x.payload.Format)
	for ending, compression := range compressions {
		if compression == x.payload.Compression {
			name += ending
		}
	}
	return name
}
