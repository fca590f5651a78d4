package analysis

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the file says is text in the report, wherever it stands, and nothing else.
func TestReportEscapesWhatTheFileSays(t *testing.T) {
	const evil = `<script>alert(1)</script><img src=x onerror=alert(1)>'"&`
	var csv strings.Builder
	fmt.Fprintf(&csv, "id,\"%s\",\"%s2\"\n", strings.ReplaceAll(evil, `"`, `""`), strings.ReplaceAll(evil, `"`, `""`))
	for i := range 30 {
		fmt.Fprintf(&csv, "%d,\"%s\",%d\n", i, strings.ReplaceAll(evil, `"`, `""`), i*i)
	}
	p := analyze(t, csv.String(), Payload{})
	page, err := p.HTML(evil)
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, tag := range []string{"<script", "<img", "http:", "https:", "url(", "@import", "<link", "javascript:", "ZgotmplZ"} {
		if strings.Contains(text, tag) {
			t.Errorf("the report has %s", tag)
		}
	}
	if n := strings.Count(text, "&lt;script&gt;"); n < 6 {
		t.Errorf("the file's text is there %d times", n)
	}
	if on := regexp.MustCompile(`<[^>]*\son[a-z]+=`).FindString(text); on != "" {
		t.Errorf("the report has %s", on)
	}
	policy := strings.Index(text, "default-src 'none'")
	if style := strings.Index(text, "<style"); policy < 0 || policy > style {
		t.Error("the policy does not come first")
	}
}

func TestReportSaysWhatTheProfileSays(t *testing.T) {
	p := analyze(t, string(orders(200<<10)), Payload{})
	page, err := p.HTML("orders.csv")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), ReportName), page, 0o600); err != nil { // to look at, with -artifacts
		t.Fatal(err)
	}
	text := string(page)
	for _, want := range []string{
		"<h1>orders.csv</h1>", "<dd>" + grouped(p.Rows) + "</dd>", ">unit_price", "<h2>Correlations</h2>", p.Columns[7].Number.Sum.String(),
		short(p.Columns[6].Number.Quantiles.P95), ">shipped<", p.Columns[1].Time.Max, "mean " + short(p.Columns[2].Text.MeanLength),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	// Every bar of the histograms is there.
	bars := 0
	for _, c := range p.Columns {
		var counts []int64
		if c.Number != nil {
			counts = append(counts, c.Number.Histogram.Counts...)
		}
		if c.Time != nil {
			counts = append(counts, c.Time.Histogram.Counts...)
		}
		for _, n := range counts {
			bars += min(1, int(n))
		}
	}
	if got := strings.Count(text, "</title></rect>"); got != bars || bars < 40 {
		t.Errorf("%d bars, want %d", got, bars)
	}
}

// The widest table with the longest values still makes a page that a browser opens, which says what it leaves out.
func TestReportOfTheWidestTableIsBounded(t *testing.T) {
	for columns, says := range map[int][]string{
		MaxColumns: {"1500 more columns are left out here", "1900 more columns have no chart"},
		120:        {"20 more columns have no chart"},
	} {
		p := analyze(t, string(wideCSV(columns, 60)), Payload{})
		for i := range p.Columns {
			p.Columns[i].Name = strings.Repeat("<", 500)
			for j := range p.Columns[i].Top {
				p.Columns[i].Top[j].Value = strings.Repeat("&", 500)
			}
		}
		for range maxWarnings {
			p.Warnings = append(p.Warnings, Warning{Column: strings.Repeat(`"`, 5000), Message: strings.Repeat("<", 5000)})
		}
		page, err := p.HTML(strings.Repeat("&", 100_000))
		if err != nil {
			t.Fatal(err)
		}
		if len(page) > 4<<20 {
			t.Errorf("the report of %d columns has %d bytes", columns, len(page))
		}
		for _, want := range says {
			if !strings.Contains(string(page), want) {
				t.Errorf("the report of %d columns does not say %q", columns, want)
			}
		}
	}
}
