package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// Errors to branch on, beside those of the engine: ErrInvalid, ErrNotFound, ErrEnded,
// ErrState, ErrLimit, ErrUnreachable and ErrOutOfMemory.
var (
	// ErrUnreachable: the gateway does not answer. It wraps wire.ErrUnreachable,
	// which alone means that the gateway answers and its Redis does not.
	ErrUnreachable error = unreachable{}
	// ErrRefused: the gateway does not let this user do that.
	ErrRefused = errors.New("the gateway refuses")
	// ErrProtocol: what answers does not speak this protocol.
	ErrProtocol = errors.New("not an answer of a Tidemark gateway")
)

type unreachable struct{}

func (unreachable) Error() string { return "the gateway cannot be reached" }
func (unreachable) Unwrap() error { return wire.ErrUnreachable }

// An Error is a problem that the gateway answered with.
type Error struct {
	Status int
	Code   string
	Detail string

	kind error
}

func (e *Error) Error() string {
	if errors.Is(e.kind, ErrRefused) {
		return fmt.Sprintf("%s: %s (%s)", ErrRefused, e.Detail, e.Code)
	}
	return e.Detail
}

// Unwrap gives the error to branch on; nil for one that has none.
func (e *Error) Unwrap() error { return e.kind }

// Codes of the conflicts that are not about an end: the job goes on.
const (
	codeState = "state"
	codeSpent = "upload_spent" // and takes no more of its upload
)

// maxProblemBytes is more than a problem has.
const maxProblemBytes = 64 << 10

// problemOf reads what a refused request was answered with.
func problemOf(r *http.Response) error {
	e := &Error{Status: r.StatusCode}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // "" is none of ours
	if kind == "application/problem+json" {
		var p wire.Problem
		if err := json.NewDecoder(io.LimitReader(r.Body, maxProblemBytes)).Decode(&p); err == nil {
			e.Code, e.Detail = p.Code, p.Detail
		}
	}
	switch {
	case e.Code == "" && r.Request != nil && r.Request.Method == http.MethodHead:
		e.Detail = strings.ToLower(http.StatusText(r.StatusCode)) // an answer to HEAD has no body
	case e.Code == "" && r.StatusCode >= 500:
		// A proxy in front of a gateway that is away.
		return fmt.Errorf("%w: %s", ErrUnreachable, r.Status)
	case e.Code == "" && r.StatusCode == http.StatusRequestEntityTooLarge:
		return errTooMuch
	case e.Code == "" && r.StatusCode != http.StatusUnauthorized && r.StatusCode != http.StatusGone:
		return fmt.Errorf("%w: %s; check the address", ErrProtocol, r.Status)
	}
	if e.kind = kindOf(r.StatusCode); e.Code == codeState || e.Code == codeSpent {
		e.kind = wire.ErrState
	}
	return e
}

// kindOf is what a status means to a program. The codes say more, to people, but for
// codeState and codeSpent.
func kindOf(status int) error {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return wire.ErrInvalid
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrRefused
	case http.StatusNotFound:
		return wire.ErrNotFound
	case http.StatusConflict, http.StatusGone:
		return wire.ErrEnded
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return wire.ErrUnreachable
	case http.StatusTooManyRequests:
		return wire.ErrLimit
	case http.StatusInsufficientStorage:
		return wire.ErrOutOfMemory
	}
	return nil
}
