package analysis

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxNameWidth    = 28 // characters of a table cell
	maxValueWidth   = 20
	maxWarningWidth = 300
	textColumns     = 100 // rows of the table; the JSON has them all
)

// WriteText writes the profile as a table for a terminal, about 130 characters
// wide, one row a column and at most 100 of them. Long values end in an
// ellipsis; control characters are shown as dots, so that no cell of the file
// can steer the terminal.
func (p *Profile) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s · %s rows · %s columns · %s bytes", p.form(),
		grouped(p.Rows), grouped(int64(len(p.Columns))), grouped(p.Bytes))
	if p.Ragged > 0 {
		fmt.Fprintf(&b, " · %s ragged", grouped(p.Ragged))
	}
	if p.Malformed > 0 {
		fmt.Fprintf(&b, " · %s malformed", grouped(p.Malformed))
	}
	b.WriteString("\n")
	for _, w := range p.Warnings {
		if w.Column != "" {
			fmt.Fprintf(&b, "%s: ", clip(w.Column, maxNameWidth))
		}
		b.WriteString(clip(w.Message, maxWarningWidth) + "\n")
	}
	b.WriteString("\n")

	table := [][]string{{"COLUMN", "TYPE", "NULLS", "DISTINCT", "MIN", "MAX", "MEAN", "P50", "TOP"}}
	for _, c := range p.Columns[:min(len(p.Columns), textColumns)] {
		table = append(table, c.row(p.Rows))
	}
	right := []bool{2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: false}
	writeTable(&b, table, right)
	if more := len(p.Columns) - textColumns; more > 0 {
		fmt.Fprintf(&b, "… and %s more columns\n", grouped(int64(more)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c ColumnProfile) row(rows int64) []string {
	low, high := c.valueRange()
	mean, median := "", ""
	if c.Number != nil {
		mean = short(c.Number.Mean)
		if c.Number.Quantiles != nil {
			median = short(c.Number.Quantiles.P50)
		}
	}
	distinct := grouped(c.Distinct)
	if !c.DistinctExact {
		distinct = "~" + distinct
	}
	top := ""
	if len(c.Top) > 0 {
		top = fmt.Sprintf("%s (%s)", clip(c.Top[0].Value, maxValueWidth), percent(c.Top[0].Count, rows))
	}
	return []string{
		clip(c.Name, maxNameWidth), c.Type, percent(c.Nulls, rows), distinct,
		clip(low, maxValueWidth), clip(high, maxValueWidth), mean, median, top,
	}
}

// valueRange takes numbers before times before texts in a mixed column.
func (c ColumnProfile) valueRange() (low, high string) {
	switch {
	case c.Number != nil:
		return c.Number.Min.String(), c.Number.Max.String()
	case c.Time != nil:
		return c.Time.Min, c.Time.Max
	case c.Text != nil:
		return c.Text.Min, c.Text.Max
	}
	return "", ""
}

func writeTable(b *strings.Builder, table [][]string, right []bool) {
	widths := make([]int, len(right))
	for _, row := range table {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range table {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if right[i] {
				line.WriteString(pad + cell + "  ")
			} else {
				line.WriteString(cell + pad + "  ")
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// clip shortens s to n characters on one line.
func clip(s string, n int) string {
	var out []rune
	for _, r := range s {
		if !unicode.IsPrint(r) {
			r = '·'
		}
		if len(out) == n {
			out[n-1] = '…'
			break
		}
		out = append(out, r)
	}
	return string(out)
}

// short writes a float in at most six significant digits.
func short(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

func percent(n, of int64) string {
	if of == 0 {
		return "0%"
	}
	share := 100 * float64(n) / float64(of)
	switch {
	case n > 0 && share < 0.1:
		return "<0.1%"
	case n < of && share > 99.9:
		return ">99.9%"
	}
	return strings.TrimSuffix(strconv.FormatFloat(share, 'f', 1, 64), ".0") + "%"
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
