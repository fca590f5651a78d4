package auth

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// Why a Site refuses a request, before an Authenticator asks who sends it.
var (
	// ErrHost: it is addressed to a name that is not the gateway's, as after DNS
	// rebinding.
	ErrHost = errors.New("the Host is not one of this gateway's")
	// ErrOrigin: a page of another site sends it.
	ErrOrigin = errors.New("the Origin is not one that this gateway serves")
)

// ErrNotLoopback refuses to serve a Site that is not public on an address that other machines reach.
var ErrNotLoopback = errors.New("dev mode serves this machine only")

// A Site is what is served where: on which addresses, what requests may be addressed to,
// and which pages may send them. The zero value is this machine alone.
type Site struct {
	// Public serves other machines too. Otherwise the gateway listens on loopback, and
	// requests must be addressed to a name of this machine: localhost, 127.0.0.0/8, ::1.
	Public bool
	// Hosts are names, without port, that requests may be addressed to. A public site
	// without any takes every name, which is for a gateway whose credentials a browser does
	// not send by itself, or behind a proxy that checks.
	Hosts []string
	// Origins are sites whose pages may use the gateway, each as scheme://host[:port]. A public
	// site that names Hosts has no others, so its own is among them, as browsers see it.
	// Elsewhere the gateway's own origin always may: the Host that the request is addressed
	// to, with https where the request came over TLS and http otherwise.
	Origins []string
}

// Serves refuses an address that the gateway must not listen on. Its error wraps
// ErrNotLoopback and says what to do instead.
func (s Site) Serves(addr net.Addr) error {
	if s.Public {
		return nil
	}
	switch a := addr.(type) {
	case *net.UnixAddr:
		return nil
	case *net.TCPAddr:
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.Unmap().IsLoopback() {
			return nil
		}
	}
	return fmt.Errorf("%w, and other machines reach %s: listen on 127.0.0.1, or choose another auth mode", ErrNotLoopback, addr)
}

// Check refuses a request by its Host, Origin and Sec-Fetch-Site. Its error wraps ErrHost
// or ErrOrigin. A request without Origin may come from a page of another site that cannot
// read the answer, but can embed it: where the browser says so, only following a link is
// let in. What changes something is held to more, see Protect.
func (s Site) Check(r *http.Request) error {
	if !s.servesHost(r.Host) {
		return fmt.Errorf("%w: %q", ErrHost, clip(r.Host))
	}
	origins := r.Header.Values("Origin")
	for _, origin := range origins {
		if !s.servesOrigin(origin, r) {
			return fmt.Errorf("%w: %q", ErrOrigin, clip(origin))
		}
	}
	if site := r.Header.Get("Sec-Fetch-Site"); len(origins) == 0 && site != "" && site != "same-origin" && site != "none" && !followed(r) {
		return fmt.Errorf("%w: Sec-Fetch-Site is %q", ErrOrigin, clip(site))
	}
	return nil
}

// followed reports whether a person follows a link: the answer becomes a page of its own.
func followed(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

func (s Site) servesHost(hostport string) bool {
	if s.Public && len(s.Hosts) == 0 {
		return true
	}
	name := hostname(hostport)
	if !s.Public && loopbackName(name) {
		return true
	}
	for _, h := range s.Hosts {
		if strings.EqualFold(h, name) {
			return true
		}
	}
	return false
}

// servesOrigin compares origins as browsers serialize them (RFC 6454, section 6.2): in lower
// case, without a default port, and nothing but scheme, host and port. "null" is none.
func (s Site) servesOrigin(origin string, r *http.Request) bool {
	for _, o := range s.Origins {
		if origin == serialized(o) {
			return true
		}
	}
	if s.Public && len(s.Hosts) > 0 {
		return false
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return origin == serialized(scheme+"://"+r.Host)
}

func serialized(origin string) string {
	origin = strings.ToLower(origin)
	if o, found := strings.CutSuffix(origin, ":80"); found && strings.HasPrefix(o, "http://") {
		return o
	}
	if o, found := strings.CutSuffix(origin, ":443"); found && strings.HasPrefix(o, "https://") {
		return o
	}
	return origin
}

// Protect refuses changes that a page of another site asks for, by Sec-Fetch-Site and
// Origin. Its error says which origin is not one of Origins.
func (s Site) Protect() (*http.CrossOriginProtection, error) {
	p := http.NewCrossOriginProtection()
	for _, o := range s.Origins {
		if strings.Contains(o, "@") { // and perhaps a password
			return nil, errors.New("an origin has no user: want scheme://host[:port]")
		}
		if err := p.AddTrustedOrigin(o); err != nil {
			return nil, fmt.Errorf("origin %q: want scheme://host[:port]: %w", o, err)
		}
	}
	return p, nil
}

func hostname(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.TrimSuffix(host, ".")
}

func loopbackName(name string) bool {
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Zone() == "" && ip.Unmap().IsLoopback()
}

func clip(s string) string { return excerpt.Of(s, 120) }
