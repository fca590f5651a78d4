package e2e

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/worker/analysis"
)

// The page and the worker know the same files by the same first bytes, and call them the same.
func TestPageRefusesWhatAnAnalysisDoes(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../../gateway/web/src/refusal.ts")
	if err != nil {
		t.Fatal(err)
	}
	_, packings, _ := strings.Cut(string(source), "const packings = [")
	packings, _, _ = strings.Cut(packings, "]")
	_, list, found := strings.Cut(string(source), "const contents:")
	list, _, ended := strings.Cut(list, "\n];")
	lines := regexp.MustCompile(`(?m)^  \['(.+?)', '(.+?)', .+\],$`).FindAllStringSubmatch(list, -1)
	if !found || !ended || len(lines) < 20 || len(lines) != strings.Count(list, "\n  [") {
		t.Fatalf("refusal.ts has %d contents that can be read", len(lines))
	}
	for _, l := range lines {
		prefix, err := strconv.Unquote(`"` + strings.ReplaceAll(strings.ReplaceAll(l[1], `"`, `\"`), `\0`, `\x00`) + `"`)
		if err != nil {
			t.Fatalf("%s: %v", l[1], err)
		}
		err = analysis.Check("", []byte(prefix+"\x00\x01\x02\x00"))
		if strings.Contains(packings, "'"+l[1]+"'") { // what is in it may be of use
			if err != nil {
				t.Errorf("%s passes the page, and an analysis says: %v", l[1], err)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), "This is "+l[2]+". ") {
			t.Errorf("%s is %s to the page, and to an analysis: %v", l[1], l[2], err)
		}
	}
}
