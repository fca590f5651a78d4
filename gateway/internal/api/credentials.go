package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/access"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

// logOut revokes the credentials that the request has.
func (s *Server) logOut(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	if s.opts.Revoke == nil || p.Credential == "" {
		return nothingToRevoke()
	}
	access.Outlast(r)
	_, err := s.opts.Revoke(r.Context(), wire.Revocation{Credential: p.Credential})
	if err != nil && !errors.Is(err, engine.ErrUnreplicated) {
		return err
	}
	s.opts.Logger.Info("logged out", "subject", p.Subject, "credential", p.Credential)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// kick revokes all credentials of a subject that were issued until now.
func (s *Server) kick(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	if !p.Admin {
		return problem.ErrForbidden
	}
	if s.opts.Revoke == nil {
		return nothingToRevoke()
	}
	var body struct {
		Subject string `json:"subject"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if body.Subject == "" || len(body.Subject) > wire.MaxRevokedBytes {
		return fmt.Errorf("%w: subject: want 1 to %d bytes", problem.ErrRequest, wire.MaxRevokedBytes)
	}
	access.Outlast(r)
	made, err := s.opts.Revoke(r.Context(), wire.Revocation{Subject: body.Subject})
	if err != nil && !errors.Is(err, engine.ErrUnreplicated) {
		return err
	}
	s.opts.Logger.Info("kicked", "subject", body.Subject, "by", p.Subject)
	s.answer(w, http.StatusOK, wire.Kicked{Subject: body.Subject, IssuedBefore: made.Before().UTC().Truncate(time.Millisecond)})
	return nil
}

func nothingToRevoke() error {
	return &problem.Refusal{
		Status: http.StatusConflict, Code: "state",
		Detail: "there is nothing to revoke: this gateway's mode of authentication gives no credentials, or these have no name",
	}
}
