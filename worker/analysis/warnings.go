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
	WarnEncoding = "encoding"        // the file is no UTF-8 and was read as Windows-1252
	WarnSkipped  = "skipped"         // lines above the header were left out
	WarnRagged   = "ragged"          // more than half of the rows are ragged
	WarnDamaged  = "damaged"         // rows have characters that are lost
	WarnNamesCut = "names_cut"       // names of columns are cut
	WarnMissing  = "missing"         // words stand for missing values
	WarnDressed  = "numbers_as_text" // what may be numbers counts as text
	WarnRounded  = "rounded"         // whole numbers are beyond 64 bits
	WarnMore     = "more"            // warnings that are left out
)

// maxWarnings bounds a profile's, the last of which counts those that are left out.
const maxWarnings = 50

func (st *State) warnings(p *Profile) []Warning {
	all := st.fileWarnings()
	for i, c := range st.columns {
		all = append(all, c.warnings(p.Columns[i].Name)...)
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
	return all
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
