package storage

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tidemark-dev/tidemark/internal/s3test"
	"github.com/tidemark-dev/tidemark/internal/storefault"
)

func open(t *testing.T, server *s3test.Server) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: server.URL(), CredentialsFile: server.CredentialsFile()}, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a test may have closed it
	return s
}

func TestFolderUnlessThereIsAURL(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Options{}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if s.Dir == "" || s.Name != "" || s.Ready(t.Context()) != nil {
		t.Errorf("a folder is %+v", s)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestS3(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := open(t, server)
	const key = "incoming/user:42/a b+c%2F..'ü"
	if err := s.WriteAll(t.Context(), key, []byte("text"), nil); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ReadAll(t.Context(), key); string(got) != "text" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	first, err := s.List(nil).Next(t.Context())
	if err != nil || first.Key != key {
		t.Errorf("the store holds %v, %v, and is to hold what was written alone", first, err)
	}
	client := (*s3.Client)(nil)
	if !s.As(&client) || client == nil || s.Name != s3test.Bucket || s.Dir != "" {
		t.Errorf("a bucket is %+v", s)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestStoreThatWillNotDoIsRefusedAtTheStart: the error says what to do, and shows no secret and no key.
func TestStoreThatWillNotDoIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(t *testing.T, s *s3test.Server, o *Options)
		want   string
	}{
		"no such bucket": {func(_ *testing.T, _ *s3test.Server, o *Options) {
			o.URL = strings.Replace(o.URL, s3test.Bucket, "another", 1)
		}, "no such bucket: create it"},
		"wrong secret": {func(t *testing.T, s *s3test.Server, _ *Options) { s.WriteCredentials(t, s3test.AccessKey, "not-it") }, "check the secret key"},
		"unknown key":  {failing(s3test.Fault{Status: 403, Code: "InvalidAccessKeyId"}), "does not know the access key"},
		"another user": {func(t *testing.T, s *s3test.Server, _ *Options) {
			s.WriteCredentials(t, "another-key", s3test.SecretKey)
		}, "the store refuses it: "},
		"empty file":         {func(t *testing.T, s *s3test.Server, _ *Options) { s.WriteCredentials(t, "", "") }, "no credentials for the store: set"},
		"no file":            {func(_ *testing.T, _ *s3test.Server, o *Options) { o.CredentialsFile += ".not" }, "no credentials for the store: set"},
		"no rights":          {failing(s3test.Fault{Op: "PutObject", Status: 403, Code: "AccessDenied"}), "cannot write to bucket tidemark at http://127.0.0.1:"},
		"no right to read":   {failing(s3test.Fault{Op: "GetObject", Status: 403, Code: "AccessDenied"}), "cannot read from bucket"},
		"no right to delete": {failing(s3test.Fault{Op: "DeleteObject", Status: 403, Code: "AccessDenied"}), "cannot delete from bucket"},
		"clock":              {failing(s3test.Fault{Status: 403, Code: "RequestTimeTooSkewed"}), "set the clock"},
		"ended":              {failing(s3test.Fault{Status: 400, Code: "ExpiredToken"}), "have ended: renew them"},
		"region":             {failing(s3test.Fault{Status: 400, Code: "AuthorizationHeaderMalformed"}), "set region in storage.url"},
		"slow down":          {failing(s3test.Fault{Status: 503, Code: "SlowDown"}), "fewer requests"},
		"down": {func(_ *testing.T, s *s3test.Server, o *Options) {
			o.URL = strings.Replace(o.URL, s.Endpoint, "http://"+nobody.Addr().String(), 1)
		}, "cannot be reached: connection refused"},
		"cut": {failing(s3test.Fault{Lost: true}), "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := s3test.Start(t)
			o := Options{URL: server.URL(), CredentialsFile: server.CredentialsFile()}
			test.change(t, server, &o)
			s, err := Open(t.Context(), o, "")
			if err == nil {
				t.Fatalf("it is opened: %v", s.Close())
			}
			text := err.Error()
			if !strings.HasPrefix(text, "storage.url: ") || !strings.Contains(text, test.want) {
				t.Errorf("the error is %q, want one that says %q", text, test.want)
			}
			for _, secret := range []string{s3test.SecretKey, s3test.AccessKey, "not-it", "another-key", probes} {
				if strings.Contains(text, secret) {
					t.Errorf("the error shows %q: %s", secret, text)
				}
			}
		})
	}
}

func failing(f s3test.Fault) func(*testing.T, *s3test.Server, *Options) {
	return func(_ *testing.T, s *s3test.Server, _ *Options) { s.Fail(f) }
}

func TestShortOutageIsBridged(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := open(t, server)
	server.Fail(s3test.Fault{Op: "PutObject", Times: 1, Status: 500, Code: "InternalError"})
	if err := s.WriteAll(t.Context(), "a", []byte("1"), nil); err != nil {
		t.Errorf("after one answer of 500: %v", err)
	}
	server.Fail(s3test.Fault{Op: "PutObject", Times: 2, CutBody: 1})
	if err := s.WriteAll(t.Context(), "a", []byte("12"), nil); err != nil {
		t.Errorf("after two cut connections: %v", err)
	}
	if got, err := s.ReadAll(t.Context(), "a"); string(got) != "12" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestStoreThatGoesAwayLaterIsSaid(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := open(t, server)
	server.Fail(s3test.Fault{Status: 503, Code: "ServiceUnavailable"})
	before := server.Counts()["HEAD bucket"]
	for range 3 {
		if err := s.Ready(t.Context()); err == nil || strings.Contains(err.Error(), "HeadBucket") {
			t.Errorf("the store is away, and ready says %v", err)
		}
	}
	if n := server.Counts()["HEAD bucket"] - before; n > 2 { // two, if the test was held up for 5 s
		t.Errorf("3 questions cost the store %d requests", n)
	}
}

// TestCallEndsWithItsContext: also one whose store swallows everything.
func TestCallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := open(t, server)
	arrived := make(chan struct{}, 16)
	server.Fail(s3test.Fault{Op: "GetObject", Hold: func(r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.ReadAll(ctx, "a")
		ended <- err
	}()
	<-arrived
	cancel()
	if err := <-ended; err == nil || storefault.Of(err).Error() != "the call was canceled" {
		t.Errorf("a canceled call: %v", err)
	}
}

// TestConnectionThatMovesNothingEnds: while the answer is waited for, in its middle, and while the
// store takes nothing.
func TestConnectionThatMovesNothingEnds(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/middle" {
			_, _ = w.Write([]byte("some"))
			_ = http.NewResponseController(w).Flush()
		}
		<-over
	}))
	defer server.Close()
	defer close(over)
	transport := &http.Transport{}
	bound(transport, 50*time.Millisecond)
	c := &http.Client{Transport: transport}
	defer c.CloseIdleConnections()
	for name, body := range map[string]io.Reader{"answer": nil, "middle": nil, "body": endless{}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/"+name, body)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.Do(r)
		if err == nil {
			_, err = io.ReadAll(answer.Body)
			_ = answer.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: the connection is said to be good", name)
		}
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }
