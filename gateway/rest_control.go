package gateway

import (
	"context"
	"errors"
	"net/http"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/auth"
)

// controlJob makes the handler of a request that asks something of a job. It answers
// with the job as it is then, which may not have done yet what it was asked.
func (g *Gateway) controlJob(ask func(context.Context, engine.JobID) error) handler {
	return func(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
		v, err := g.permitted(r, p, auth.Control)
		if err != nil {
			return err
		}
		if err := ask(r.Context(), v.ID); err != nil && !errors.Is(err, engine.ErrUnreplicated) {
			return err
		}
		if v, err = g.visible(r, p); err != nil {
			return err
		}
		g.answerJob(w, http.StatusAccepted, v)
		return nil
	}
}

// A retryRequest is the body of POST /v1/jobs/{id}/retry, which may be left out.
type retryRequest struct {
	FromStart bool   `json:"from_start"`
	Key       string `json:"key"`
}

func (g *Gateway) retryJob(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	v, err := g.permitted(r, p, auth.Enqueue)
	if err != nil {
		return err
	}
	var body retryRequest
	if r.ContentLength != 0 {
		if err := readJSON(w, r, &body); err != nil {
			return err
		}
	}
	got, err := g.opts.Engine.Retry(r.Context(), v.ID, engine.RetryQuery{FromStart: body.FromStart, Key: body.Key})
	return g.answerMade(w, got, err)
}

// permitted is visible for a request that needs a right beside reading.
func (g *Gateway) permitted(r *http.Request, p *auth.Principal, right auth.Rights) (engine.View, error) {
	v, err := g.visible(r, p)
	if err == nil && !p.May(right, v.Topic) {
		err = errForbidden
	}
	return v, err
}
