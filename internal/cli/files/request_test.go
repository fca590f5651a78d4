package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An export writes neither over FILE nor over what it is by another name.
func TestExportIsNotWrittenOverItsFile(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"orders.csv", "out.csv.part"} {
		if err := os.WriteFile(name, []byte("id\n1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link("orders.csv", "linked.csv"); err != nil {
		t.Fatal(err)
	}
	whole, err := filepath.Abs("orders.csv")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, output string }{
		{"orders.csv", "./orders.csv"}, {"orders.csv", whole}, {"orders.csv", "linked.csv"}, {"out.csv.part", "out.csv"},
	} {
		x := &exporting{output: c.output, force: true}
		if err := x.complete([]string{c.file}); err == nil || !strings.Contains(err.Error(), "would be written over FILE") {
			t.Errorf("%s to %s: %v", c.file, c.output, err)
		}
	}
	if err := (&exporting{output: "new.csv"}).complete([]string{"orders.csv"}); err != nil {
		t.Error(err)
	}
}
