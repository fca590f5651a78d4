package gateway_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/engine"
)

// A body that is longer than what the upload lacks is refused whole: the upload stays
// where it was, its job is not queued, and the right bytes are taken afterwards. Another
// gateway sweeps the folder all the while.
func TestBodiesLongerThanTheUpload(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, nil)
	d.serve(t, e, nil)
	const kind = "application/offset+octet-stream"
	file := csv(700 << 10) // more than is read at a time
	longer := append(bytes.Clone(file), 'x')
	half := len(file) / 2
	announcing := []string{"Upload-Length", strconv.Itoa(len(file)), "Upload-Metadata", metadata("topic", string(topic), "type", "analysis"), "Content-Type", kind}
	for name, c := range map[string]struct {
		from int
		send func(t *testing.T, job engine.JobID) (answered string)
	}{
		"of a known length": {half, func(t *testing.T, job engine.JobID) string {
			return told(s.patch(t, job, half, longer[half:]))
		}},
		"in chunks": {half, func(t *testing.T, job engine.JobID) string {
			return told(s.chunked(t, http.MethodPatch, "/v1/uploads/"+string(job), longer[half:], "Upload-Offset", strconv.Itoa(half), "Content-Type", kind))
		}},
		"in chunks, from the beginning": {0, func(t *testing.T, job engine.JobID) string {
			return told(s.chunked(t, http.MethodPatch, "/v1/uploads/"+string(job), longer, "Upload-Offset", "0", "Content-Type", kind))
		}},
		"in chunks, by POST": {half, func(t *testing.T, job engine.JobID) string {
			return told(s.chunked(t, http.MethodPost, "/v1/uploads/"+string(job), longer[half:], "Upload-Offset", strconv.Itoa(half),
				"Content-Type", kind, "X-HTTP-Method-Override", "PATCH"))
		}},
		"much longer": {half, func(t *testing.T, job engine.JobID) string {
			return told(s.chunked(t, http.MethodPatch, "/v1/uploads/"+string(job), append(bytes.Clone(longer[half:]), make([]byte, 100<<10)...),
				"Upload-Offset", strconv.Itoa(half), "Content-Type", kind))
		}},
		"by a byte that comes once the rest is stored, and no end": {half, func(t *testing.T, job engine.JobID) string {
			st := s.dialed(t, job, half, "Transfer-Encoding: chunked")
			chunk := func(b []byte) { st.send([]byte(strconv.FormatInt(int64(len(b)), 16) + "\r\n" + string(b) + "\r\n")) }
			chunk(file[half:])
			eventually(t, "all but the last byte to be shown", func() bool { return view(t, e, job).Progress.Done == int64(len(file))-1 })
			if j := view(t, e, job); j.State != engine.Receiving {
				t.Fatalf("before the body's end: %+v", j)
			}
			chunk([]byte("x"))
			return st.answer()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			job := s.announce(t, len(file))
			s.patch(t, job, 0, file[:c.from])
			if said := c.send(t, job); !strings.Contains(said, "413 ") || !strings.Contains(said, `"code":"too_large"`) {
				t.Errorf("answered %q", said)
			}
			s.stands(t, e, d, job, c.from)
			if a := s.chunked(t, http.MethodPatch, "/v1/uploads/"+string(job), file[c.from:], "Upload-Offset", strconv.Itoa(c.from), "Content-Type", kind); a.status != http.StatusNoContent {
				t.Errorf("the right bytes: %+v", a)
			}
			if got, err := os.ReadFile(d.data(job)); err != nil || !bytes.Equal(got, file) || view(t, e, job).State != engine.Queued {
				t.Errorf("the right bytes left %d of %d, %v, and %+v", len(got), len(file), err, view(t, e, job))
			}
		})
	}
	t.Run("with the announcement", func(t *testing.T) {
		a := s.tus(t, http.MethodPost, "/v1/uploads", longer, announcing...)
		a.is(t, "announce", http.StatusRequestEntityTooLarge, "too_large")
		if a.header.Get("Location") != "" || s.OpenUploads("alice") != 0 {
			t.Errorf("a refused announcement left %+v", a)
		}
	})
	t.Run("with the announcement, in chunks", func(t *testing.T) {
		a := s.chunked(t, http.MethodPost, "/v1/uploads", longer, announcing...)
		a.is(t, "announce", http.StatusRequestEntityTooLarge, "too_large")
		// Its job was made before the length could be known.
		job, ok := strings.CutPrefix(a.header.Get("Location"), "/v1/uploads/")
		if !ok {
			t.Fatalf("announce: %+v", a)
		}
		s.stands(t, e, d, engine.JobID(job), 0)
	})
}

// stands wants an upload to be incomplete, with n bytes.
func (s *server) stands(t *testing.T, e *engine.Engine, d *depot, job engine.JobID, n int) {
	t.Helper()
	if got := s.offset(t, job); got != n || !there(d.ticket("open", job)) {
		t.Errorf("the offset is %d, want %d; its ticket is open: %v", got, n, there(d.ticket("open", job)))
	}
	if j := view(t, e, job); j.State != engine.Receiving {
		t.Errorf("its job is %+v", j)
	}
	if all := historyOf(t, e, job); countOf(all, engine.JobQueued) > 0 {
		t.Error("its job was queued")
	}
}

// told is an answer as a sending reads it.
func told(a answer) string { return strconv.Itoa(a.status) + " " + a.body }

// chunked sends a body whose length the request does not tell.
func (s *server) chunked(t *testing.T, method, path string, body []byte, header ...string) answer {
	t.Helper()
	return s.tusFrom(t, method, path, struct{ io.Reader }{bytes.NewReader(body)}, header...)
}
