package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/gateway/web"
)

// pagePolicy lets the page run and load its own files, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';" +
	" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// A page is the browser side: one HTML page and its assets, all of which are in the
// binary.
type page struct {
	assets   map[string]asset // by path
	problems *problem.Writer
}

type asset struct {
	kind, etag string
	content    []byte
}

// topicSlot is where the page's HTML takes the topic that it shows by itself, uploadsSlot what it
// offers for files, and bytesSlot how large one may be.
const (
	topicSlot   = `<meta name="tidemark-topic" content="`
	uploadsSlot = `<meta name="tidemark-uploads" content="`
	bytesSlot   = `<meta name="tidemark-upload-bytes" content="`
)

// fill puts a value into a slot of the page's HTML.
func fill(content []byte, slot, value string) ([]byte, error) {
	before, rest, found := bytes.Cut(content, []byte(slot))
	_, rest, end := bytes.Cut(rest, []byte(`"`))
	if !found || !end {
		return nil, fmt.Errorf("the page has no %s", slot)
	}
	return []byte(string(before) + slot + html.EscapeString(value) + `"` + string(rest)), nil
}

// kinds are the content types of the page's files. Those of the machine may be others.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

func newPage(topic engine.Topic, uploads []PageUpload, uploadBytes int64, problems *problem.Writer) (*page, error) {
	p := &page{map[string]asset{}, problems}
	offers, err := json.Marshal(uploads)
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(web.Files, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := fs.ReadFile(web.Files, name)
		if err != nil {
			return err
		}
		address := "/" + name
		if name == "index.html" {
			address = "/"
			if content, err = fill(content, topicSlot, string(topic)); err == nil {
				content, err = fill(content, uploadsSlot, string(offers))
			}
			if err == nil {
				content, err = fill(content, bytesSlot, strconv.FormatInt(uploadBytes, 10))
			}
			if err != nil {
				return err
			}
		}
		sum := sha256.Sum256(content)
		kind, known := kinds[path.Ext(name)]
		if !known {
			return fmt.Errorf("%s: a browser is not to guess what it is: give its kind a type", name)
		}
		p.assets[address] = asset{kind, `"` + hex.EncodeToString(sum[:12]) + `"`, content}
		return nil
	})
	if err == nil && p.assets["/"].content == nil {
		err = errors.New("it has no index.html")
	}
	if err != nil {
		return nil, fmt.Errorf("the page that is built into this binary: %w", err)
	}
	return p, nil
}

// patterns are where the page's files are, for a ServeMux.
func (p *page) patterns() []string {
	var all []string
	for address := range p.assets {
		if address == "/" {
			address = "/{$}"
		}
		all = append(all, "GET "+address)
	}
	return all
}

// serve answers with the file at the request's path.
func (p *page) serve(w http.ResponseWriter, r *http.Request) {
	a := p.assets[r.URL.Path]
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	// Kept, and asked about each time: a new version of the program has a new page.
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", a.etag)
	h.Set("Content-Type", a.kind)
	p.problems.ServeContent(w, r, time.Time{}, bytes.NewReader(a.content))
}
