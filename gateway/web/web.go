// Package web is the page that the gateway serves: a place to drop files and to watch
// the jobs of a topic.
//
// Its sources are TypeScript, in src; src/client is the connection to the gateway and
// knows of no page. What browsers get is in dist, built and committed, so that neither
// building nor running Tidemark needs Node. After a change of the sources:
//
//	npm ci --prefix gateway/web
//	npm run build --prefix gateway/web
//
// A test compares dist with what the sources build, checks their types and runs their
// own tests.
package web

import (
	"embed"
	"io/fs"
	"regexp"
)

//go:embed dist
var built embed.FS

// Files has index.html, which is to be served at "/", and the folder assets. Beside each of
// its files are the compressed ones, with ".br" (brotli) and ".gz" (gzip) at the end of their
// names. Immutable tells which files browsers may keep for good; serve the others with an ETag.
// Everything is the page's own: it runs under a content security policy that allows scripts,
// styles, images and connections of "self" and nothing inline.
//
// index.html names the topic that the page shows:
//
//	<meta name="tidemark-topic" content="user:demo">
var Files = mustSub(built, "dist")

// hashed is how names end that have a hash of their file's content.
var hashed = regexp.MustCompile(`-[0-9A-Z]{8}\.(js|css)$`)

// Immutable reports whether a file of this name never has another content.
func Immutable(name string) bool { return hashed.MatchString(name) }

func mustSub(f fs.FS, dir string) fs.FS {
	sub, err := fs.Sub(f, dir)
	if err != nil {
		panic(err) // only for a malformed name
	}
	return sub
}
