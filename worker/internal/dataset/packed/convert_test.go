package packed_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/s3test"
	"github.com/tidemark-dev/tidemark/internal/storage"
	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
	"github.com/tidemark-dev/tidemark/worker/internal/format"
	"github.com/tidemark-dev/tidemark/worker/internal/rows"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// written is a table of two columns in a format.
func written(t *testing.T, f format.Format, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := format.New(&b, []rows.Column{{Name: "id", Kind: rows.Int}, {Name: "name", Kind: rows.Text}}, format.Options{Format: f})
	for i := 0; err == nil && i < n; i++ {
		err = w.Write([]rows.Value{{Kind: rows.Int, Int: int64(i)}, {Kind: rows.Text, Data: []byte("name " + strconv.Itoa(i*i))}})
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A workbook and a file of columns have the text that the same table has, from each offset on, and the tee gets their bytes.
func TestConvertedTextsAreReadFromEachOffset(t *testing.T) {
	t.Parallel()
	for how, c := range map[packed.Packing]struct {
		file, text []byte
	}{
		packed.XLSX:    {written(t, format.XLSX, 5000), written(t, format.CSV, 5000)},
		packed.Parquet: {written(t, format.Parquet, 5000), written(t, format.NDJSON, 5000)},
	} {
		for _, at := range []int{0, 1, 70_000, len(c.text) - 1, len(c.text)} {
			got, found, tee, err := unpack(t.Context(), t, c.file, packed.Options{Offset: int64(at)})
			if err != nil || found != how || !bytes.Equal(got, c.text[at:]) {
				t.Errorf("%s: from byte %d on %d bytes are read as %q, want %d; %v", how, at, len(got), found, len(c.text)-at, err)
			}
			if !bytes.Equal(tee, c.file) {
				t.Errorf("%s: from byte %d on the tee got %d bytes, want %d", how, at, len(tee), len(c.file))
			}
		}
		if _, _, _, err := unpack(t.Context(), t, c.file[:len(c.file)-30], packed.Options{}); !errors.Is(err, table.ErrRefused) {
			t.Errorf("%s, cut off: %v", how, err)
		}
		if _, _, _, err := unpack(t.Context(), t, c.file, packed.Options{MaxRatio: 500, MaxUnpackedBytes: 1000, Settings: "upload"}); !errors.Is(err, table.ErrRefused) ||
			!strings.Contains(err.Error(), "upload.max_unpacked_bytes") {
			t.Errorf("%s over the bound: %v", how, err)
		}
	}
	// Text that begins so is text.
	for _, text := range []string{"PAR1,PAR2\n1,2\n", "PK,b\n1,2\n"} {
		if _, how, _, err := unpack(t.Context(), t, []byte(text), packed.Options{}); how != packed.None || err != nil {
			t.Errorf("%q is read as %q, %v", text, how, err)
		}
	}
}

// What a store fails with is no word about the file, wherever it fails; and when the context ends, its cause is.
func TestConvertedFilesOfAStoreThatFails(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	store, err := storage.Open(t.Context(), storage.Options{URL: server.URL(), CredentialsFile: server.CredentialsFile()}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	for how, f := range map[packed.Packing]format.Format{packed.XLSX: format.XLSX, packed.Parquet: format.Parquet} {
		file := written(t, f, 20_000) // more than one read of a workbook
		if err := store.Bucket.WriteAll(t.Context(), string(how), file, nil); err != nil {
			t.Fatal(err)
		}
		open := func(ctx context.Context) (*packed.Stream, error) {
			return packed.Open(ctx, store.Bucket, string(how), int64(len(file)), how, packed.Options{MaxRatio: 500, MaxUnpackedBytes: 1 << 30, Tee: io.Discard})
		}
		back := server.Fail(s3test.Fault{Op: "GetObject", Status: 403, Code: "AccessDenied"})
		if s, err := open(t.Context()); err == nil {
			t.Errorf("%s opens: %v", how, s.Close())
		} else if errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), "s3:GetObject") {
			t.Errorf("%s in a store that fails: %v", how, err)
		}
		back()
		s, err := open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		back = server.Fail(s3test.Fault{Op: "GetObject", Status: 403, Code: "AccessDenied"})
		_, err = io.Copy(io.Discard, s)
		if err == nil || errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), "s3:GetObject") {
			t.Errorf("%s, of which reads fail: %v", how, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		back()
		// The request for the tee's bytes is the last one.
		before := server.Counts()["GetObject"]
		if s, err = open(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, s); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		back = server.Fail(s3test.Fault{Op: "GetObject", Status: 403, Code: "AccessDenied", After: server.Counts()["GetObject"] - before - 1})
		if s, err = open(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, s)
		if err == nil || errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), "s3:GetObject") {
			t.Errorf("%s, of which the tee's read fails: %v", how, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		back()
		ctx, cancel := context.WithCancelCause(t.Context())
		if s, err = open(ctx); err != nil {
			t.Fatal(err)
		}
		stopped := errors.New("stopped")
		cancel(stopped)
		if _, err := io.Copy(io.Discard, s); !errors.Is(err, stopped) {
			t.Errorf("%s, of which the context ends: %v", how, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if s, err := open(ctx); err == nil {
			t.Errorf("%s opens when its context has ended: %v", how, s.Close())
		} else if !errors.Is(err, stopped) || errors.Is(err, table.ErrRefused) {
			t.Errorf("%s is opened when its context has ended: %v", how, err)
		}
	}
}

// A context that ends between the reads of the store is no word about the file either.
func TestConvertedFilesWhoseContextEndsWithinARead(t *testing.T) {
	t.Parallel()
	bucket, stopped := memory(t), errors.New("stopped")
	for how, f := range map[packed.Packing]format.Format{packed.XLSX: format.XLSX, packed.Parquet: format.Parquet} {
		file := written(t, f, 200)
		if err := bucket.WriteAll(t.Context(), string(how), file, nil); err != nil {
			t.Fatal(err)
		}
		ends := 0
		for n := 0; ; n++ { // looks at the context before it ends
			ctx, cancel := context.WithCancelCause(t.Context())
			late := &ending{Context: ctx, left: n, end: func() { cancel(stopped) }}
			s, err := packed.Open(late, bucket, string(how), int64(len(file)), how, packed.Options{MaxRatio: 500, MaxUnpackedBytes: 1 << 30})
			if err == nil {
				_, err = io.Copy(io.Discard, s)
				err = errors.Join(err, s.Close())
			}
			if cancel(nil); err == nil {
				break
			}
			if ends++; !errors.Is(err, stopped) || errors.Is(err, table.ErrRefused) {
				t.Fatalf("%s, of which the context ends after %d looks: %v", how, n, err)
			}
		}
		if ends < 5 {
			t.Errorf("%s looks %d times", how, ends)
		}
	}
}

// ending is a context that ends once it was looked at some times.
type ending struct {
	context.Context //nolint:containedctx // it is one
	left            int
	end             func()
}

func (e *ending) Err() error {
	if e.left--; e.left == -1 {
		e.end()
	}
	return e.Context.Err()
}

// A blob that has become shorter when the tee gets it would have a wrong checksum.
func TestABlobThatBecomesShorterIsNotAtItsEnd(t *testing.T) {
	t.Parallel()
	bucket, file, text := memory(t), written(t, format.Parquet, 100), written(t, format.NDJSON, 100)
	if err := bucket.WriteAll(t.Context(), "f", file, nil); err != nil {
		t.Fatal(err)
	}
	s, err := packed.Open(t.Context(), bucket, "f", int64(len(file)), packed.Parquet, packed.Options{MaxRatio: 500, MaxUnpackedBytes: 1 << 30, Tee: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, len(text))); err != nil {
		t.Fatal(err)
	}
	if err := bucket.WriteAll(t.Context(), "f", file[:len(file)-1], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) || errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), "ends at byte") {
		t.Errorf("a blob of %d bytes less one: %v", len(file), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// That a workbook's texts cannot be kept in a temporary file is no word about the workbook.
func TestNoRoomForAWorkbooksTextsIsNoRefusal(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	const (
		office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
		links  = `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`
		space  = ` xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="` + office + `">`
	)
	file := archive(t,
		member{name: "_rels/.rels", text: links + `<Relationship Id="rId1" Type="` + office + `/officeDocument" Target="xl/workbook.xml"/></Relationships>`},
		member{name: "xl/workbook.xml", text: `<workbook` + space + `<sheets><sheet name="One" sheetId="1" r:id="rId1"/></sheets></workbook>`},
		member{name: "xl/_rels/workbook.xml.rels", text: links + `<Relationship Id="rId1" Type="` + office + `/worksheet" Target="sheet.xml"/>` +
			`<Relationship Id="rId2" Type="` + office + `/sharedStrings" Target="texts.xml"/></Relationships>`},
		member{name: "xl/sheet.xml", text: `<worksheet` + space + `<sheetData/></worksheet>`},
		member{name: "xl/texts.xml", text: `<sst` + space + `<si><t>x</t></si></sst>`},
	)
	bucket := memory(t)
	if err := bucket.WriteAll(t.Context(), "f", file, nil); err != nil {
		t.Fatal(err)
	}
	s, err := packed.Open(t.Context(), bucket, "f", int64(len(file)), packed.XLSX, packed.Options{MaxRatio: 500, MaxUnpackedBytes: 1 << 30})
	if err == nil {
		err = s.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, table.ErrRefused) {
		t.Errorf("without a folder for it: %v", err)
	}
}
