package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// of is a content of these bytes.
func of(text []byte) content {
	sum := sha256.Sum256(text)
	return content{id: "a", size: int64(len(text)), sha256: hex.EncodeToString(sum[:]), open: func(_ context.Context, from int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(text[from:])), nil
	}}
}

var text = bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB

func fill(out *output, c content) error {
	return out.fill(context.Background(), c, func(int64, int64) {}, func() {})
}

// Two commands that write one file would mix their bytes: the second is refused, and is not once the first has
// given the file its name.
func TestOutputIsOfOneCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	first, err := openOutput(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openOutput(path, true); err == nil || !strings.Contains(err.Error(), "another command is writing it") {
		t.Errorf("a second command: %v", err)
	}
	if err := errors.Join(fill(first, of(text)), first.close()); err != nil {
		t.Fatal(err)
	}
	second, err := openOutput(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(fill(second, of(text[:5])), second.close()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(text[:5]) {
		t.Errorf("the file has %d bytes: %v", len(got), err)
	}
}

// A file that appears while its bytes arrive is not replaced, and the bytes stay.
func TestOutputReplacesNothingUnasked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	out, err := openOutput(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fill(out, of(text)); err == nil || !strings.Contains(err.Error(), "--force replaces it") {
		t.Errorf("it ends with %v", err)
	}
	if err := out.close(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "mine" {
		t.Errorf("the file is %q, %v", got, err)
	}
	if kept, err := os.ReadFile(path + partSuffix); err != nil || len(kept) != len(text) {
		t.Errorf("%d bytes are kept: %v", len(kept), err)
	}
}

// Bytes that are not the artifact's get no name, however often they come.
func TestOutputOfOtherBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	out, err := openOutput(path, false)
	if err != nil {
		t.Fatal(err)
	}
	c := of(text)
	c.open = func(context.Context, int64) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(strings.Repeat("x", len(text)))), nil
	}
	if err := fill(out, c); !errors.Is(err, errOtherBytes) {
		t.Errorf("it ends with %v", err)
	}
	if err := out.close(); err != nil {
		t.Error(err)
	}
	for _, left := range []string{path, path + partSuffix, path + markSuffix} {
		if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", filepath.Base(left), err)
		}
	}
}

// A file of the user's at the part's place stays as it is, and the bytes of an earlier run are gone on with.
func TestOutputLeavesAForeignPart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	if err := os.WriteFile(path+partSuffix, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := openOutput(path, true)
	if err == nil || !strings.Contains(err.Error(), "is a file that no earlier run has left") {
		t.Errorf("it is taken: %+v, %v", out, err)
	}
	if got, err := os.ReadFile(path + partSuffix); err != nil || string(got) != "mine" {
		t.Errorf("the file is %q, %v", got, err)
	}
	if err := os.Remove(path + partSuffix); err != nil {
		t.Fatal(err)
	}
	if out, err = openOutput(path, false); err != nil {
		t.Fatal(err)
	}
	if _, err := out.part.Write(text[:5]); err != nil {
		t.Fatal(err)
	}
	if err := out.close(); err != nil {
		t.Error(err)
	}
	if out, err = openOutput(path, false); err != nil || out.kept() != 5 {
		t.Fatalf("what an earlier run has left is refused: %v", err)
	}
	if err := errors.Join(fill(out, of(text)), out.close()); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 || left[0].Name() != "out.csv" {
		t.Errorf("beside OUT there is %v, %v", left, err)
	}
}

// Force replaces files, and nothing else: neither what a link leads to nor the link.
func TestOutputReplacesFilesOnly(t *testing.T) {
	dir := t.TempDir()
	for name, target := range map[string]string{"folder": dir, "nothing": filepath.Join(dir, "none"), "device": os.DevNull} {
		path := filepath.Join(dir, name)
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		if out, err := openOutput(path, true); err == nil || strings.Contains(err.Error(), "--force") {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	if _, err := openOutput(os.DevNull, false); err == nil || !strings.Contains(err.Error(), "is no regular file; name another one") {
		t.Errorf("a device: %v", err)
	}
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	out, err := openOutput(link, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.close(); err != nil {
		t.Error(err)
	}
}

// A part that is a link would have the bytes written elsewhere.
func TestOutputFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	elsewhere := filepath.Join(dir, "elsewhere")
	if err := os.WriteFile(elsewhere, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "out.csv")
	if err := os.Symlink(elsewhere, path+partSuffix); err != nil {
		t.Fatal(err)
	}
	if _, err := openOutput(path, true); err == nil || !strings.Contains(err.Error(), "is no file; remove it") {
		t.Errorf("a link is taken: %v", err)
	}
}
