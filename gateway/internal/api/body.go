package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/internal/jsonerr"
)

// maxBodyBytes bounds the body of a request: a payload, and all else that a job has.
const maxBodyBytes = engine.MaxPayloadBytes + 64<<10

func (s *Server) answer(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		s.opts.Logger.Error("answer cannot be encoded", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	// An error says that the client has gone.
	_, _ = w.Write(append(b, '\n'))
}

// readJSON takes a body of one JSON value. A field that the request does not have is
// an error: it is more often a slip than a newer client.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return fmt.Errorf("%w: want Content-Type application/json", problem.ErrRequest)
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return err
		}
		if name := jsonerr.UnknownField(err); name != "" {
			return fmt.Errorf("%w: body: unknown field %q", problem.ErrRequest, name)
		}
		return fmt.Errorf("%w: body: %s", problem.ErrRequest, jsonerr.Why(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: body: want one JSON object", problem.ErrRequest)
	}
	return nil
}
