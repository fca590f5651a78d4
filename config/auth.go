package config

import (
	"errors"

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
			origins = errors.Join(origins, option.Invalid("Origins", o, "want each as scheme://host[:port], without a path"))
		}
	}
	return errors.Join(mode, origins)
}

// Authenticator makes what a describes. a must be valid.
func (a Auth) Authenticator() auth.Authenticator { return auth.Dev{Origins: a.Origins} }
