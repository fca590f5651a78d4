package files

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is no table is refused before it is sent; a packed table is none only for an analysis.
func TestFilesAreCheckedBeforeTheyAreSent(t *testing.T) {
	archive := func(name string) string {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		if _, err := w.Create(name); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for name, c := range map[string]struct{ head, upload, analysis string }{
		"a.csv":     {"id\n1\n", "", ""},
		"a.csv.gz":  {"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", "", ""},
		"a.csv.zst": {"(\xb5/\xfd\x04\x00\x01\x00\x00", "", ""},
		"a.zip":     {archive("a.csv"), "", ""},
		"a.xlsx":    {archive("xl/workbook.xml"), "", ""},
		"a.parquet": {"PAR1\x15\x04", "", ""},
		"a.docx":    {archive("word/document.xml"), "a Word document", "a Word document"},
		"b.csv":     {"a\x00b\x00c", "binary data and no text", "binary data and no text"},
		"c.csv":     {"", "This file is empty", "This file is empty"},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(c.head), 0o600); err != nil {
			t.Fatal(err)
		}
		for k, want := range map[*kind]string{&uploads: c.upload, &analyses: c.analysis} {
			got := ""
			if err := k.check(path); err != nil {
				got = err.Error()
			}
			if (want == "") != (got == "") || !strings.Contains(got, want) {
				t.Errorf("%s of %s: %q, want %q", k.jobType, name, got, want)
			}
		}
	}
}
