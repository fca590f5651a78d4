package packed_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

func memory(t *testing.T) *blob.Bucket {
	t.Helper()
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() {
		if err := bucket.Close(); err != nil {
			t.Error(err)
		}
	})
	return bucket
}

// unpack reads a file from an offset of its text on.
func unpack(ctx context.Context, t *testing.T, file []byte, o packed.Options) (text []byte, how packed.Packing, tee []byte, err error) {
	t.Helper()
	bucket := memory(t)
	if err := bucket.WriteAll(t.Context(), "f", file, nil); err != nil {
		t.Fatal(err)
	}
	if how, _, err = packed.Detect(t.Context(), bucket, "f"); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	o.Tee = &all
	if o.MaxRatio == 0 {
		o.MaxRatio, o.MaxUnpackedBytes = 1000, 1<<30
	}
	s, err := packed.Open(ctx, bucket, "f", int64(len(file)), how, o)
	if err != nil {
		return nil, how, nil, err
	}
	text, err = io.ReadAll(s)
	return text, how, all.Bytes(), errors.Join(err, s.Close())
}

type member struct {
	name, text string
	mode       fs.FileMode
	method     uint16
}

func archive(t *testing.T, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: m.method}
		h.SetMode(m.mode | 0o600)
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write([]byte(m.text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func deflated(name, text string) member { return member{name: name, text: text, method: zip.Deflate} }

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(text))
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t *testing.T, text string, o ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, o...)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(text), nil)
}

func TestTextsAreUnpackedFromEachOffset(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&b, "%d,%x\n", i, i*i)
	}
	text := b.String()
	stored := deflated("a.csv", text)
	stored.method = zip.Store
	for name, c := range map[string]struct {
		file []byte
		how  packed.Packing
	}{
		"plain":           {[]byte(text), packed.None},
		"gzip":            {gzipped(t, text), packed.Gzip},
		"gzip, twice":     {append(gzipped(t, text[:1000]), gzipped(t, text[1000:])...), packed.Gzip},
		"Zstandard":       {zstandard(t, text), packed.Zstd},
		"Zstandard twice": {append(zstandard(t, text[:1000]), zstandard(t, text[1000:])...), packed.Zstd},
		"zip":             {archive(t, deflated("reports/2026/a.csv", text)), packed.Zip},
		"zip, stored":     {archive(t, stored), packed.Zip},
	} {
		for _, at := range []int{0, 1, 200_000, len(text) - 1, len(text)} {
			got, how, tee, err := unpack(t.Context(), t, c.file, packed.Options{Offset: int64(at)})
			if err != nil || how != c.how || string(got) != text[at:] {
				t.Errorf("%s: from byte %d on %d bytes are read as %q, want %d as %q; %v", name, at, len(got), how, len(text)-at, c.how, err)
			}
			seen := c.file
			if how == packed.None {
				seen = c.file[at:]
			}
			if !bytes.Equal(tee, seen) {
				t.Errorf("%s: from byte %d on the tee got %d bytes, want %d", name, at, len(tee), len(seen))
			}
		}
	}
}

// patch changes bytes of an archive at an offset from the directory's entry, or from the header where
// directory is false.
func patch(file []byte, directory bool, at int, value ...byte) []byte {
	file = bytes.Clone(file)
	if directory {
		at += bytes.LastIndex(file, []byte("PK\x01\x02"))
	}
	copy(file[at:], value)
	return file
}

func TestHostileFilesAreRefused(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("1,2,3\n", 1000)
	good := archive(t, deflated("a.csv", text))
	link := deflated("a.csv", "/etc/passwd")
	link.mode = fs.ModeSymlink
	many := make([]member, 3000)
	for i := range many {
		many[i] = deflated(fmt.Sprintf("file%d.csv", i), "1")
	}
	end := len(good) - 22
	lying := patch(good, true, 24, 1) // the size of the text
	gap := append(append(bytes.Clone(good[:bytes.LastIndex(good, []byte("PK\x01\x02"))]), bytes.Repeat([]byte("x"), 100)...), good[bytes.LastIndex(good, []byte("PK\x01\x02")):]...)
	binary.LittleEndian.PutUint32(gap[len(gap)-6:], binary.LittleEndian.Uint32(good[end+16:])+100)
	before := append([]byte("PK\x03\x04"+strings.Repeat("y", 60)), good...)
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"several files":            {archive(t, deflated("a.csv", "1"), deflated("b.csv", "2")), "2 files"},
		"thousands of files":       {archive(t, many...), "3000 files"},
		"a count that lies":        {patch(good, false, end+10, 0xFE, 0xFF), "65534 files"},
		"a count of zip64 alone":   {patch(good, false, end+10, 0xFF, 0xFF), "65535 files"},
		"no file":                  {archive(t), "0 files"},
		"a folder":                 {archive(t, member{name: "folder/"}), "a folder"},
		"a link":                   {archive(t, link), "a link"},
		"a path escape":            {archive(t, deflated("../a.csv", text)), "leads out"},
		"one within":               {archive(t, deflated("x/../../a.csv", text)), "leads out"},
		"an absolute path":         {archive(t, deflated("/tmp/a.csv", text)), "leads out"},
		"a drive":                  {archive(t, deflated("C:a.csv", text)), "leads out"},
		"backslashes":              {archive(t, deflated(`..\a.csv`, text)), "leads out"},
		"a NUL in its name":        {archive(t, deflated("a.csv\x00.txt", text)), "leads out"},
		"encrypted":                {patch(patch(good, true, 8, 9), false, 6, 9), "encrypted"},
		"an unknown method":        {patch(good, true, 10, 99), "method (99)"},
		"a header of its own":      {patch(good, false, 30, 'b'), "disagree"},
		"a header's method":        {patch(good, false, 8, 0), "disagree"},
		"a size that lies":         {lying, "where its directory says"},
		"a sum that lies":          {patch(good, true, 16, 1, 2, 3, 4), "damaged"},
		"bytes before the file":    {before, ""},
		"bytes after the end":      {append(bytes.Clone(good), "<?php"...), "does not end with its directory"},
		"a comment":                {append(patch(good, false, end+20, 3), "abc"...), "does not end with its directory"},
		"bytes in between":         {gap, "between its file and its directory"},
		"cut off":                  {good[:len(good)-30], "does not end with its directory"},
		"cut off at the start":     {[]byte("PK\x03\x04"), "cut off"},
		"damaged data":             {patch(good, false, 60, 0xFF, 0xFF, 0xFF, 0xFF), ""},
		"gzip, damaged":            {patch(gzipped(t, text), false, 20, 0xFF, 0xFF, 0xFF, 0xFF), ""},
		"gzip, a wrong sum":        {patch(gzipped(t, text), false, len(gzipped(t, text))-8, 1, 2, 3, 4), "damaged"},
		"gzip, cut off":            {gzipped(t, text)[:30], "cut off"},
		"gzip, bytes behind":       {append(gzipped(t, text), "PK\x03\x04 and what follows"...), "other bytes"},
		"Zstandard, cut off":       {zstandard(t, text)[:20], "cut off"},
		"Zstandard, bytes behind":  {append(zstandard(t, text), "PK\x03\x04"...), "other bytes"},
		"Zstandard, a wide window": {[]byte("\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00"), "32 MiB"},
		"a bomb of zip":            {archive(t, deflated("a.csv", strings.Repeat("0", 36<<20))), "times as large"},
		"a bomb of gzip":           {gzipped(t, strings.Repeat("0", 36<<20)), "times as large"},
		"a bomb of Zstandard":      {zstandard(t, strings.Repeat("0", 36<<20)), "times as large"},
	} {
		_, how, _, err := unpack(t.Context(), t, c.file, packed.Options{MaxRatio: 500, MaxUnpackedBytes: 1 << 30})
		if !errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s (%s): %v, want a refusal that says %q", name, how, err, c.want)
		}
	}
	if _, _, _, err := unpack(t.Context(), t, gzipped(t, text), packed.Options{MaxRatio: 500, MaxUnpackedBytes: 5999}); !errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), "more than 5999 bytes") {
		t.Errorf("a text of 6000 bytes: %v", err)
	}
}

func TestAStreamEndsWithItsContext(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("1,2,3\n", 1<<20)
	for name, file := range map[string][]byte{"plain": []byte(text), "gzip": gzipped(t, text), "Zstandard": zstandard(t, text), "zip": archive(t, deflated("a.csv", text))} {
		bucket := memory(t)
		if err := bucket.WriteAll(t.Context(), "f", file, nil); err != nil {
			t.Fatal(err)
		}
		how, _, err := packed.Detect(t.Context(), bucket, "f")
		if err != nil {
			t.Fatal(err)
		}
		gone := errors.New("canceled")
		ctx, cancel := context.WithCancelCause(t.Context())
		s, err := packed.Open(ctx, bucket, "f", int64(len(file)), how, packed.Options{MaxRatio: 10_000, MaxUnpackedBytes: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(make([]byte, 100)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel(gone)
		if n, err := s.Read(make([]byte, 100)); n != 0 || !errors.Is(err, gone) {
			t.Errorf("%s: after its context's end a stream gives %d bytes, %v", name, n, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
