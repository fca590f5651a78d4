package client_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/client"
)

const artifactID = "0701JD8V3QZ4T9M2K6W0X5Y7B1CA.export.csv"

// A shelf serves one artifact, and cuts connections.
type shelf struct {
	mu     sync.Mutex
	text   []byte
	cutAt  int64 // bytes of each answer, while cuts last
	cuts   int
	ranges []string
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	text, short := s.text, s.cuts > 0 && r.Header.Get("If-Range") != ""
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	if short {
		s.cuts--
		w = &cut{w, s.cutAt}
	}
	s.mu.Unlock()
	sum := sha256.Sum256(text)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
}

// cut is an answer that ends in the middle.
type cut struct {
	http.ResponseWriter
	left int64
}

func (c *cut) Write(b []byte) (int, error) {
	if c.left -= int64(len(b)); c.left < 0 {
		panic(http.ErrAbortHandler)
	}
	n, err := c.ResponseWriter.Write(b)
	return n, errors.Join(err, http.NewResponseController(c.ResponseWriter).Flush())
}

func shelve(t *testing.T, h http.Handler) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return dial(t, strings.TrimPrefix(s.URL, "http://"))
}

// A download goes on over cuts where it was, and asks for no byte twice.
func TestArtifactGoesOnOverCuts(t *testing.T) {
	s := &shelf{text: bytes.Repeat([]byte("0123456789abcdef"), 16<<10), cutAt: 100 << 10, cuts: 2}
	c := shelve(t, s)
	f, err := c.StatArtifact(soon(t), artifactID)
	if err != nil || f.Size != int64(len(s.text)) {
		t.Fatalf("the file is %+v, %v", f, err)
	}
	told := 0
	r := c.OpenArtifact(soon(t), f, 10, func(error) { told++ })
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, s.text[10:]) {
		t.Errorf("%d bytes arrived, %v", len(got), err)
	}
	if told != 2 {
		t.Errorf("it told of %d cuts, want 2", told)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := int64(-1)
	for _, text := range s.ranges[1:] {
		var from int64
		if _, err := fmt.Sscanf(text, "bytes=%d-", &from); err != nil || from <= at {
			t.Errorf("the ranges are %q", s.ranges)
		}
		at = from
	}
}

// An artifact that is another one than before is not joined to what was read of it.
func TestArtifactOfAChangedArtifact(t *testing.T) {
	s := &shelf{text: bytes.Repeat([]byte("a"), 200<<10), cutAt: 100 << 10, cuts: 1}
	c := shelve(t, s)
	f, err := c.StatArtifact(soon(t), artifactID)
	if err != nil {
		t.Fatal(err)
	}
	r := c.OpenArtifact(soon(t), f, 0, func(error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.text = bytes.Repeat([]byte("b"), 200<<10)
	})
	defer r.Close()
	if got, err := io.ReadAll(r); !errors.Is(err, client.ErrChanged) || bytes.Contains(got, []byte("b")) {
		t.Errorf("%d bytes arrived, %v", len(got), err)
	}
}

// The client tells what a gateway refuses from what another try may mend, and from what is no gateway.
func TestArtifactThatIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   error
		text   string
	}{
		"unknown": {problem(404, "not_found", "there is no such artifact"), wire.ErrNotFound, "there is no such artifact"},
		"expired": {problem(410, "gone", "the file is no longer kept: it has expired"), wire.ErrEnded, "no longer kept: it has expired"},
		"no sum": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-0/5")
			w.WriteHeader(http.StatusPartialContent)
		}, client.ErrProtocol, "its SHA-256 is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := shelve(t, c.answer).StatArtifact(soon(t), artifactID); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

// An artifact that is known to be written is asked for until the gateway answers, and no longer than it can.
func TestAwaitArtifact(t *testing.T) {
	s, tries, told := &shelf{text: []byte("a")}, 0, 0
	c := shelve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch tries++; {
		case tries < 3:
			problem(503, "unavailable", "busy")(w, r)
		case tries == 3:
			s.ServeHTTP(w, r)
		default:
			problem(404, "not_found", "there is none")(w, r)
		}
	}))
	f, err := c.AwaitArtifact(soon(t), artifactID, func(error) { told++ })
	if err != nil || f.Size != 1 || tries != 3 || told != 1 {
		t.Errorf("%+v after %d tries, %d told, %v", f, tries, told, err)
	}
	if _, err := c.AwaitArtifact(soon(t), artifactID, func(error) { told++ }); !errors.Is(err, wire.ErrNotFound) || told != 1 {
		t.Errorf("one that is unknown: %d told, %v", told, err)
	}
}

func problem(status int, code, detail string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"code":%q,"detail":%q}`, code, detail)
	}
}
