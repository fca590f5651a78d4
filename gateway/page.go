package gateway

import (
	"bytes"
	"compress/gzip"
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
	"strings"
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
	kind string
	// cache is its Cache-Control.
	cache string
	// forms are the encodings that it is there in: identity is "".
	forms map[string]form
}

// A form is an asset in one content encoding.
type form struct {
	etag    string
	content []byte
}

// codings are the content encodings of assets, the smallest first, by how the names of their
// files end.
var codings = []struct{ name, ending string }{{"br", ".br"}, {"gzip", ".gz"}}

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
		return p.add(address, content)
	})
	if err == nil {
		err = p.compressIndex()
	}
	if err != nil {
		return nil, fmt.Errorf("the page that is built into this binary: %w", err)
	}
	return p, nil
}

// compressIndex compresses what the build could not, since the gateway fills it in.
func (p *page) compressIndex() error {
	index, there := p.assets["/"]
	if !there {
		return errors.New("it has no index.html")
	}
	var short bytes.Buffer
	z := gzip.NewWriter(&short)
	if _, err := z.Write(index.forms[""].content); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return p.add("/.gz", short.Bytes())
}

// add takes a file, which may be the compressed form of another one.
func (p *page) add(address string, content []byte) error {
	coding := ""
	for _, c := range codings {
		if of, ok := strings.CutSuffix(address, c.ending); ok {
			address, coding = of, c.name
		}
	}
	a, there := p.assets[address]
	if !there {
		ext := path.Ext(address)
		if address == "/" {
			ext = ".html"
		}
		kind, known := kinds[ext]
		if !known {
			return fmt.Errorf("%s: a browser is not to guess what it is: give its kind a type", address)
		}
		// What may change is kept, and asked about each time: a new version of the program has a
		// new page.
		a = asset{kind, "no-cache", map[string]form{}}
		if web.Immutable(address) {
			a.cache = "public, max-age=31536000, immutable"
		}
		p.assets[address] = a
	}
	sum := sha256.Sum256(content)
	a.forms[coding] = form{`"` + hex.EncodeToString(sum[:12]) + `"`, content}
	return nil
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
	coding := a.coding(r.Header.Values("Accept-Encoding"))
	f := a.forms[coding]
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", a.cache)
	h.Set("ETag", f.etag)
	h.Set("Content-Type", a.kind)
	if len(a.forms) > 1 {
		h.Set("Vary", "Accept-Encoding")
	}
	if coding != "" {
		h.Set("Content-Encoding", coding)
	}
	p.problems.ServeContent(w, r, time.Time{}, bytes.NewReader(f.content))
}

// coding chooses the smallest form that a request takes: RFC 9110, section 12.5.3. A client that
// takes none of them, not even the file as it is, gets the file as it is.
func (a asset) coding(accept []string) string {
	for _, c := range codings {
		if _, there := a.forms[c.name]; there && accepts(accept, c.name) {
			return c.name
		}
	}
	return ""
}

// accepts reports whether values of Accept-Encoding name a coding, or all, with a weight over 0.
func accepts(values []string, coding string) bool {
	rest := false
	for each := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, weight, weighed := strings.Cut(each, ";")
		name = strings.TrimSpace(name)
		_, weight, _ = strings.Cut(weight, "=")
		q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
		takes := !weighed || err == nil && q > 0
		switch {
		case strings.EqualFold(name, coding):
			return takes
		case name == "*":
			rest = takes
		}
	}
	return rest
}
