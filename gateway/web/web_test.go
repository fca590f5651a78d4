package web_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tidemark-dev/tidemark/gateway/web"
)

const install = "npm ci --prefix gateway/web"

// node runs Node on this folder's packages, and fails with what it said.
func node(t *testing.T, args ...string) {
	t.Helper()
	if _, err := os.Stat("node_modules/.package-lock.json"); errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the page's packages are not installed: run `%s`", install)
	}
	cmd := exec.CommandContext(t.Context(), "node", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("node %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// What is embedded is what the committed sources build, byte for byte.
func TestDistIsTheBuildOfTheSources(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	node(t, "build.mjs", dir)
	built, embedded := files(t, os.DirFS(dir)), files(t, web.Files)
	for name, data := range built {
		// Compressed files are other bytes with another version of Node.
		if _, there := embedded[name]; !there || !compressed(name) && !bytes.Equal(data, embedded[name]) {
			t.Errorf("dist/%s is not what the sources build: run `npm run build --prefix gateway/web`", name)
		}
	}
	for name := range embedded {
		if _, ok := built[name]; !ok {
			t.Errorf("dist/%s is not built by the sources: remove it", name)
		}
	}
}

func compressed(name string) bool {
	return strings.HasSuffix(name, ".br") || strings.HasSuffix(name, ".gz")
}

// A compressed file is the one beside it, and smaller. All that a browser needs goes out as less
// than 50 KB.
func TestCompressedFilesAreThoseBesideThem(t *testing.T) {
	t.Parallel()
	node(t, "test/compressed.mjs")
	all := files(t, web.Files)
	sizes := map[string]int{}
	for name, data := range all {
		if !strings.HasPrefix(name, "assets/") || compressed(name) {
			continue
		}
		for _, ending := range []string{".br", ".gz"} {
			short, there := all[name+ending]
			if !there || len(short) >= len(data) {
				t.Errorf("%s%s has %d bytes, the file %d", name, ending, len(short), len(data))
			}
			if web.Immutable(name) {
				sizes[ending] += len(short)
			}
		}
	}
	for ending, n := range sizes {
		if n == 0 || n > 50_000 {
			t.Errorf("script and style have %d bytes as %s", n, ending)
		}
	}
}

func TestTypes(t *testing.T) {
	t.Parallel()
	node(t, "node_modules/typescript/bin/tsc", "--noEmit")
	// The client has no DOM.
	node(t, "node_modules/typescript/bin/tsc", "--noEmit", "-p", "src/client")
}

func TestClient(t *testing.T) {
	t.Parallel()
	// go test has to know that the result depends on it: the tests run a client that it has.
	if _, err := os.ReadFile("../../docs/protocol.md"); err != nil {
		t.Fatal(err)
	}
	node(t, "test/run.mjs")
}

func TestFiles(t *testing.T) {
	t.Parallel()
	if err := fstest.TestFS(web.Files, "index.html", "assets/icon.svg", "assets/licenses.txt"); err != nil {
		t.Error(err)
	}
	immutable := 0
	for name := range files(t, web.Files) {
		if web.Immutable(name) {
			immutable++
		}
	}
	if immutable != 2 {
		t.Errorf("%d files are immutable, want a script and a style", immutable)
	}
}

// The gateway fills in one attribute of index.html by its text, and a content security
// policy forbids whatever is inline.
func TestIndexIsReadyForTheGateway(t *testing.T) {
	t.Parallel()
	index := files(t, web.Files)["index.html"]
	if n := bytes.Count(index, []byte(`<meta name="tidemark-topic" content="user:demo">`)); n != 1 {
		t.Errorf("index.html has %d places for the topic, want 1", n)
	}
	for _, inline := range []string{`<style`, `\sstyle=`, `\son[a-z]+=`, `<script[^>]*>[^<]`, `javascript:`, `https?://`} {
		if found := regexp.MustCompile(inline).Find(index); found != nil {
			t.Errorf("index.html has %q, which its policy forbids", found)
		}
	}
	// What it names is there.
	refs := regexp.MustCompile(`(?:src|href)="/([^"]+)"`).FindAllSubmatch(index, -1)
	if len(refs) < 3 {
		t.Errorf("index.html names %d files, want its script, style and icon", len(refs))
	}
	for _, ref := range refs {
		if _, err := fs.Stat(web.Files, string(ref[1])); err != nil {
			t.Errorf("index.html names /%s: %v", ref[1], err)
		}
	}
}

// A lockfile that names a registry's host installs from nowhere else.
func TestLockfileNamesNoRegistry(t *testing.T) {
	t.Parallel()
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(lock, []byte(`"integrity"`)) {
		t.Error("package-lock.json has no integrity: what is installed is not checked")
	}
	if bytes.Contains(lock, []byte(`"resolved"`)) {
		t.Error("package-lock.json names where packages came from: see .npmrc, and make it anew")
	}
}

// Titles, messages and values of files come from strangers. So the page makes elements
// and texts, and parses no markup.
func TestSourcesParseNoMarkup(t *testing.T) {
	t.Parallel()
	markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function`)
	var seen []string
	for name, data := range files(t, os.DirFS("src")) {
		if filepath.Ext(name) != ".ts" {
			continue
		}
		seen = append(seen, name)
		if found := markup.Find(data); found != nil {
			t.Errorf("src/%s has %s", name, found)
		}
	}
	if !slices.Contains(seen, "main.ts") {
		t.Error("found no sources")
	}
}

func files(t *testing.T, fsys fs.FS) map[string][]byte {
	t.Helper()
	got := map[string][]byte{}
	err := fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		got[path], err = fs.ReadFile(fsys, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
