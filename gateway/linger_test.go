package gateway_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/gateway"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// somebody accepts every user but mallory.
type somebody struct{ everybody }

func (s somebody) Authenticate(r *http.Request) (*auth.Principal, error) {
	if r.Header.Get("X-Who") == "mallory" {
		return nil, auth.ErrRejected
	}
	return s.everybody.Authenticate(r)
}

// A raw connection sends what the test says, and gives up after a minute.
type raw struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

func (s *server) raw(t testing.TB) *raw {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the test may have
	if err := errors.Join(conn.SetDeadline(time.Now().Add(time.Minute)), conn.(*net.TCPConn).SetWriteBuffer(256<<10)); err != nil {
		t.Fatal(err)
	}
	return &raw{conn, t, bufio.NewReader(conn)}
}

// send writes lines of a header, then the body.
func (c *raw) send(body []byte, lines ...string) {
	c.t.Helper()
	for _, b := range [][]byte{[]byte(strings.Join(lines, "\r\n") + "\r\n\r\n"), body} {
		if _, err := c.Write(b); err != nil {
			c.t.Fatal(err)
		}
	}
}

// answer reads the next answer. closes reports whether it says that the connection does.
func (c *raw) answer() (a answer, closes bool) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}, resp.Close
}

// ended wants the connection to end without another byte.
func (c *raw) ended() {
	c.t.Helper()
	b, err := io.ReadAll(c.in)
	if len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("behind the answer comes %q, error %v", b, err)
	}
}

// A client that reads the answer only when it has sent everything gets it, though the
// gateway has refused the request by its header, or by the first of its bytes: there is
// more to send than the kernels hold.
func TestRefusalsReachClientsThatSendBeforeTheyRead(t *testing.T) {
	e, d := real(t), newDepot(t)
	s := d.serve(t, e, func(o *gateway.Options) { o.Auth, o.RequestTimeout = somebody{}, time.Minute })
	long := append([]byte(`{"topic":"user:42","type":"export","payload":"`), bytes.Repeat([]byte("long"), 2<<20)...)
	length := "Content-Length: " + strconv.Itoa(len(long))
	chunks := fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(long), long)
	const (
		chunked, bytesOf = "Transfer-Encoding: chunked", "Content-Type: application/offset+octet-stream"
		short            = "Upload-Length: 1000"
	)
	job, whole := s.announce(t, 1000), s.announce(t, 1000)
	announcing := slices.Clip([]string{"Tus-Resumable: 1.0.0", bytesOf, "Upload-Metadata: " + metadata("topic", string(topic), "type", "analysis")})
	patching := slices.Clip([]string{"Tus-Resumable: 1.0.0", bytesOf, "Upload-Offset: 0"})
	s.tus(t, http.MethodPost, "/v1/uploads", nil, "Upload-Length", "1000", "Upload-Metadata", metadata("topic", string(topic), "type", "analysis", "key", "again"))
	for name, c := range map[string]struct {
		request string
		header  []string
		status  int
		code    string
	}{
		"an announcement with too many bytes":             {"POST /v1/uploads", append(announcing, short, length), 413, "too_large"},
		"an announcement with too many bytes, in chunks":  {"POST /v1/uploads", append(announcing, short, chunked), 413, "too_large"},
		"an announcement by who may not":                  {"POST /v1/uploads", append(announcing, "Upload-Length: "+strconv.Itoa(len(long)), "X-Who: carol", length), 403, "forbidden"},
		"an announcement by nobody":                       {"POST /v1/uploads", append(announcing, short, "X-Who: mallory", length), 401, "unauthenticated"},
		"an announcement that was made":                   {"POST /v1/uploads", append(announcing[:2:2], short, "Upload-Metadata: "+metadata("topic", string(topic), "type", "analysis", "key", "again"), chunked), 201, ""},
		"bytes for an unknown upload":                     {"PATCH /v1/uploads/" + string(job) + "x", append(patching, length), 404, "not_found"},
		"bytes for another's upload, in chunks":           {"PATCH /v1/uploads/" + string(job), append(patching, "X-Who: bob", chunked), 404, "not_found"},
		"more bytes than the upload lacks":                {"PATCH /v1/uploads/" + string(job), append(patching, length), 413, "too_large"},
		"more bytes than the upload lacks, in chunks":     {"PATCH /v1/uploads/" + string(whole), append(patching, chunked), 413, "too_large"},
		"bytes from elsewhere on":                         {"PATCH /v1/uploads/" + string(job), append(patching[:2:2], "Upload-Offset: 7", chunked), 409, "upload_offset"},
		"a job beyond all bounds":                         {"POST /v1/jobs", []string{"Content-Type: application/json", length}, 413, "too_large"},
		"a job beyond all bounds, in chunks":              {"POST /v1/jobs", []string{"Content-Type: application/json", chunked}, 413, "too_large"},
		"a job of another type":                           {"POST /v1/jobs", []string{"Content-Type: text/csv", length}, 400, "invalid"},
		"bytes to nowhere":                                {"POST /v1/nowhere", []string{length}, 404, "not_found"},
		"another site's bytes":                            {"POST /v1/jobs", []string{"Content-Type: application/json", "Origin: http://elsewhere.example", length}, 403, "origin"},
		"bytes with what takes none":                      {"GET /v1/jobs/x", []string{chunked}, 404, "not_found"},
		"bytes with a header that is too long, in chunks": {"POST /v1/jobs", []string{"X: " + strings.Repeat("x", 33<<10), chunked}, 431, "header_too_large"},
	} {
		for how, lines := range map[string][]string{
			"":                                     {" HTTP/1.1", ""},
			", on a connection that is to close":   {" HTTP/1.1", "Connection: close"},
			", by a proxy that speaks HTTP/1.0":    {" HTTP/1.0", ""},
			", from a client that waits for leave": {" HTTP/1.1", "Expect: 100-continue"},
		} {
			inChunks := c.header[len(c.header)-1] == chunked
			if inChunks && lines[0] == " HTTP/1.0" {
				continue
			}
			t.Run(name+how, func(t *testing.T) {
				conn, body := s.raw(t), long
				if inChunks {
					body = chunks
				}
				header := append([]string{c.request + lines[0], "Host: " + s.addr}, c.header...)
				if lines[1] != "" {
					header = append(header, lines[1])
				}
				conn.send(body, header...)
				a, closes := conn.answer()
				if a.status == http.StatusContinue {
					a, closes = conn.answer()
				}
				if code := fmt.Sprintf(`"code":%q`, c.code); a.status != c.status || c.code != "" && !strings.Contains(a.body, code) || !closes {
					t.Errorf("the answer is %+v, closes: %t", a, closes)
				}
				conn.ended()
			})
		}
	}
}

// What is read behind an answer is bounded: in bytes, in time, and by the gateway's end.
func TestTheRestOfABodyIsReadWithinBounds(t *testing.T) {
	e := real(t)
	refused := func(t *testing.T, s *server) *raw {
		t.Helper()
		c := s.raw(t)
		c.send([]byte("the first bytes"), "POST /v1/nowhere HTTP/1.1", "Host: "+s.addr, "Content-Length: 1000000000")
		if a, closes := c.answer(); a.status != http.StatusNotFound || !closes {
			t.Errorf("the answer is %+v, closes: %t", a, closes)
		}
		return c
	}
	t.Run("in bytes", func(t *testing.T) {
		c := refused(t, serve(t, e, func(o *gateway.Options) { o.RequestTimeout = 10 * time.Minute }))
		sent, err := io.Copy(c, io.LimitReader(zeros{}, 256<<20))
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || sent < 64<<20-64<<10 {
			t.Errorf("the connection took %d bytes, error %v", sent, err)
		}
	})
	t.Run("in time", func(t *testing.T) {
		refused(t, serve(t, e, func(o *gateway.Options) { o.RequestTimeout = time.Second })).ended()
	})
	t.Run("by the gateway's end", func(t *testing.T) {
		s := serve(t, e, func(o *gateway.Options) { o.RequestTimeout, o.DrainTimeout = 10*time.Minute, time.Minute })
		c := refused(t, s)
		if err := s.Stop(soon(t)); err != nil {
			t.Error(err)
		}
		c.ended()
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A refusal costs a client that sends little no connection.
func TestAConnectionOutlastsARefusal(t *testing.T) {
	s := serve(t, real(t), nil)
	c := s.raw(t)
	for range 2 {
		c.send([]byte("few"), "POST /v1/nowhere HTTP/1.1", "Host: "+s.addr, "Content-Length: 3")
		if a, closes := c.answer(); a.status != http.StatusNotFound || closes {
			t.Errorf("the answer is %+v, closes: %t", a, closes)
		}
	}
	if _, err := c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: " + s.addr + "\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if a, _ := c.answer(); a.status != http.StatusOK {
		t.Errorf("the answer is %+v", a)
	}
}

// The answer to a body that does not end comes while it has not ended.
func TestAnAnswerDoesNotWaitForTheBody(t *testing.T) {
	s := serve(t, real(t), func(o *gateway.Options) { o.RequestTimeout = 10 * time.Minute })
	for how, body := range map[string]string{"Content-Length: 1000000": "", "Transfer-Encoding: chunked": "1\r\nx\r\n"} {
		c := s.raw(t)
		c.send([]byte(body), "POST /v1/nowhere HTTP/1.1", "Host: "+s.addr, how)
		if a, closes := c.answer(); a.status != http.StatusNotFound || !closes {
			t.Errorf("%s: the answer is %+v, closes: %t", how, a, closes)
		}
	}
}
