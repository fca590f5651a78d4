package analysis

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
)

// ReportName is the report's name among the artifacts of its job.
const ReportName = "report.html"

// Bounds of a report, with which it takes less than 4 MiB of any profile.
const (
	reportOverview = 500 // columns in the table
	reportCards    = 100 // columns with charts
	reportMatrix   = 16  // columns whose correlations are shown
	reportName     = 80  // characters
	reportValue    = 60
)

//go:embed report.html
var reportText string

var reportTemplate = template.Must(template.New(ReportName).Parse(reportText))

// fact is a line of a card, or of the head.
type fact struct{ Name, Value string }

type reportView struct {
	Title, Kind  string
	Facts        []fact
	Warnings     []Warning
	Overview     []overviewRow
	MoreOverview int
	Matrix       *matrix
	Cards        []card
	MoreCards    int
}

type overviewRow struct {
	At                                                   int
	Card                                                 bool
	Name, Type, Nulls, Distinct, Low, High, Mean, Median string
}

type card struct {
	At         int
	Name, Type string
	Charts     []chart
	Top        []topBar
	Facts      []fact
}

type topBar struct {
	Name, Count string
	Share       string // of the most frequent, in percent
}

// HTML writes the profile as a page for people, of the file called name, which may be empty. The page is
// self-contained: it has no script and loads nothing, and follows the reader's choice of light or dark. Texts of
// the file are escaped and clipped.
func (p *Profile) HTML(name string) ([]byte, error) {
	var b bytes.Buffer
	err := reportTemplate.Execute(&b, p.view(name))
	return b.Bytes(), err
}

func (p *Profile) view(name string) reportView {
	v := reportView{
		Title: cmp.Or(clip(name, reportName), "Profile"), Kind: p.kind(), Warnings: p.Warnings,
		Facts:        []fact{{"rows", grouped(p.Rows)}, {"columns", grouped(int64(len(p.Columns)))}, {"bytes", grouped(p.Bytes)}, {"repeated rows", p.Duplicates.text()}},
		MoreOverview: max(0, len(p.Columns)-reportOverview), MoreCards: max(0, len(p.Columns)-reportCards),
		Matrix: p.matrix(),
	}
	for i, w := range v.Warnings {
		if i == 0 {
			v.Warnings = slices.Clone(v.Warnings)
		}
		v.Warnings[i].Column, v.Warnings[i].Message = clip(w.Column, reportName), clip(w.Message, maxWarningWidth)
	}
	if p.Ragged > 0 {
		v.Facts = append(v.Facts, fact{"ragged rows", grouped(p.Ragged)})
	}
	if p.Malformed > 0 {
		v.Facts = append(v.Facts, fact{"malformed", grouped(p.Malformed)})
	}
	for i := range p.Columns[:min(len(p.Columns), reportOverview)] {
		c := &p.Columns[i]
		row := overviewRow{
			At: i, Card: i < reportCards, Name: clip(c.Name, reportName), Type: c.Type,
			Nulls: percent(c.Nulls, p.Rows), Distinct: c.distinctText(),
		}
		low, high := c.valueRange()
		row.Low, row.High = clip(low, maxNameWidth), clip(high, maxNameWidth)
		if c.Number != nil {
			row.Mean = short(c.Number.Mean)
			if q := c.Number.Quantiles; q != nil {
				row.Median = short(q.P50)
			}
		}
		v.Overview = append(v.Overview, row)
		if i < reportCards {
			v.Cards = append(v.Cards, c.card(i, p.Rows))
		}
	}
	return v
}

func (p *Profile) kind() string {
	if how := packed.Packing(p.Packing); how == packed.XLSX || how == packed.Parquet {
		return p.form()
	}
	text := p.form() + ", " + strings.ToUpper(p.Encoding)
	if p.Delimiter == "" {
		return text
	}
	name, known := map[string]string{",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}[p.Delimiter]
	if !known {
		name = p.Delimiter
	}
	return text + ", fields between " + name
}

func (d Duplicates) text() string {
	switch {
	case d.Exact:
		return grouped(d.Rows)
	case d.Rows <= d.Error:
		return "fewer than about " + grouped(d.Rows+d.Error)
	}
	return fmt.Sprintf("about %s ± %s", grouped(d.Rows), grouped(d.Error))
}

func (c *ColumnProfile) distinctText() string {
	if c.DistinctExact {
		return grouped(c.Distinct)
	}
	return "~" + grouped(c.Distinct)
}

func (c *ColumnProfile) card(at int, rows int64) card {
	of := card{At: at, Name: clip(c.Name, reportName), Type: c.Type}
	add := func(name, value string) { of.Facts = append(of.Facts, fact{name, clip(value, reportValue)}) }
	add("no value", fmt.Sprintf("%s (%s)", grouped(c.Nulls), percent(c.Nulls, rows)))
	add("distinct", c.distinctText())
	if n := c.Number; n != nil {
		add("least, most", n.Min.String()+", "+n.Max.String())
		add("mean ± deviation", short(n.Mean)+" ± "+short(n.Stddev))
		if n.Sum != "" {
			add("sum", n.Sum.String())
		}
		if q := n.Quantiles; q != nil {
			add("1 %, 5 %", short(q.P1)+", "+short(q.P5))
			add("25 %, 50 %, 75 %", short(q.P25)+", "+short(q.P50)+", "+short(q.P75))
			add("95 %, 99 %", short(q.P95)+", "+short(q.P99))
		}
		if n.Outliers != nil {
			add("far outliers", grouped(n.Outliers.Count))
		}
		if h := n.Histogram; h != nil {
			of.Charts = append(of.Charts, chartOf(h.Counts, func(i int) string { return short(h.Start + float64(i)*h.Width) }))
		}
	}
	if t := c.Time; t != nil {
		add("first", t.Min)
		add("last", t.Max)
		if h := t.Histogram; h != nil {
			of.Charts = append(of.Charts, timeChart(h))
		}
	}
	if t := c.Text; t != nil {
		if c.Number == nil && c.Time == nil {
			add("first, last", clip(t.Min, reportValue/2-2)+", "+clip(t.Max, reportValue/2-2))
		}
		add("bytes", fmt.Sprintf("%s to %s, mean %s", grouped(t.MinLength), grouped(t.MaxLength), short(t.MeanLength)))
	}
	if c.Number == nil && c.Time == nil || c.Distinct <= topValues {
		for _, v := range c.Top {
			of.Top = append(of.Top, topBar{
				Name: clip(v.Value, reportValue), Count: grouped(v.Count),
				Share: strconv.FormatFloat(100*float64(v.Count)/float64(c.Top[0].Count), 'f', 1, 64),
			})
		}
	}
	return of
}

// chart is a histogram.
type chart struct {
	Width             int // bars, each 1 wide; the height is 100
	Label, Start, End string
	Bars              []bar
}

type bar struct {
	X         int
	Y, Height string
	Label     string
}

// chartOf draws counts of which edge tells where each begins.
func chartOf(counts []int64, edge func(i int) string) chart {
	most := slices.Max(counts)
	c := chart{Width: len(counts), Start: edge(0), End: edge(len(counts))}
	c.Label = fmt.Sprintf("Histogram from %s to %s", c.Start, c.End)
	for i, n := range counts {
		if n == 0 {
			continue
		}
		// What is there shows, however little it is.
		height := max(1, 100*float64(n)/float64(most))
		c.Bars = append(c.Bars, bar{
			X: i, Y: strconv.FormatFloat(100-height, 'f', 1, 64), Height: strconv.FormatFloat(height, 'f', 1, 64),
			Label: fmt.Sprintf("%s to %s: %s", edge(i), edge(i+1), grouped(n)),
		})
	}
	return c
}

func timeChart(h *TimeHistogram) chart {
	layout := time.DateOnly
	start, err := time.Parse(layout, h.Start)
	if err != nil || h.WidthSeconds%86400 != 0 {
		start, _ = time.Parse(time.RFC3339, h.Start)
		layout = "2006-01-02 15:04:05"
	}
	return chartOf(h.Counts, func(i int) string {
		return time.Unix(start.Unix()+int64(i)*h.WidthSeconds, 0).UTC().Format(layout)
	})
}

// matrix shows the correlations of the first columns that have some.
type matrix struct {
	Names []string
	Rows  []matrixRow
	Left  int
}

type matrixRow struct {
	Name  string
	Cells []matrixCell
}

type matrixCell struct {
	Text     string // empty: there is no coefficient
	Strength int    // of its color, in percent
	Minus    bool
}

func (p *Profile) matrix() *matrix {
	var columns []int
	for _, c := range p.Correlations {
		columns = append(columns, c.A, c.B)
	}
	slices.Sort(columns)
	columns = slices.Compact(columns)
	if len(columns) == 0 {
		return nil
	}
	m := &matrix{Left: max(0, len(columns)-reportMatrix)}
	columns = columns[:min(len(columns), reportMatrix)]
	at := map[int]int{}
	for i, c := range columns {
		name := clip(p.Columns[c].Name, maxNameWidth)
		at[c] = i
		m.Names = append(m.Names, name)
		m.Rows = append(m.Rows, matrixRow{Name: name, Cells: make([]matrixCell, len(columns))})
	}
	for _, c := range p.Correlations {
		a, ok := at[c.A]
		b, too := at[c.B]
		if ok && too {
			cell := matrixCell{Text: strconv.FormatFloat(c.R, 'f', 2, 64), Strength: int(math.Round(60 * math.Abs(c.R))), Minus: c.R < 0}
			m.Rows[a].Cells[b], m.Rows[b].Cells[a] = cell, cell
		}
	}
	return m
}
