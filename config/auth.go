package config

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// The modes of Auth.
const (
	modeDev = "dev"
	modeJWT = "jwt"
)

// Auth says how the gateway finds out who sends a request. The zero value works.
type Auth struct {
	// Mode is dev or jwt. Defaults to dev, which takes no field but Origins.
	Mode string
	// Origins are further sites whose pages may use the gateway, each as
	// scheme://host[:port].
	Origins []string
	// PublicURL is the origin at which clients reach the gateway, as scheme://host[:port]. Required in
	// mode jwt.
	PublicURL string
	// Hosts are the names, without port, that requests may be addressed to, PublicURL's among them.
	// Required in mode jwt.
	Hosts []string
	// Keys and the other fields are of mode jwt, as auth.JWT has them.
	Keys                      []JWTKey
	JWKSURL, Issuer, Audience string
}

// Defaults returns a with every zero field set to its default.
func (a Auth) Defaults() Auth {
	if a.Mode == "" {
		a.Mode = modeDev
	}
	return a
}

// Validate checks a as Defaults completes it. It reads no file.
func (a Auth) Validate() error {
	a = a.Defaults()
	var problems []error
	complain := func(field string, value any, format string, args ...any) {
		problems = append(problems, option.Invalid(field, value, format, args...))
	}
	if a.Mode != modeDev && a.Mode != modeJWT {
		complain("Mode", a.Mode, "want dev or jwt")
	}
	for _, o := range a.Origins {
		if _, err := (auth.Site{Origins: []string{o}}).Protect(); err != nil {
			complain("Origins", o, "want scheme://host[:port], without a path")
		}
	}
	if others := a.ofOtherModes(); a.Mode == modeDev && len(others) > 0 {
		complain("Mode", a.Mode, "want jwt, which goes with %s; set it, or drop the others", strings.Join(others, ", "))
	}
	own := a.publicHost()
	if own == "" && (a.PublicURL != "" || a.Mode == modeJWT) {
		complain("PublicURL", a.PublicURL, "want the origin at which clients reach the gateway, such as https://jobs.example.com, without a path")
	}
	for _, h := range a.Hosts {
		if !hostForm(h) {
			complain("Hosts", h, "want a name or an address, such as jobs.example.com, without a port")
		}
	}
	if a.Mode == modeJWT && own != "" && !slices.ContainsFunc(a.Hosts, func(h string) bool { return strings.EqualFold(h, own) }) {
		complain("Hosts", nil, "want the names that requests are addressed to, and among them %s, which is that of auth.public_url", clip(own, 80))
	}
	for _, k := range a.Keys {
		problems = append(problems, k.validate())
	}
	if a.JWKSURL != "" {
		problems = append(problems, auth.JWT{JWKSURL: a.JWKSURL, Audience: a.Audience}.Validate())
	}
	for i, k := range a.Keys {
		if slices.ContainsFunc(a.Keys[:i], func(other JWTKey) bool { return other.ID == k.ID }) {
			complain("Keys", nil, "%s: another key has this id", clip(k.ID, 80))
		}
	}
	if a.Mode == modeJWT && len(a.Keys) == 0 && a.JWKSURL == "" {
		complain("Keys", nil, "want a key to check tokens with, or auth.jwt.jwks_url")
	}
	return errors.Join(problems...)
}

// ofOtherModes are the settings of a that mode dev does not take: what protects a gateway must not look as if it did
// where everybody is let in.
func (a Auth) ofOtherModes() []string {
	var all []string
	for _, f := range []struct {
		key string
		set bool
	}{
		{"auth.public_url", a.PublicURL != ""},
		{"auth.hosts", len(a.Hosts) > 0},
		{"auth.jwt.keys", len(a.Keys) > 0},
		{"auth.jwt.jwks_url", a.JWKSURL != ""},
		{"auth.jwt.issuer", a.Issuer != ""},
		{"auth.jwt.audience", a.Audience != ""},
	} {
		if f.set {
			all = append(all, f.key)
		}
	}
	return all
}

// publicHost is the host of PublicURL; "" where that is no origin.
func (a Auth) publicHost() string {
	u, err := url.Parse(a.PublicURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	if _, err := (auth.Site{Origins: []string{a.PublicURL}}).Protect(); err != nil {
		return ""
	}
	return u.Hostname()
}

// loopback reports whether a host is this machine's own.
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// hostForm reports whether h may be the host of a request, as auth.Site compares them.
func hostForm(h string) bool {
	if _, err := netip.ParseAddr(h); err == nil {
		return true
	}
	return h != "" && !strings.ContainsAny(h, ":/@[]*? ") && !strings.HasSuffix(h, ".")
}

// Open opens what a describes, within ctx; the caller closes it. a must be valid. log gets what is wrong with the keys
// of tokens later.
func (a Auth) Open(ctx context.Context, log *slog.Logger) (auth.Authenticator, error) {
	a = a.Defaults()
	var mode auth.Mode = auth.Dev{}
	if a.Mode == modeJWT {
		if own := a.publicHost(); strings.HasPrefix(a.PublicURL, "http://") && !loopback(own) {
			log.Warn("auth.public_url is http, so tokens travel in the clear: put TLS in front of the gateway, and name it https", "public_url", a.PublicURL)
		}
		keys := make([]auth.JWTKey, len(a.Keys))
		for i, k := range a.Keys {
			var err error
			if keys[i], err = k.Read(); err != nil {
				return nil, fmt.Errorf("open auth mode jwt: auth.jwt.keys: %w", err)
			}
		}
		mode = auth.JWT{Keys: keys, JWKSURL: a.JWKSURL, Issuer: a.Issuer, Audience: a.Audience, Logger: log}
	}
	opened, err := mode.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open auth mode %s: %w", a.Mode, err)
	}
	return opened, nil
}

// Site is what is served where in the mode of a: this machine alone in mode dev, and otherwise any address, for requests
// to Hosts.
func (a Auth) Site() auth.Site {
	if a.Defaults().Mode == modeDev {
		return auth.Site{Origins: a.Origins}
	}
	return auth.Site{Public: true, Hosts: a.Hosts, Origins: append([]string{a.PublicURL}, a.Origins...)}
}
