package gateway

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// An answer that a panic broke off is not taken for a whole one.
func TestPanicAfterTheAnswerHasBegun(t *testing.T) {
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	g := &Gateway{opts: Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}, metrics: m}
	s := httptest.NewServer(g.recovered(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 1<<16)) // more than the server holds back
		panic("on the way")
	})))
	defer s.Close()
	answer, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if b, err := io.ReadAll(answer.Body); err == nil {
		t.Errorf("an answer of %d bytes that is whole", len(b))
	}
}
