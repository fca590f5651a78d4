package analysis

import (
	"fmt"
	"strings"

	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// A Warning says what about a file may not be as it was meant, and how it was read.
type Warning struct {
	// Code is one of those below.
	Code string `json:"code"`
	// Column is the name of the column that it is about; empty for the whole file.
	Column string `json:"column,omitempty"`
	// Count is of rows, lines, names or values, as the code says.
	Count int64 `json:"count,omitempty"`
	// Message is a sentence or two for people.
	Message string `json:"message"`
}

// Codes of warnings.
const (
	WarnSheets   = "sheets"          // a workbook has further sheets, which were not read
	WarnEncoding = "encoding"        // the file is no UTF-8 and was read as Windows-1252
	WarnSkipped  = "skipped"         // lines above the header were left out
	WarnRagged   = "ragged"          // more than half of the rows are ragged
	WarnDamaged  = "damaged"         // rows have characters that are lost
	WarnNamesCut = "names_cut"       // names of columns are cut
	WarnMissing  = "missing"         // words stand for missing values
	WarnDressed  = "numbers_as_text" // what may be numbers counts as text
	WarnRounded  = "rounded"         // whole numbers are beyond 64 bits
	WarnMore     = "more"            // warnings that are left out

	// What a column's values may mean. Columns of few rows have none of these.
	WarnDuplicates = "duplicates"  // rows repeat earlier ones
	WarnConstant   = "constant"    // all values are the same
	WarnMostlyNull = "mostly_null" // more than half of the rows have no value
	WarnMixed      = "mixed"       // values are of several types
	WarnOutliers   = "outliers"    // numbers are beyond Tukey's outer fences
)

// fewValues are too few to say anything of them.
const fewValues = 20

// maxWarnings bounds a profile's, the last of which counts those that are left out.
const maxWarnings = 50

func (st *State) warnings(p *Profile) []Warning {
	all := st.fileWarnings()
	for i, c := range st.columns {
		all = append(all, c.warnings(p.Columns[i].Name)...)
	}
	for i := range p.Columns {
		all = append(all, p.Columns[i].remarks(p.Rows)...)
	}
	if len(all) > maxWarnings {
		more := int64(len(all) - maxWarnings + 1)
		all = append(all[:maxWarnings-1], Warning{Code: WarnMore, Count: more, Message: fmt.Sprintf("There are %d more warnings about columns.", more)})
	}
	return all
}

func (st *State) fileWarnings() (all []Warning) {
	add := func(code string, n uint64, format string, args ...any) {
		all = append(all, Warning{Code: code, Count: int64(n), Message: fmt.Sprintf(format, args...)})
	}
	if st.sheets > 1 {
		add(WarnSheets, uint64(st.sheets), "The workbook has %d sheets, of which the first was read. Save the others as workbooks of their own.", st.sheets)
	}
	if st.dialect.Encoding == table.Windows1252 {
		add(WarnEncoding, 0, "The file is not UTF-8 and was read as Windows-1252. If letters look wrong, save it as UTF-8 and analyze it again.")
	}
	if n := uint64(st.dialect.Skipped); n > 0 {
		of := "that are"
		if n == 1 {
			of = "that is"
		}
		add(WarnSkipped, n, "The table begins below %s %s left out.", count(n, "line"), of)
	}
	if st.ragged > st.rows/2 {
		add(WarnRagged, st.ragged, "%d of %s have more or fewer fields than there are columns. What lacks counts as missing, and what is over is left out.", st.ragged, count(st.rows, "row"))
	}
	if st.damaged > 0 {
		add(WarnDamaged, st.damaged, "Characters are lost in %s, and show as \uFFFD.", count(st.damaged, "row"))
	}
	if st.cutNames > 0 {
		add(WarnNamesCut, st.cutNames, "The names of %s are cut: all names may take %d bytes together.", count(st.cutNames, "column"), maxNameBytes)
	}
	if d := st.duplicates(); d.Rows > d.Error && st.rows >= fewValues && len(st.columns) > 1 {
		about := "About "
		if d.Exact {
			about = ""
		}
		add(WarnDuplicates, uint64(d.Rows), "%s%s an earlier row.", about, verb(uint64(d.Rows), "row", "repeats", "repeat"))
	}
	return all
}

// remarks are about values that were read as they were meant.
func (c *ColumnProfile) remarks(rows int64) (all []Warning) {
	add := func(code string, n int64, format string, args ...any) {
		all = append(all, Warning{Code: code, Column: c.Name, Count: n, Message: fmt.Sprintf(format, args...)})
	}
	if rows < fewValues {
		return nil
	}
	switch values := rows - c.Nulls; {
	case values == 0:
		add(WarnMostlyNull, c.Nulls, "No row has a value.")
	case c.Nulls > rows/2:
		add(WarnMostlyNull, c.Nulls, "%d of %d rows have no value.", c.Nulls, rows)
	case values >= fewValues && c.DistinctExact && c.Distinct == 1 && (c.Types == nil || c.Types.Object+c.Types.Array == 0):
		add(WarnConstant, values, "All %d values are the same.", values)
	}
	if c.Type == "mixed" {
		add(WarnMixed, 0, "Values are of several types: %s.", c.Types.list())
	}
	if c.Number != nil && c.Number.Outliers != nil && c.Number.Outliers.Count > 0 {
		o := c.Number.Outliers
		about := "About "
		if o.Exact {
			about = ""
		}
		add(WarnOutliers, o.Count, "%s%s far from the others: below %s or above %s, three times the distance between the quartiles beyond them.",
			about, verb(uint64(o.Count), "value", "lies", "lie"), short(o.Below), short(o.Above))
	}
	return all
}

// list names the kinds that there are.
func (t *TypeCounts) list() string {
	var all []string
	for i, n := range []int64{t.Boolean, t.Integer, t.Number, t.Date, t.Timestamp, t.String, t.Object, t.Array} {
		if n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n, kindNames[i]))
		}
	}
	return strings.Join(all, ", ")
}

func (c *column) warnings(name string) (all []Warning) {
	add := func(code string, n uint64, format string, args ...any) {
		all = append(all, Warning{Code: code, Column: name, Count: int64(n), Message: fmt.Sprintf(format, args...)})
	}
	of := c.settle()
	if of.missing > 0 {
		var words []string
		for i, word := range table.Placeholders {
			if c.placeholders&(1<<i) != 0 {
				words = append(words, word)
			}
		}
		add(WarnMissing, of.missing, "%s as missing: %s.", valuesAre(of.missing), strings.Join(words, " "))
	}
	if n := c.counts[table.Dressed]; n > of.counts[table.Text]/2 && !of.codes {
		add(WarnDressed, n, "%s as text, but may be numbers: they have %s. Write them with a decimal point and nothing else to have figures of them.",
			valuesAre(n), strings.Join(c.dress.Names(), " or "))
	}
	if c.long && !of.codes && c.numbers() > c.texts() {
		add(WarnRounded, 0, "Whole numbers beyond 64 bits are rounded in its range and figures.")
	}
	return all
}

// verb writes what a number of things do.
func verb(n uint64, of, does, do string) string {
	if n == 1 {
		do = does
	}
	return count(n, of) + " " + do
}

// count writes a number of things.
func count(n uint64, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

func valuesAre(n uint64) string {
	if n == 1 {
		return "1 value is counted"
	}
	return fmt.Sprintf("%d values are counted", n)
}
