package s3test_test

import (
	"net/http"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/s3test"
)

func TestRequestsAreNamedAndFail(t *testing.T) {
	t.Parallel()
	s := s3test.Start(t)
	get := func(path string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Endpoint+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	if got := get("/" + s3test.Bucket + "/x"); got != http.StatusForbidden {
		t.Errorf("the server answers an unsigned request with %d, want 403", got)
	}
	remove := s.Fail(s3test.Fault{Op: "GetObject", After: 1, Times: 1, Status: 503, Code: "SlowDown"})
	for i, want := range []int{403, 503, 403} {
		if got := get("/" + s3test.Bucket + "/x"); got != want {
			t.Errorf("request %d got %d, want %d", i, got, want)
		}
	}
	remove()
	remove = s.Fail(s3test.Fault{Lost: true})
	if got := get("/" + s3test.Bucket + "/x"); got != 0 {
		t.Errorf("a lost answer is %d", got)
	}
	remove()
	if got := s.Counts()["GetObject"]; got != 5 {
		t.Errorf("%d requests for an object were counted, want 5", got)
	}
}
