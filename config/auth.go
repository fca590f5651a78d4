package config

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// Auth says how the gateway finds out who sends a request. The zero value works.
type Auth struct {
	// Mode is dev. Defaults to dev.
	Mode string
	// Origins are further sites whose pages may use the gateway, each as
	// scheme://host[:port].
	Origins []string
}

// Defaults returns a with every zero field set to its default.
func (a Auth) Defaults() Auth {
	if a.Mode == "" {
		a.Mode = "dev"
	}
	return a
}

// Validate checks a as Defaults completes it.
func (a Auth) Validate() error {
	a = a.Defaults()
	var mode, origins error
	if a.Mode != "dev" {
		mode = option.Invalid("Mode", a.Mode, "want dev")
	}
	for _, o := range a.Origins {
		if _, err := (auth.Site{Origins: []string{o}}).Protect(); err != nil {
			origins = errors.Join(origins, option.Invalid("Origins", o, "want scheme://host[:port], without a path"))
		}
	}
	return errors.Join(mode, origins)
}

// Open opens what a describes, within ctx; the caller closes it. a must be valid.
func (a Auth) Open(ctx context.Context) (auth.Authenticator, error) {
	var mode auth.Mode = auth.Dev{} // the only one that is valid
	opened, err := mode.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open auth mode %s: %w", a.Defaults().Mode, err)
	}
	return opened, nil
}

// Site is what is served where in the mode of a: this machine alone.
func (a Auth) Site() auth.Site { return auth.Site{Origins: a.Origins} }
