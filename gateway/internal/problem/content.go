package problem

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// ServeContent is http.ServeContent with the refusals in the form of all others. A Range
// counts with GET and in bytes; every other one is ignored, as RFC 9110, section 14.2 has it.
func (p *Writer) ServeContent(w http.ResponseWriter, r *http.Request, modified time.Time, content io.ReadSeeker) {
	if unit, set, _ := strings.Cut(r.Header.Get("Range"), "="); r.Method == http.MethodGet && strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		r.Header.Set("Range", "bytes="+set)
	} else {
		r.Header.Del("Range")
	}
	c := &contentWriter{ResponseWriter: w}
	http.ServeContent(c, r, "", modified, content)
	if c.refused == 0 {
		return
	}
	h := w.Header()
	h.Del("Content-Disposition")
	h.Set("Cache-Control", "no-store")
	switch c.refused {
	case http.StatusRequestedRangeNotSatisfiable:
		p.Write(w, c.refused, "range", "Range: want bytes=FIRST-LAST within the length that Content-Range tells")
	case http.StatusPreconditionFailed:
		p.Write(w, c.refused, "precondition", "the file is not the one that If-Match or If-Unmodified-Since names")
	default:
		p.log.Error("a file cannot be served", "path", r.URL.Path, "status", c.refused)
		p.Write(w, http.StatusInternalServerError, "internal", "internal error")
	}
}

// A contentWriter holds a refusal back.
type contentWriter struct {
	http.ResponseWriter
	refused int // status
}

func (c *contentWriter) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		c.refused = status
		return
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *contentWriter) Write(b []byte) (int, error) {
	if c.refused > 0 {
		return len(b), nil
	}
	return c.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (c *contentWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
